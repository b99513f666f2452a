"""HTTP/2 to servers that want it: a back whose connection is a stream.

    Front ─► Back ─► head and body as bytes of HTTP/1.1 ─► frames ─► the server at its port
                 ◄─ the response, likewise                  ◄──┘

A back is used for one request after another, each a stream of the connection that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from volantd.gateway import heads, limits
from volantd.gateway.bodies.chunks import Chunks
from volantd.gateway.heads import CHUNKED, RefusedError
from volantd.gateway.multiplex import translation
from volantd.gateway.multiplex.turns import Turns, Window

if TYPE_CHECKING:
    from volantd.gateway.back import Back
    from volantd.gateway.multiplex.translation import Field
    from volantd.gateway.multiplex.turns import Sending


class Upstream(Turns):
    """One connection to a server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, client_side=True)
        self._streams: dict[int, Request] = {}
        #: Requests for which the server has no room.
        self._waiting: deque[Request] = deque()
        #: Everybody who has it, also between two requests.
        self.users: set[Request] = set()
        self._handlers.update({
            events.ResponseReceived: self._on_head, events.DataReceived: self._on_data,
            events.InformationalResponseReceived: self._on_interim,
            events.TrailersReceived: self._on_trailers, events.StreamEnded: self._on_end,
            events.StreamReset: self._on_reset,
            events.ConnectionTerminated: lambda event: self.hang_up(),
        })  # fmt: skip

    @property
    def load(self) -> int:
        """Requests under way, and those that wait."""
        return len(self._streams) + len(self._waiting)

    def has_room(self) -> bool:
        """Whether the server takes one more."""
        return self.load < self._most()

    def _most(self) -> int:
        return min(self._h2.remote_settings.max_concurrent_streams, limits.STREAMS_MAX)

    # -- for requests

    def begin(self, request: Request) -> None:
        """Send the head of a request, in its turn when there is room."""
        self._waiting.append(request)
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and len(self._streams) < self._most() and not self.is_over:
            request = self._waiting.popleft()
            request.number = self._h2.get_next_available_stream_id()
            self._streams[request.number] = request
            is_last = request.is_whole and not request.pieces and not request.trailers
            self._h2.send_headers(request.number, request.fields, end_stream=is_last)
            if not is_last:
                self._sending[request] = None
        self.send_later()

    def finish(self, request: Request, *, breaks_off: bool = False) -> None:
        """A request is over for whoever sent it: so is what of it is still to be sent."""
        self._sending.pop(request, None)
        if request in self._waiting:
            self._waiting.remove(request)
        if self._streams.pop(request.number, None) is None:
            return
        if breaks_off or not request.is_whole or request.pieces:
            with contextlib.suppress(ProtocolError):  # both sides may be done with it
                self._h2.reset_stream(request.number, ErrorCodes.CANCEL)
        self._go_on()

    def _stream(self, number: int) -> Request | None:
        return self._streams.get(number)

    def _ended(self, stream: Sending) -> None:
        """A request was sent; its response is what counts."""

    # -- what has come

    def _on_head(self, event: events.ResponseReceived) -> None:
        request = self._streams.get(event.stream_id)
        if request is not None:
            request.on_head(event.headers, is_last=event.stream_ended is not None)

    def _on_interim(self, event: events.InformationalResponseReceived) -> None:
        request = self._streams.get(event.stream_id)
        if request is not None:
            request.on_interim(event.headers)

    def _on_data(self, event: events.DataReceived) -> None:
        request = self._streams.get(event.stream_id)
        if request is not None:
            request.on_body(event.data)

    def _on_trailers(self, event: events.TrailersReceived) -> None:
        request = self._streams.get(event.stream_id)
        if request is not None:
            request.on_trailers(event.headers)

    def _on_end(self, event: events.StreamEnded) -> None:
        self._control.spend(-limits.ANSWER_BYTES_BACK, self.loop.time())
        request = self._streams.get(event.stream_id)
        if request is not None:
            request.on_end()

    def _on_reset(self, event: events.StreamReset) -> None:
        request = self._streams.pop(event.stream_id, None)
        if request is not None:
            self._sending.pop(request, None)
            request.lose()
            self._go_on()

    def _lose_all(self) -> None:
        self._streams.clear()
        self._sending.clear()
        self._waiting.clear()
        users, self.users = self.users, set()
        for request in users:
            request.lose()


class Request(asyncio.Transport):
    """What a back takes for its connection: one stream after another."""

    def __init__(self, upstream: Upstream, back: Back) -> None:
        super().__init__()
        self._upstream = upstream
        self._back = back
        self._is_closed = False
        upstream.users.add(self)
        self._clear()
        back.connection_made(self)

    def _clear(self) -> None:
        """Nothing of a request is here."""
        #: Of its stream; 0: it has none.
        self.number = 0
        self.fields: list[Field] = []
        self.pieces: deque[memoryview] = deque()
        self.is_whole = False
        self.trailers: list[Field] = []
        self._size = 0
        self._is_full = False
        self._method = b""
        self._rest = b""
        self._left = 0
        self._chunks: Chunks | None = None
        self._window = Window()
        #: Bytes of the response's body that are to come, or `CHUNKED`.
        self._coming = 0
        self._behind = b""

    # -- what a front sends

    def write(self, data: Any) -> None:
        if self._is_closed:
            return
        if self.fields:
            self._on_request_body(data)
            return
        data = self._rest + data
        head = heads.read_request(data)  # one that was passed on, so nothing is refused
        if head is None:
            self._rest = data
            return
        self._rest, self._method = b"", head.method
        self.fields = translation.request_fields(head)
        self._left = head.length
        self._chunks = Chunks(of_request=True) if head.length == CHUNKED else None
        self.is_whole = not head.length
        if head.length and len(data) > head.end:
            self._on_request_body(data[head.end :])
        self._upstream.begin(self)

    def _on_request_body(self, data: bytes) -> None:
        if self._chunks is None:
            self._left -= len(data)
            self.is_whole = self._left <= 0
        else:
            bare: list[bytes] = []
            self._chunks.feed(data, bare)
            data = b"".join(bare)
            self.is_whole = self._chunks.is_done
            self.trailers = translation.fields_of(self._chunks.trailers)
        if data:
            self.pieces.append(memoryview(data))
            self._size += len(data)
        if self.number:
            self._upstream.send_soon(self)
        if self._size > limits.WRITE_BYTES_HIGH and not self._is_full:
            self._is_full = True
            self._back.pause_writing()

    def sent(self, size: int) -> None:
        self._size -= size
        if self._is_full and self._size <= limits.WRITE_BYTES_HIGH // 4:
            self._is_full = False
            self._back.resume_writing()

    # -- what the server sends

    def on_interim(self, fields: list[Field]) -> None:
        """Pass on a head ahead of the real one."""
        self._give(fields, b"")

    def on_head(self, fields: list[Field], *, is_last: bool) -> None:
        """Pass on the head of the response."""
        named = dict(fields)
        without = self._method == b"HEAD" or named.get(b":status") in (b"204", b"304")
        length, more = named.get(b"content-length"), b""
        if without:
            self._coming = 0
        elif length is not None:
            self._coming = int(length)  # h2 has counted by it
        elif is_last:
            more = b"content-length: 0\r\n"
        else:
            self._coming, more = CHUNKED, b"transfer-encoding: chunked\r\n"
        if not self._coming:
            self._finish()  # ahead of its last bytes, behind which the next request may come
        self._give(fields, more)

    def _give(self, fields: list[Field], more: bytes) -> None:
        try:
            lines = translation.response_lines(fields, more)
        except RefusedError:
            self.abort()
            return
        self._back.data_received(lines)

    def on_body(self, data: bytes) -> None:
        """Pass on a piece of its body."""
        if self._coming == CHUNKED:
            if data:
                self._back.data_received(b"%x\r\n%b\r\n" % (len(data), data))
        elif data:
            self._coming -= len(data)
            if not self._coming:
                self._finish()
            self._back.data_received(data)
        self._acknowledge()

    def on_trailers(self, fields: list[Field]) -> None:
        """Keep the fields behind it for its end."""
        try:
            self._behind = translation.trailer_lines(fields)
        except RefusedError:
            self.abort()

    def on_end(self) -> None:
        """The response is over: one with a length is so before this."""
        end = b"0\r\n" + self._behind + b"\r\n"
        self._finish()
        self._back.data_received(end)

    def _finish(self) -> None:
        is_held = self._window.is_held
        self._upstream.finish(self)
        self._clear()
        self._window.is_held = is_held

    def taken(self, size: int) -> None:
        self._window.unacknowledged += size

    def _acknowledge(self) -> None:
        size = self._window.due()
        if size and self.number:
            self._upstream.open_window(size, self)

    def lose(self) -> None:
        """There will be no more."""
        if not self._is_closed:
            self._is_closed = True
            self._upstream.users.discard(self)
            self._back.connection_lost(ConnectionResetError("the server has ended it"))

    # -- what a back does with a connection

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._upstream.users.discard(self)
            self._upstream.finish(self, breaks_off=True)
            self._upstream.loop.call_soon(self._back.connection_lost, None)

    def is_closing(self) -> bool:
        return self._is_closed

    def pause_reading(self) -> None:
        self._window.is_held = True

    def resume_reading(self) -> None:
        self._window.is_held = False
        self._acknowledge()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has its own, the same for all."""


class Upstreams:
    """Connections to servers that want HTTP/2, by their addresses."""

    def __init__(self) -> None:
        self._all: dict[str, list[Upstream]] = {}

    def find(self, address: str) -> Upstream | None:
        """A connection with room; or, when there are as many as may be, the least loaded."""
        there = [one for one in self._all.get(address, ()) if not one.is_over]
        if there:
            self._all[address] = there
        else:
            self._all.pop(address, None)
        best = min(there, key=lambda one: one.load, default=None)
        if best is None or (not best.has_room() and len(there) < limits.UPSTREAMS_MAX):
            return None
        return best

    def add(self, address: str, upstream: Upstream) -> None:
        """Know a connection that was made."""
        self._all.setdefault(address, []).append(upstream)

    def sweep(self) -> None:
        """Close what nobody has any more, and forget what is closed."""
        for address, there in list(self._all.items()):
            for one in there:
                if not one.users and not one.is_over:
                    one.end(ErrorCodes.NO_ERROR)
            self._all[address] = [one for one in there if not one.is_over]
            if not self._all[address]:
                del self._all[address]
