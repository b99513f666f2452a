"""`sandbox.filesystem`: reads, writes, lists and watches what commands of a sandbox see.

    sandbox.filesystem.write_text("print(6 * 7)", "/root/main.py")
    sandbox.filesystem.copy_to_local("/root/plot.png", "plot.png")

Paths are those of the sandbox and absolute; links lead where they lead for its commands. A process
in the sandbox does the work, over a socket that the hub has handed out, so contents pass by the
hub. An image needs no program for it.
"""

from __future__ import annotations

import _socket
import os
import select
from io import BytesIO
from time import monotonic

from volant.errors import InvalidError
from volant.sdk.objects.asking import Value, both, both_iter
from volant.sdk.sandboxes.asking import AskForDescriptors
from volant.sdk.sandboxes.files import transferring
from volant.sdk.sandboxes.files.exchanging import Arrival, Work, failure, refused
from volant.sdk.sandboxes.files.info import FileWatchEventType, entry_of
from volant.wire.exchange import Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from volant.sdk.objects.asking import Steps, Values
    from volant.sdk.sandboxes.files.info import FileInfo, FileWatchEvent

#: Bytes of one read into memory.
READ_BYTES_MAX = 5_000_000_000
#: Entries of a directory that are listed.
ENTRIES_MAX = 1_000_000
PATH_BYTES_MAX = 4096
#: Exchanges that are kept for what is asked next.
IDLE_MAX = 4


class SandboxFilesystem:
    """The files of one sandbox."""

    def __init__(self, sandbox_id: str, check: Callable[[], None]) -> None:
        """Made by `Sandbox.filesystem`; `check` raises once its handle was detached."""
        self._sandbox_id = sandbox_id
        self._check = check
        self._idle: list[Exchange] = []
        self._pid = os.getpid()

    def __del__(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # -- exchanges

    def _take(self) -> Steps[Exchange]:
        self._check()
        if self._pid != os.getpid():  # they are the parent's to use
            self._let_go()
            self._pid = os.getpid()
        while self._idle:
            exchange = self._idle.pop()
            poll = select.poll()
            poll.register(exchange.socket.fileno(), select.POLLIN)
            if not poll.poll(0):
                return exchange
            exchange.close()  # whoever served it has ended
        return (yield from self._opened())

    def _opened(self) -> Steps[Exchange]:
        self._check()
        reply = yield AskForDescriptors("sandbox_files", sandbox_id=self._sandbox_id)
        return Exchange(_socket.socket(fileno=reply["fds"][0]))

    def _do(self, path: str, does: Callable[[Exchange], Any]) -> Steps[Any]:
        """Have steps done, and keep the exchange if they leave it in order."""
        exchange = yield from self._take()
        try:
            reply = yield Work(exchange, path, does)
        finally:
            if exchange.is_closed or len(self._idle) >= IDLE_MAX:
                exchange.close()
            else:
                self._idle.append(exchange)
        return reply["result"]

    def _ask(self, path: str, op: str, **fields: object) -> Steps[dict[str, Any]]:
        def does(exchange: Exchange) -> dict[str, Any]:
            exchange.send({"op": op, "path": path, **fields})
            return refused(exchange.receive())

        reply: dict[str, Any] = yield from self._do(path, does)
        return reply

    # -- contents

    @both
    def read_bytes(self, remote_path: str) -> Steps[bytes]:
        """The content of a file, at most 5 GB.

        Raises:
            InvalidError: for a path that is not absolute; here and in all that follows.
            SandboxFilesystemNotFoundError: there is no such file.
            SandboxFilesystemIsADirectoryError: it is a directory.
            SandboxFilesystemFileTooLargeError: it is larger than that.
            SandboxFilesystemError: something else kept it from being read.
            ExecutionError: the sandbox has finished.
        """
        content = yield from self._read(remote_path)
        return content.getvalue()

    @both
    def read_text(self, remote_path: str) -> Steps[str]:
        """The content of a file of UTF-8; raises as `read_bytes`, and UnicodeDecodeError."""
        content = yield from self._read(remote_path)
        return str(content.getbuffer(), "utf-8")

    def _read(self, remote_path: str) -> Steps[BytesIO]:
        path, kept = checked_path(remote_path), BytesIO()
        size = yield from self._do(
            path, lambda exchange: transferring.read(exchange, path, READ_BYTES_MAX, kept.write)
        )
        if size is None:
            raise failure(path, transferring.TOO_LARGE)
        return kept

    @both
    def write_bytes(self, data: bytes | bytearray | memoryview, remote_path: str) -> Steps[None]:
        """Write a file, in the place of what it held; directories that it needs are made.

        Raises:
            InvalidError: for what are no bytes.
            SandboxFilesystemIsADirectoryError: the path is a directory.
            SandboxFilesystemNotADirectoryError: what it lies in is none.
            SandboxFilesystemPermissionError: the sandbox's user may not write there.
            SandboxFilesystemError: something else kept it from being written, such as its limits.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidError(f"write_bytes takes bytes, got a {type(data).__name__}")
        path, view = checked_path(remote_path), memoryview(data).cast("B")
        yield from self._do(path, lambda exchange: transferring.write(exchange, path, view))

    @both
    def write_text(self, data: str, remote_path: str) -> Steps[None]:
        """Write a file of UTF-8; raises as `write_bytes`."""
        if not isinstance(data, str):
            raise InvalidError(f"write_text takes a string, got a {type(data).__name__}")
        path, view = checked_path(remote_path), data.encode()
        yield from self._do(path, lambda exchange: transferring.write(exchange, path, view))

    @both
    def copy_from_local(self, local_path: str, remote_path: str) -> Steps[None]:
        """Copy a file of any size into the sandbox, with its permission bits.

        Args:
            local_path: of a file of this machine.
            remote_path: what it will be called in the sandbox, which replaces a file there.

        Raises:
            OSError: the local file cannot be read.
            SandboxFilesystemError: as `write_bytes`.
        """
        path, local = checked_path(remote_path), os.fspath(local_path)
        yield from self._do(path, lambda exchange: transferring.copy_in(exchange, local, path))

    @both
    def copy_to_local(self, remote_path: str, local_path: str) -> Steps[None]:
        """Copy a file of any size out of the sandbox; local directories that it needs are made.

        The local file is replaced at once, when all of the content is there.

        Raises:
            OSError: the local file cannot be written.
            SandboxFilesystemError: as `read_bytes`.
        """
        path, local = checked_path(remote_path), os.fspath(local_path)
        yield from self._do(path, lambda exchange: transferring.copy_out(exchange, path, local))

    # -- entries

    @both
    def list_files(self, remote_path: str) -> Steps[list[FileInfo]]:
        """The entries of a directory, by name.

        Raises:
            SandboxFilesystemNotFoundError: there is no such directory.
            SandboxFilesystemNotADirectoryError: it is none.
            SandboxFilesystemError: it has more than a million entries.
        """
        path = checked_path(remote_path)

        def does(exchange: Exchange) -> list[FileInfo] | None:
            exchange.send({"op": "list", "path": path})
            found: list[FileInfo] = []
            while told := refused(exchange.receive()).get("entries"):
                found += [entry_of(path, one, is_listed=True) for one in told]
                if len(found) > ENTRIES_MAX:
                    exchange.close()
                    return None
            return found

        found = yield from self._do(path, does)
        if found is None:
            raise failure(path, transferring.TOO_MANY)
        return sorted(found, key=lambda one: one.name)

    @both
    def stat(self, remote_path: str) -> Steps[FileInfo]:
        """What is known of an entry; of a link, of the link itself.

        Raises:
            SandboxFilesystemNotFoundError: there is none.
        """
        path = checked_path(remote_path)

        def does(exchange: Exchange) -> FileInfo:
            exchange.send({"op": "stat", "path": path})
            return entry_of(path, refused(exchange.receive()).get("entry"), is_listed=False)

        found: FileInfo = yield from self._do(path, does)
        return found

    @both
    def make_directory(self, remote_path: str, *, create_parents: bool = True) -> Steps[None]:
        """Make a directory.

        Args:
            create_parents: also those that it lies in; and a directory that is there is no error.

        Raises:
            SandboxFilesystemPathAlreadyExistsError: there is something.
            SandboxFilesystemNotFoundError: there is nothing to make it in.
            SandboxFilesystemNotADirectoryError: what it would lie in is none.
        """
        yield from self._ask(checked_path(remote_path), "make", parents=bool(create_parents))

    @both
    def remove(self, remote_path: str, *, recursive: bool = False) -> Steps[None]:
        """Remove a file, a link, or a directory.

        Args:
            recursive: with all that a directory holds; links in it are not followed.

        Raises:
            SandboxFilesystemNotFoundError: there is nothing.
            SandboxFilesystemDirectoryNotEmptyError: a directory holds something, without
                `recursive`.
        """
        path = checked_path(remote_path)
        if not path.strip("/"):
            raise InvalidError("the root directory of a sandbox cannot be removed")
        yield from self._ask(path.rstrip("/"), "remove", recursive=bool(recursive))

    @both_iter
    def watch(
        self, path: str, *, filter: Sequence[FileWatchEventType] | None = None,  # noqa: A002
        recursive: bool = False, timeout: float | None = None,
    ) -> Values[FileWatchEvent]:  # fmt: skip
        """What happens to a file, or in a directory, from now on.

        Args:
            path: watched.
            filter: only these; `Unknown` says that events were lost and always comes.
            recursive: also in the directories below it.
            timeout: seconds after which the iteration ends.

        Raises:
            SandboxFilesystemNotFoundError: there is nothing to watch.
            SandboxFilesystemError: too many directories are below it.
        """
        where = checked_path(path)
        wanted = set(FileWatchEventType) if filter is None else {*filter, _LOST}
        deadline = None if timeout is None else monotonic() + timeout
        exchange: Exchange = yield from self._opened()
        try:
            yield Work(exchange, where, lambda one: transferring.begin(one, where, recursive))
            while True:
                left_s = None if deadline is None else deadline - monotonic()
                reply: Any = yield Arrival(exchange, left_s)
                if not reply["arrived"]:
                    return
                reply = yield Work(exchange, where, transferring.take_events)
                if not reply["result"]:
                    return
                for one in reply["result"]:
                    if one.type in wanted:
                        yield Value(one)
        finally:
            exchange.close()


_LOST = FileWatchEventType.Unknown


def checked_path(path: object) -> str:
    """An absolute path in a sandbox.

    Raises:
        InvalidError: for what is none.
    """
    found = os.fspath(path) if hasattr(path, "__fspath__") else path
    if not isinstance(found, str):
        raise InvalidError(f"a path in a sandbox is a string, got a {type(path).__name__}")
    if not found.startswith("/"):
        raise InvalidError(f"a path in a sandbox must be absolute, got {found[:200]!r}")
    if "\0" in found or len(found.encode("utf-8", "surrogateescape")) >= PATH_BYTES_MAX:
        raise InvalidError(f"{found[:200]!r} is no path, or longer than {PATH_BYTES_MAX} bytes")
    return found
