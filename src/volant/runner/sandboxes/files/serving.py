"""Serves one client the files of a sandbox, as a process of that sandbox.

    holder --fork--> here <--maps and contents on a socket of its own--> the client

Paths mean here what they mean to every program of the sandbox, and this process may do no more than
those: it has their user, root directory, limits and filter. So no link, race or mount in there can
lead anywhere else, whatever changes meanwhile; and what is made belongs to the sandbox's user. No
descriptor is ever passed on, in either direction. Nothing is imported in here, for the image need
not have a Python.
"""

from __future__ import annotations

import _signal
import _socket
import errno
import os
import stat

from volant.runner.sandboxes.files import removing, watching
from volant.wire.exchange import Exchange, ExchangeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

#: Entries that are told in one go.
BATCH_ENTRIES = 500
#: Of the files that tell the names of users and groups.
NAMES_BYTES_MAX = 1 << 20
#: Whoever opens a pipe or a terminal here neither waits for its other end nor gets it as his own.
_SAFE = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


def serve(channel_fd: int) -> NoReturn:
    """Answer what is asked on a descriptor, until its other end is closed."""
    try:
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        os.dup2(channel_fd, 3, inheritable=False)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        os.umask(0o022)
        os.chdir("/")
        _Server(Exchange(_socket.socket(fileno=3))).run()
    except (ExchangeError, OSError):
        pass  # the client is gone
    finally:
        os._exit(0)


class _Server:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.names: dict[str, dict[int, str]] = {}
        self.does: dict[str, Callable[[dict[str, Any]], None]] = {
            "read": self.read, "write": self.write, "list": self.list_entries, "stat": self.stat,
            "make": self.make, "remove": self.remove, "watch": self.watch,
        }  # fmt: skip

    def run(self) -> None:
        while True:
            asked = self.exchange.receive()
            try:
                self.does[asked["op"]](asked)
            except ExchangeError:
                raise
            except OSError as error:
                self.exchange.send({"errno": error.errno or errno.EIO})

    # -- contents

    def read(self, asked: dict[str, Any]) -> None:
        """Send the content of a file, and its size ahead."""
        fd = os.open(asked["path"], os.O_RDONLY | _SAFE)
        try:
            info = _regular(fd)
            if asked["most"] is not None and info.st_size > asked["most"]:
                raise OSError(errno.EFBIG, "")
            self.exchange.send({"size": info.st_size})
            self.exchange.send_file(fd)
        finally:
            os.close(fd)

    def write(self, asked: dict[str, Any]) -> None:
        """Take the content of a file, which is made if it is not there, with its directories."""
        mode = asked["mode"]
        fd = self._open_new(asked["path"], 0o666 if mode is None else mode)
        try:
            if _regular(fd).st_size:  # ext4 writes a file to the disk at its close that was cut
                os.ftruncate(fd, 0)
            self.exchange.send({})
            self.exchange.receive_file(fd, whole=True)
            if mode is not None:
                os.fchmod(fd, mode)
        finally:
            os.close(fd)
        self.exchange.send({})

    @staticmethod
    def _open_new(path: str, mode: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | _SAFE
        try:
            return os.open(path, flags, mode)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            return os.open(path, flags, mode)

    # -- entries

    def stat(self, asked: dict[str, Any]) -> None:
        """Tell of one entry, of a link itself."""
        path = asked["path"]
        self.exchange.send({"entry": self._entry(path, path, os.lstat(path))})

    def list_entries(self, asked: dict[str, Any]) -> None:
        """Tell of the entries of a directory, some at a time; an empty batch is the end."""
        batch: list[list[Any]] = []
        for one in self._entries(asked["path"]):
            batch.append(one)
            if len(batch) == BATCH_ENTRIES:
                self.exchange.send({"entries": batch})
                batch = []
        if batch:
            self.exchange.send({"entries": batch})
        self.exchange.send({"entries": []})

    def _entries(self, path: str) -> Iterator[list[Any]]:
        with os.scandir(path) as found:
            for one in found:
                try:
                    yield self._entry(one.path, one.name, one.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue  # it has just gone

    def _entry(self, path: str, name: str, info: os.stat_result) -> list[Any]:
        target = None
        kind = _TYPES.get(stat.S_IFMT(info.st_mode), "unknown")
        if kind == "symlink":
            target = os.readlink(path)
        return [
            name, kind, info.st_size, stat.S_IMODE(info.st_mode), info.st_mtime,
            self._name("/etc/passwd", info.st_uid), self._name("/etc/group", info.st_gid), target,
        ]  # fmt: skip

    def _name(self, path: str, number: int) -> str:
        """The name of a user or a group, as the sandbox tells it; its number if it does not."""
        if path not in self.names:
            self.names[path] = _names(path)
        return self.names[path].get(number, str(number))

    def make(self, asked: dict[str, Any]) -> None:
        """Make a directory."""
        path = asked["path"]
        if asked["parents"]:
            os.makedirs(path, 0o755, exist_ok=True)
        else:
            os.mkdir(path, 0o755)
        self.exchange.send({})

    def remove(self, asked: dict[str, Any]) -> None:
        """Remove a file, a link or a directory."""
        path = asked["path"]
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
        elif asked["recursive"]:
            removing.remove_tree(path)
        else:
            os.rmdir(path)
        self.exchange.send({})

    def watch(self, asked: dict[str, Any]) -> None:
        """Tell what happens, for as long as the client listens."""
        watch = watching.Watch(asked["path"], recursive=asked["recursive"])
        self.exchange.send({})
        for events in watch.events(self.exchange.socket.fileno()):
            self.exchange.send({"events": events})


def _regular(fd: int) -> os.stat_result:
    """What is known of an open file.

    Raises:
        OSError: it is none whose content can be read or written as a whole.
    """
    info = os.fstat(fd)
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "")
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.ENXIO, "")
    return info


def _names(path: str) -> dict[int, str]:
    try:
        fd = os.open(path, os.O_RDONLY | _SAFE)
        try:
            _regular(fd)
            lines = os.read(fd, NAMES_BYTES_MAX).decode("utf-8", "replace").splitlines()
        finally:
            os.close(fd)
    except OSError:
        return {}
    found: dict[int, str] = {}
    for line in lines:
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isascii() and fields[2].isdigit():
            found.setdefault(int(fields[2][:10]), fields[0])
    return found
