"""One request of a connection of HTTP/2: to its front it is a connection of HTTP/1.1.

    frames of the client ─► head and body as bytes ─► Front ─► container
                          ◄─ head, body, trailers  ◄──┘ writes

So whatever is true of requests of HTTP/1.1 is of these as well: limits, leases, the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes

from volantd.gateway import limits
from volantd.gateway.front import Front
from volantd.gateway.heads import RefusedError
from volantd.gateway.multiplex import translation
from volantd.gateway.multiplex.answer import AnswerReader
from volantd.gateway.multiplex.turns import Window

if TYPE_CHECKING:
    from volantd.gateway.multiplex.connection import Multiplexed
    from volantd.gateway.multiplex.translation import Field


class Stream(asyncio.Transport):
    """A request, and what its front takes for the client's connection."""

    def __init__(self, connection: Multiplexed, number: int) -> None:
        super().__init__()
        self._connection = connection
        self.number = number
        #: Whether all of the request has come, or nothing is missing of it.
        self.has_come = False
        #: Whether the response is here as a whole; what of it was not sent is in `pieces`.
        self.is_whole = False
        self.trailers: list[Field] = []
        self.pieces: deque[memoryview] = deque()
        self._window = Window()
        #: Bytes in `pieces`.
        self._size = 0
        self._is_full = False
        self._is_chunked = False
        self._is_over = False
        self._behind = b""
        self._front = Front(connection.gateway)
        self._reader = AnswerReader(self, b"")

    # -- the request

    def begin(self, fields: list[Field], *, has_body: bool) -> None:
        """Take its head."""
        self.has_come = not has_body
        method = next((value for name, value in fields if name == b":method"), b"")
        self._reader = AnswerReader(self, method)
        self._front.connection_made(self)
        try:
            head, self._is_chunked = translation.request_lines(fields, has_body=has_body)
        except RefusedError as error:
            self._front.refuse(error.status, error.text)
            return
        self._front.data_received(head)

    def take(self, data: bytes) -> None:
        """Take a piece of its body."""
        if data and not self._is_over:
            self._front.data_received(
                b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data
            )
        self._acknowledge()

    def take_trailers(self, fields: list[Field]) -> None:
        """Take the fields behind its body, which a body with a length has no place for."""
        try:
            self._behind = translation.trailer_lines(fields)
        except RefusedError:
            self.abort()

    def end(self) -> None:
        """All of it has come."""
        self.has_come = True
        if self._is_chunked and not self._is_over:
            self._front.data_received(b"0\r\n" + self._behind + b"\r\n")

    def taken(self, size: int) -> None:
        self._window.unacknowledged += size

    def _acknowledge(self) -> None:
        """Let the client send more, if somebody takes what came."""
        size = 0 if self.has_come else self._window.due()
        if size:
            self._connection.open_window(size, self)

    def lose(self) -> None:
        """The client wants no answer any more."""
        if not self._is_over:
            self._is_over = True
            self._front.connection_lost(None)

    def sent(self, size: int) -> None:
        self._size -= size
        if self._is_full and self._size <= limits.WRITE_BYTES_HIGH // 4:
            self._is_full = False
            self._front.resume_writing()

    # -- parts of the response

    def on_head(self, fields: list[Field], *, is_last: bool, is_interim: bool) -> None:
        if is_last:
            self._on_answered()
        self._connection.send_head(self, fields, is_last=is_last)

    def on_body(self, data: bytes) -> None:
        self.pieces.append(memoryview(data))
        self._size += len(data)
        self._connection.send_soon(self)
        if self._size > limits.WRITE_BYTES_HIGH and not self._is_full:
            self._is_full = True
            self._front.pause_writing()

    def on_end(self, trailers: list[Field]) -> None:
        self.trailers = trailers
        self._on_answered()
        self._connection.send_soon(self)

    def _on_answered(self) -> None:
        self.is_whole = True
        # A body with a length has come, though the frame that says so may be on its way.
        self.has_come |= self._front.has_sent_all
        # The front is about to note that by itself; then there is nothing more for it to do.
        self._connection.gateway.loop.call_soon(self.lose)

    # -- what a front does with a connection

    def write(self, data: Any) -> None:
        if self._is_over or self._reader.is_done:
            return
        try:
            self._reader.feed(data)
        except RefusedError:  # the front has checked it, so this does not happen
            self.abort()

    def write_eof(self) -> None:
        if not self._reader.eof():
            self.abort()

    def close(self) -> None:
        self.write_eof()

    def abort(self) -> None:
        self._connection.reset(self, ErrorCodes.INTERNAL_ERROR)
        self._connection.gateway.loop.call_soon(self.lose)

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self._is_over

    def pause_reading(self) -> None:
        self._window.is_held = True

    def resume_reading(self) -> None:
        self._window.is_held = False
        self._acknowledge()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has its own, the same for all."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return default  # what is written to that is not of this request alone
        return self._connection.transport.get_extra_info(name, default)
