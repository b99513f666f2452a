"""What a front writes, read as the response that it is: head, body, fields behind it, end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from volantd.gateway import heads
from volantd.gateway.bodies.chunks import Chunks
from volantd.gateway.heads import CHUNKED, UNTIL_END
from volantd.gateway.multiplex import translation

if TYPE_CHECKING:
    from volantd.gateway.heads import ResponseHead
    from volantd.gateway.multiplex.translation import Field

_HEAD, _LENGTH, _CHUNKS, _END, _DONE = range(5)


class Taker(Protocol):
    """Who the parts are for."""

    def on_head(self, fields: list[Field], *, is_last: bool, is_interim: bool) -> None:
        """Take a head; `is_last`: nothing follows."""

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""

    def on_end(self, trailers: list[Field]) -> None:
        """The body is over."""


class AnswerReader:
    """One response, taken apart as it comes."""

    __slots__ = ("_chunks", "_left", "_method", "_rest", "_state", "_taker")

    def __init__(self, taker: Taker, method: bytes) -> None:
        """`method`: of the request, for HEAD is answered without a body."""
        self._taker = taker
        self._method = method
        self._state = _HEAD
        self._rest = b""
        self._left = 0
        self._chunks = Chunks(of_request=False)

    @property
    def is_done(self) -> bool:
        """Whether the response was all there."""
        return self._state == _DONE

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            RefusedError: for what is no response.
        """
        while self._state == _HEAD:
            data = self._rest + data
            head = heads.read_response(data, self._method)
            if head is None:
                self._rest = data
                return
            self._rest, data = b"", data[head.end :]
            self._begin(head)
            if not data:
                return
        if self._state == _LENGTH:
            self._left -= len(data)
            self._taker.on_body(data)
            if self._left <= 0:
                self._finish()
        elif self._state == _CHUNKS:
            self._on_chunks(data)
        elif self._state == _END:
            self._taker.on_body(data)

    def _begin(self, head: ResponseHead) -> None:
        fields = translation.answer_fields(head)
        if head.status < 200:
            self._taker.on_head(fields, is_last=False, is_interim=True)
            return
        if head.length == CHUNKED:
            self._state = _CHUNKS
        elif head.length == UNTIL_END:
            self._state = _END
        else:
            self._state, self._left = _LENGTH, head.length
        if head.length:
            self._taker.on_head(fields, is_last=False, is_interim=False)
        else:
            self._state = _DONE
            self._taker.on_head(fields, is_last=True, is_interim=False)

    def _on_chunks(self, data: bytes) -> None:
        pieces: list[bytes] = []
        self._chunks.feed(data, pieces)
        if pieces:
            self._taker.on_body(b"".join(pieces))
        if self._chunks.is_done:
            self._finish()

    def _finish(self) -> None:
        self._state = _DONE
        self._taker.on_end(translation.fields_of(self._chunks.trailers))

    def eof(self) -> bool:
        """The front writes no more; False when that is in the middle of the response."""
        if self._state == _END:
            self._finish()
        return self._state == _DONE
