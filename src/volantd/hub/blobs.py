"""Files of clients by content hash: kept here, uploaded in pieces, waited for.

    upload pieces ─► Upload: put together, hashed ─► BlobCache: bytes, or a mapped file if large

A file is kept under what it hashes to, checked here; so no client can put another's file under
a wrong name. Pieces belong to the session that sends them. Large contents lie in files without a
name, which are gone with the daemon however it ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import tempfile
from typing import TYPE_CHECKING

from volant.errors import DataLossError, Error, ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from volantd.blobs.files import BlobFiles

    Content = bytes | mmap.mmap

#: Bytes kept in memory, and in files; beyond, what was used longest ago goes.
BYTES_MAX = 512 << 20
FILE_BYTES_MAX = 32 << 30
#: Contents that are larger lie in files.
IN_MEMORY_MAX = 4 << 20


class _Pieces:
    """A content that is arriving."""

    __slots__ = ("_digest", "_file", "_memory", "size")

    def __init__(self, size: int, directory: str) -> None:
        self.size = 0
        self._digest = hashlib.sha256()
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        if size > IN_MEMORY_MAX:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - see close()

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self.size += len(data)
        self._digest.update(data)
        if self._file is None:
            self._memory += data
        else:
            self._file.write(data)

    def finish(self, digest: str) -> Content:
        """The whole.

        Raises:
            ValueError: when it is not what its hash says.
        """
        if self._digest.hexdigest() != digest:
            raise ValueError("an uploaded file is not what its hash says")
        if self._file is None:
            return bytes(self._memory)
        self._file.flush()
        return mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Let go of its file; what is mapped stays."""
        if self._file is not None:
            self._file.close()


class Upload:
    """The files that one session is sending.

    Args:
        directory: where large ones lie, without a name.
    """

    __slots__ = ("_directory", "dropped", "expected", "pieces")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        #: content hash -> size, of what this session was asked to send
        self.expected: dict[str, int] = {}
        self.pieces: dict[str, _Pieces] = {}
        #: What could not be taken; the rest of it may still be on its way.
        self.dropped: set[str] = set()

    def add(self, digest: str, offset: int, size: int, data: bytes) -> Content | None:
        """Take one piece; the whole content with the last one.

        Raises:
            OSError: when there is no room for it; then it is to be dropped.
            ValueError: when the pieces are not what was announced.
        """
        if self.expected.get(digest) != size:
            raise ValueError(f"nobody asked for a file of {size} bytes and this hash")
        pieces = self.pieces.get(digest)
        if pieces is None:
            pieces = self.pieces[digest] = _Pieces(size, self._directory)
        if pieces.size != offset or offset + len(data) > size:
            raise ValueError(f"a piece at {offset} after {pieces.size} of {size} bytes")
        pieces.add(data)
        if pieces.size < size:
            return None
        del self.expected[digest], self.pieces[digest]
        try:
            return pieces.finish(digest)
        finally:
            pieces.close()

    def drop(self, digest: str) -> None:
        """Take no more of a content."""
        self.expected.pop(digest, None)
        pieces = self.pieces.pop(digest, None)
        if pieces is not None:
            pieces.close()
        self.dropped.add(digest)

    def close(self) -> None:
        """Let go of what has not arrived."""
        for pieces in self.pieces.values():
            pieces.close()
        self.pieces.clear()


class BlobCache:
    """The files that are here.

    Attributes:
        directory: where large ones lie, without a name.
    """

    def __init__(self, directory: str, kept: BlobFiles | None = None) -> None:
        """`kept`: those of deployed apps, which need not be sent again."""
        self.directory = directory
        self._kept = kept
        self._contents: dict[str, Content] = {}
        self._memory_bytes = self._file_bytes = 0
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}
        #: Why contents that were sent are not here.
        self._failed: dict[str, Error] = {}

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Those of `digests` that have to be uploaded; the others count as used now."""
        lacking = set()
        for digest in digests:
            content = self._contents.pop(digest, None)
            if content is None:
                if self._kept is None or not self._kept.has(digest):
                    lacking.add(digest)
                    self._failed.pop(digest, None)  # it is sent again
            else:
                self._contents[digest] = content
        return lacking

    async def get(self, digest: str) -> Content:
        """The content of a file, as soon as some session has sent it.

        Raises:
            ResourceExhaustedError: when there was no room for it.
            DataLossError: when it was kept, and is not there any more.
        """
        while digest not in self._contents:
            if digest in self._failed:
                error = self._failed[digest]
                raise type(error)(error.message, hint=error.hint)
            kept = None if self._kept is None else self._kept.get(digest)
            if kept is not None:
                self.add(digest, kept)
                break
            arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaited.setdefault(digest, []).append(arrival)
            await arrival
        return self._contents[digest]

    def refuse(self, digest: str, reason: str) -> None:
        """Note that a file that was sent cannot be kept: nobody shall wait for it."""
        hint = "make room where the daemon's home is"
        self._fail(digest, ResourceExhaustedError(reason, hint=hint))

    def expect_all(self, digests: Iterable[str], name: str) -> None:
        """Note that nobody sends what an app has that runs without its client: it was kept."""
        for digest in self.missing(digests):
            self._fail(digest, DataLossError(
                f"the content {digest[:12]} of app {name!r} is not in {self.directory}/blobs",
                hint="put that directory back from a backup, or from the home that the app was "
                "deployed from; or deploy it again",
            ))  # fmt: skip

    def _fail(self, digest: str, error: Error) -> None:
        self._failed[digest] = error
        self._wake(digest)

    def add(self, digest: str, content: Content) -> None:
        """Keep a file whose hash was checked."""
        self._failed.pop(digest, None)
        if digest in self._contents:
            return
        self._contents[digest] = content
        self._count(content, 1)
        for oldest in list(self._contents)[:-1]:
            if self._memory_bytes <= BYTES_MAX and self._file_bytes <= FILE_BYTES_MAX:
                break
            self._count(self._contents.pop(oldest), -1)
        self._wake(digest)

    def _wake(self, digest: str) -> None:
        for arrival in self._awaited.pop(digest, ()):
            if not arrival.done():
                arrival.set_result(None)

    def _count(self, content: Content, sign: int) -> None:
        if isinstance(content, bytes):
            self._memory_bytes += sign * len(content)
        else:
            self._file_bytes += sign * len(content)
