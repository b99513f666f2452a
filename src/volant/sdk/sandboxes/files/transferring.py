"""Contents between this machine and a sandbox: steps on an exchange, which must not be in use."""

from __future__ import annotations

import errno
import os
import stat
from tempfile import NamedTemporaryFile

from volant.sdk.sandboxes.files.exchanging import refused
from volant.sdk.sandboxes.files.info import events_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.sandboxes.files.info import FileWatchEvent
    from volant.wire.exchange import Exchange

#: As the kernel would say it.
TOO_LARGE, TOO_MANY = errno.EFBIG, errno.EOVERFLOW


class _TooLargeError(Exception):
    """More has come than was to be read."""


def read(
    exchange: Exchange, path: str, most: int | None, take: Callable[[memoryview], object]
) -> int | None:
    """Hand on the content of a file; its size, and None when it is larger than `most`."""
    size = 0

    def counted(view: memoryview) -> None:
        nonlocal size
        size += len(view)
        if most is not None and size > most:
            raise _TooLargeError
        take(view)

    exchange.send({"op": "read", "path": path, "most": most})
    refused(exchange.receive())
    try:
        refused(exchange.receive_content(counted))
    except _TooLargeError:  # it has grown meanwhile, or its size was no true word
        exchange.close()
        return None
    return size


def write(exchange: Exchange, path: str, content: bytes | memoryview) -> None:
    """Write a file, of what is in memory."""
    _begin_to_write(exchange, path, None)
    exchange.send_bytes(content)
    refused(exchange.receive())


def _begin_to_write(exchange: Exchange, path: str, mode: int | None) -> None:
    exchange.send({"op": "write", "path": path, "mode": mode})
    refused(exchange.receive())


def copy_in(exchange: Exchange, local: str, path: str) -> None:
    """Write a file, of the content of a local one."""
    fd = os.open(local, os.O_RDONLY | os.O_CLOEXEC)
    try:
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory, not a file", local)
        _begin_to_write(exchange, path, stat.S_IMODE(info.st_mode) & 0o777)
        exchange.send_file(fd)
        refused(exchange.receive())
    finally:
        os.close(fd)


def copy_out(exchange: Exchange, path: str, local: str) -> None:
    """Write a local file, of the content of one in the sandbox."""
    if os.path.exists(local) and not os.path.isfile(local):
        if os.path.isdir(local):
            raise IsADirectoryError(errno.EISDIR, "is a directory, not a file", local)
        with open(local, "wb", buffering=0) as straight:  # a pipe, or the null device
            _fill(exchange, path, straight.fileno())
        return
    local = os.path.realpath(local)
    directory, name = os.path.split(local)
    os.makedirs(directory, exist_ok=True)
    with NamedTemporaryFile(dir=directory, prefix=f".{name[:100]}.", delete=False) as new:
        try:
            _fill(exchange, path, new.fileno())
            mode = stat.S_IMODE(os.stat(local).st_mode) if os.path.exists(local) else _mode()
            os.fchmod(new.fileno(), mode)
            os.replace(new.name, local)
        except BaseException:
            os.unlink(new.name)
            raise


def _fill(exchange: Exchange, path: str, fd: int) -> None:
    exchange.send({"op": "read", "path": path, "most": None})
    refused(exchange.receive())
    refused(exchange.receive_file(fd, whole=False))


def _mode() -> int:
    """What a new file has here."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def begin(exchange: Exchange, path: str, recursive: bool) -> None:
    """Begin to watch."""
    exchange.send({"op": "watch", "path": path, "recursive": bool(recursive)})
    refused(exchange.receive())


def take_events(exchange: Exchange) -> list[FileWatchEvent]:
    """What has happened, which is there to be taken; nothing when the path is gone."""
    return events_of(refused(exchange.receive()).get("events"))
