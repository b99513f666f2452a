"""`Sandbox.open`: a file of a sandbox as an object to read from and write to, whole in memory.

For programs that were written for it; `Sandbox.filesystem` reads and writes in one step.
"""

from __future__ import annotations

import errno
from io import BytesIO, StringIO

from volant.errors import InvalidError, SandboxFilesystemNotFoundError
from volant.sdk.objects.asking import both
from volant.sdk.sandboxes.files import transferring
from volant.sdk.sandboxes.files.exchanging import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.sdk.objects.asking import Steps
    from volant.sdk.sandboxes.files.filesystem import SandboxFilesystem


class FileIO:
    """An open file of a sandbox; made by `Sandbox.open`.

    What is written is in the sandbox after `flush` or `close`. Text is UTF-8.
    """

    def __init__(self, files: SandboxFilesystem, path: str, mode: str, content: bytes) -> None:
        self._files, self._path, self._mode = files, path, mode
        self._content: Any = BytesIO(content) if "b" in mode else StringIO(str(content, "utf-8"))
        self._is_changed = False

    def _open(self, wanted: str = "") -> Any:
        if self._content.closed:
            raise ValueError("the file is closed")
        if wanted and not set(self._mode) & {*wanted, "+"}:
            raise InvalidError(f"a file of mode {self._mode!r} is not open for that")
        return self._content

    @both
    def read(self, n: int | None = None) -> Steps[Any]:
        """What is left of it, or at most `n` bytes or characters."""
        yield from ()
        return self._open("r").read(-1 if n is None else n)

    @both
    def readline(self) -> Steps[Any]:
        """The next line; empty at the end."""
        yield from ()
        return self._open("r").readline()

    @both
    def readlines(self) -> Steps[list[Any]]:
        """The lines that are left."""
        yield from ()
        found: list[Any] = self._open("r").readlines()
        return found

    @both
    def write(self, data: bytes | str) -> Steps[None]:
        """Write where it stands, or at the end of a file of mode `a`.

        Raises:
            TypeError: for text in a file of bytes, or the other way round.
        """
        yield from ()
        content = self._open("wax")
        if "a" in self._mode:
            content.seek(0, 2)
        content.write(data)
        self._is_changed = True

    @both
    def seek(self, offset: int, whence: int = 0) -> Steps[None]:
        """Go to a place: of the file, from here (`whence=1`), or from its end (2)."""
        yield from ()
        self._open().seek(offset, whence)

    @both
    def flush(self) -> Steps[None]:
        """Have what was written in the sandbox.

        Raises:
            SandboxFilesystemError: it cannot be written.
        """
        yield from self._flushed()

    @both
    def close(self) -> Steps[None]:
        """Be done with it, as `flush`; a second time does nothing."""
        if not self._content.closed:
            yield from self._flushed()
            self._content.close()

    def _flushed(self) -> Steps[None]:
        value = self._open().getvalue()
        if self._is_changed:
            yield from written(
                self._files, self._path, value if "b" in self._mode else value.encode()
            )
            self._is_changed = False

    def __enter__(self) -> FileIO:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> FileIO:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close.aio()


def written(files: SandboxFilesystem, path: str, data: bytes) -> Steps[None]:
    """Write a file."""
    yield from files._do(path, lambda exchange: transferring.write(exchange, path, data))


def opened(files: SandboxFilesystem, path: str, mode: str) -> Steps[FileIO]:
    """Open a file: `r`, `w`, `a` or `x`, with `+` and `b` as for `open`.

    Raises:
        InvalidError: for a mode that there is not.
        SandboxFilesystemError: it cannot be read, made, or is there already (`x`).
    """
    how = set(mode) - {"+", "b", "t"}
    if len(set(mode)) != len(mode) or len(how) != 1 or not how <= set("rwax") or {*"bt"} <= {*mode}:
        raise InvalidError(
            f"there is no mode {mode!r} of a file", hint="'r', 'wb' or 'a+' are some"
        )
    content = b""
    if "x" in mode:
        try:
            yield from files._ask(path, "stat")
        except SandboxFilesystemNotFoundError:
            pass
        else:
            raise failure(path, errno.EEXIST)
    if "r" in mode or "a" in mode:
        try:
            content = (yield from files._read(path)).getvalue()
        except SandboxFilesystemNotFoundError:
            if "r" in mode:
                raise
    if "r" not in mode and not content:
        yield from written(files, path, b"")
    return FileIO(files, path, mode, content)
