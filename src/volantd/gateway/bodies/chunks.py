"""Where a body ends: by its length, or by its last chunk. Bytes pass as they came.

Pure: `feed` says how many of the bytes belong to the body, and changes nothing of them.
"""

from __future__ import annotations

import re

from volantd.gateway import limits
from volantd.gateway.heads import RefusedError, check_trailers

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
_CHUNK_BEGIN = re.compile(rb"[0-9A-Fa-f]{0,15}(?:[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*+)?)?\r?")
_HEAD, _DATA, _END, _TRAILERS = range(4)


class Chunks:
    """The framing of a chunked body, piece by piece."""

    __slots__ = ("_left", "_of_request", "_rest", "_state", "is_done", "size", "trailers")

    def __init__(self, *, of_request: bool) -> None:
        self.is_done = False
        #: Bytes of data so far.
        self.size = 0
        #: The lines behind the last chunk, once it is done.
        self.trailers = b""
        self._of_request = of_request
        self._state = _HEAD
        self._left = 0
        #: Beginning of a line that did not all come; it was passed on already.
        self._rest = b""

    def feed(self, data: bytes, into: list[bytes] | None = None) -> int:
        """How many bytes of `data` belong to the body; less than all when it ends there.

        Args:
            data: the next bytes.
            into: takes the data without its framing, if wanted.

        Raises:
            RefusedError: for framing that cannot be.
        """
        before = len(self._rest)
        if before:
            data = self._rest + data
            self._rest = b""
        at, size = 0, len(data)
        while at < size:
            state = self._state
            if state == _DATA:
                end = min(size, at + self._left)
                if into is not None:
                    into.append(data[at:end])
                self._left -= end - at
                at = end
                if not self._left:
                    self._state = _END
                continue
            if state == _END:
                if size - at < 2:
                    if data[at:] != b"\r":
                        raise RefusedError(400, "a chunk does not end where it should")
                    break
                if data[at : at + 2] != b"\r\n":
                    raise RefusedError(400, "a chunk does not end where it should")
                at += 2
                self._state = _HEAD
                continue
            end = self._head(data, at) if state == _HEAD else self._trailers(data, at)
            if not end:
                break
            at = end
            if self.is_done:
                return at - before
        self._rest = data[at:]
        return size - before

    @property
    def left(self) -> int:
        """Bytes of data until the end of the chunk that has begun; 0 where framing comes next."""
        return self._left if self._state == _DATA else 0

    def skip(self, size: int) -> None:
        """Bytes of data, no more than are `left`, passed by another way."""
        self._left -= size
        if not self._left:
            self._state = _END

    def _head(self, data: bytes, at: int) -> int:
        match = _CHUNK.match(data, at, at + limits.CHUNK_LINE_BYTES_MAX)
        if match is None:
            rest = data[at : at + limits.CHUNK_LINE_BYTES_MAX]
            too_long = len(rest) == limits.CHUNK_LINE_BYTES_MAX
            if too_long or _CHUNK_BEGIN.fullmatch(rest) is None:
                raise RefusedError(400, "a chunk without a size that can be")
            return 0
        self._left = int(match.group(1), 16)
        self.size += self._left
        self._state = _DATA if self._left else _TRAILERS
        return match.end()

    def _trailers(self, data: bytes, at: int) -> int:
        end = check_trailers(data, at, of_request=self._of_request)
        self.is_done = bool(end)
        self.trailers = data[at:end]
        return end
