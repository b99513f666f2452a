"""Contents on their way from clients: small ones together, large ones chunk by chunk.

    which chunks are lacking? ─► a new file: holes, chunks of the file that was there before
    a chunk ─► checked, written where it belongs ─► with the last one the content is here

What comes is checked against the hash that it is to be known by, so a client can lie about nothing
but which file it is. What is sent twice is harmless.
"""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

from volant.errors import InvalidError
from volant.wire import chunks
from volantd.volumes.scanning import write_at

if TYPE_CHECKING:
    from volantd.blobs.contents import Contents

#: Large contents that arrive at the same time; of one that nobody goes on with, the oldest goes.
ARRIVING_MAX = 64


class _Large:
    """A large content of which chunks are lacking."""

    def __init__(self, fd: int, path: str, digests: list[str], size: int) -> None:
        self.fd = fd
        self.path = path
        self.digests = digests
        self.size = size
        self.lacking: set[int] = set()


class Arriving:
    """What is on its way. Its methods block, and may run on any thread."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._lock = threading.Lock()
        self._large: dict[str, _Large] = {}

    def store(self, data: memoryview, table: list[tuple[str, int]]) -> None:
        """Keep small contents that lie one after the other.

        Args:
            data: all of them.
            table: hash and size of each.

        Raises:
            InvalidError: when one is not what its hash says.
        """
        rows, at = [], 0
        for digest, size in table:
            content = bytes(data[at : at + size])
            at += size
            if chunks.digest_of(content) != digest or size > chunks.SMALL_BYTES:
                raise InvalidError("a content is not what its hash says")
            rows.append((digest, content))
        self._contents.put(rows)

    def begin(self, size: int, digests: list[str], like: str | None) -> tuple[str, list[int]]:
        """Expect a large content, and say which of its chunks are lacking.

        Args:
            size: of the content.
            digests: of its chunks.
            like: another content, chunks of which may be the same.

        Returns:
            what it will be known by, and the indexes of the chunks.
        """
        is_list = len(digests) > 1
        whole = chunks.digest_of(chunks.list_of(digests)) if is_list else digests[0]
        if is_list:
            self._contents.put([(whole, chunks.list_of(digests))])
        if self._contents.claim([whole], is_large=True):
            return whole, []
        with self._lock:
            known = self._large.get(whole)
            if known is None:
                known = self._expect(whole, size, digests, like)
            if not known.lacking:
                self._finish(whole, known)
            return whole, sorted(known.lacking)

    def _expect(self, whole: str, size: int, digests: list[str], like: str | None) -> _Large:
        if len(self._large) >= ARRIVING_MAX:
            self._drop(next(iter(self._large)))
        fd, path = self._contents.unfinished()
        made = self._large[whole] = _Large(fd, path, digests, size)
        os.ftruncate(fd, size)
        there = self._chunks_of(like)
        source = os.open(self._contents.path(like), os.O_RDONLY) if like and there else -1
        try:
            for index, digest in enumerate(digests):
                length = min(chunks.CHUNK_BYTES, size - index * chunks.CHUNK_BYTES)
                if digest == chunks.ZERO_DIGEST and length == chunks.CHUNK_BYTES:
                    continue
                if digest not in there or not _copied(source, there[digest], fd, index, length):
                    made.lacking.add(index)
        finally:
            if source >= 0:
                os.close(source)
        return made

    def _chunks_of(self, like: str | None) -> dict[str, int]:
        """Where the chunks of a content that is here are."""
        if like is None or not os.path.exists(self._contents.path(like)):
            return {}
        listed = self._contents.get(like)
        digests = [like] if listed is None else chunks.digests_in(listed)
        return {digest: index for index, digest in enumerate(digests)}

    def add(self, whole: str, index: int, data: bytes) -> bool:
        """Take a chunk of a large content; True if that was the last one.

        Raises:
            InvalidError: when nobody expects it, or it is not what its hash says.
        """
        with self._lock:
            known = self._large.get(whole)
            if known is None:
                if self._contents.claim([whole], is_large=True):
                    return True  # sent again, as it was the last one
                raise InvalidError("a chunk of a content that nobody expects")
            if index >= len(known.digests) or chunks.digest_of(data) != known.digests[index]:
                raise InvalidError("a chunk is not what its hash says")
            at = index * chunks.CHUNK_BYTES
            if len(data) != min(chunks.CHUNK_BYTES, known.size - at):
                raise InvalidError("a chunk is not as large as it has to be")
            if index in known.lacking:
                write_at(known.fd, data, at)
                known.lacking.discard(index)
            if known.lacking:
                return False
            self._finish(whole, known)
            return True

    def take(self, whole: str, fd: int) -> None:
        """Take all chunks that are lacking from an open file that has them.

        Raises:
            InvalidError: when it has not, or nobody expects them.
        """
        with self._lock:
            known = self._large.get(whole)
            lacking = [] if known is None else sorted(known.lacking)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidError("what was handed over is no file")
        for index in lacking:
            data = chunks.read_at(fd, chunks.CHUNK_BYTES, index * chunks.CHUNK_BYTES)
            self.add(whole, index, data)

    def _finish(self, whole: str, known: _Large) -> None:
        del self._large[whole]
        os.close(known.fd)
        try:
            self._contents.finish(known.path, whole)
        except BaseException:
            self._contents.discard(known.path)
            raise

    def _drop(self, whole: str) -> None:
        known = self._large.pop(whole)
        os.close(known.fd)
        self._contents.discard(known.path)

    def close(self) -> None:
        """Let go of what has not arrived."""
        with self._lock:
            for whole in list(self._large):
                self._drop(whole)


def _copied(source: int, source_index: int, target: int, index: int, length: int) -> bool:
    """Copy a chunk of another content, if it has the same length there."""
    at, to = source_index * chunks.CHUNK_BYTES, index * chunks.CHUNK_BYTES
    while length:
        done = os.copy_file_range(source, target, length, at, to)
        if not done:
            return False
        length, at, to = length - done, at + done, to + done
    return True
