"""Source files by content hash: kept in memory, uploaded in pieces, waited for.

A file is kept under what it hashes to, checked here; so no client can put another's source
under a wrong name. Pieces belong to the session that sends them.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes kept; beyond, the least recently used files go.
BYTES_MAX = 512 << 20


class Upload:
    """The files that one session is sending."""

    __slots__ = ("expected", "pieces")

    def __init__(self) -> None:
        #: content hash -> size, of what this session was asked to send
        self.expected: dict[str, int] = {}
        self.pieces: dict[str, bytearray] = {}

    def add(self, digest: str, offset: int, size: int, data: bytes) -> bytes | None:
        """Take one piece; the whole content with the last one.

        Raises:
            ValueError: when the pieces are not what was announced.
        """
        if self.expected.get(digest) != size:
            raise ValueError(f"nobody asked for a source file of {size} bytes and this hash")
        pieces = self.pieces.setdefault(digest, bytearray())
        if len(pieces) != offset or offset + len(data) > size:
            raise ValueError(f"a piece at {offset} after {len(pieces)} of {size} bytes")
        pieces += data
        if len(pieces) < size:
            return None
        del self.expected[digest]
        content = bytes(self.pieces.pop(digest))
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("an uploaded file is not what its hash says")
        return content


class BlobCache:
    """The source files that are here."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}
        self._bytes = 0
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Those of `digests` that have to be uploaded; the others count as used now."""
        lacking = set()
        for digest in digests:
            content = self._contents.pop(digest, None)
            if content is None:
                lacking.add(digest)
            else:
                self._contents[digest] = content
        return lacking

    async def get(self, digest: str) -> bytes:
        """The content of a file, as soon as some session has sent it."""
        while digest not in self._contents:
            arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaited.setdefault(digest, []).append(arrival)
            await arrival
        return self._contents[digest]

    def add(self, digest: str, content: bytes) -> None:
        """Keep a file whose hash was checked."""
        if digest in self._contents:
            return
        self._contents[digest] = content
        self._bytes += len(content)
        while self._bytes > BYTES_MAX and len(self._contents) > 1:
            oldest = next(iter(self._contents))
            self._bytes -= len(self._contents.pop(oldest))
        for arrival in self._awaited.pop(digest, ()):
            if not arrival.done():
                arrival.set_result(None)
