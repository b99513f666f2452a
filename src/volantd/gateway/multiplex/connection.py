"""A connection of a client that speaks HTTP/2, and its requests."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from volantd.gateway import limits
from volantd.gateway.multiplex.budget import Budget
from volantd.gateway.multiplex.stream import Stream
from volantd.gateway.multiplex.turns import Turns

if TYPE_CHECKING:
    import asyncio

    from volantd.gateway.gateway import Gateway
    from volantd.gateway.multiplex.translation import Field
    from volantd.gateway.multiplex.turns import Sending

NEVER = float("inf")


class Multiplexed(Turns):
    """One connection with many requests."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.loop, client_side=False)
        self.gateway = gateway
        #: When something is done about it.
        self.due = NEVER
        self._resets = Budget(limits.RESETS_BURST, limits.RESETS_RATE, self.loop.time())
        self._streams: dict[int, Stream] = {}
        self._handlers.update({
            events.RequestReceived: self._on_request, events.DataReceived: self._on_data,
            events.TrailersReceived: self._on_trailers, events.StreamEnded: self._on_ended,
            events.StreamReset: self._on_reset,
            events.ConnectionTerminated: lambda event: self.hang_up(),
        })  # fmt: skip

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._progressed()
        self.gateway.joined(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.gateway.left(self)
        super().connection_lost(error)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.due = self.loop.time() + limits.BODY_IDLE_S

    # -- what has come

    def _on_request(self, event: events.RequestReceived) -> None:
        number = event.stream_id
        if len(self._streams) >= limits.STREAMS_MAX:  # those that h2 knows to be closed count
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        stream = self._streams[number] = Stream(self, number)
        self.due = NEVER
        stream.begin(event.headers, has_body=event.stream_ended is None)

    def _on_data(self, event: events.DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.take(event.data)

    def _on_trailers(self, event: events.TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.take_trailers(event.headers)

    def _on_ended(self, event: events.StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None and not stream.has_come:
            stream.end()

    def _on_reset(self, event: events.StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._forget(stream)
            stream.lose()
        if not self._resets.spend(1, self.loop.time()):
            self.end(ErrorCodes.ENHANCE_YOUR_CALM)

    # -- what is sent

    def send_head(self, stream: Stream, fields: list[Field], *, is_last: bool) -> None:
        """Send the head of a response."""
        if stream.number not in self._streams:
            return
        try:
            self._h2.send_headers(stream.number, fields, end_stream=is_last)
        except ProtocolError:  # it was taken back with the same bytes that brought it
            return
        if is_last:
            self._ended(stream)
        self.send_later()

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream in its middle, so that the client notices."""
        if stream.number in self._streams:
            self._forget(stream)
            with contextlib.suppress(ProtocolError):  # the client may have done so itself
                self._h2.reset_stream(stream.number, code)
            self.send_later()

    def _send(self) -> None:
        super()._send()
        if self._sending and self.due == NEVER:
            self.due = self.loop.time() + limits.BODY_IDLE_S

    def _stream(self, number: int) -> Stream | None:
        return self._streams.get(number)

    def _ended(self, stream: Sending) -> None:
        assert isinstance(stream, Stream)
        self._forget(stream)
        self._control.spend(-limits.ANSWER_BYTES_BACK, self.loop.time())
        if not stream.has_come:  # nobody reads the rest of the request
            with contextlib.suppress(ProtocolError):
                self._h2.reset_stream(stream.number, ErrorCodes.NO_ERROR)

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
        self._sending.pop(stream, None)
        self._progressed()

    def _progressed(self) -> None:
        """Be patient again: something was taken by the client, or has ended."""
        if not self.is_stuck:
            self.due = NEVER if self._streams else self.loop.time() + limits.KEEP_ALIVE_S

    # -- ends

    @property
    def is_idle(self) -> bool:
        """Whether it has no requests, and is not about to end."""
        return not (self._streams or self.is_stuck or self.is_over) and self.due != NEVER

    def overdue(self) -> None:
        """Do something about a client that does not what it should, or nothing at all."""
        if self._streams or self.is_stuck or self.is_over:
            self.transport.abort()
        else:
            self.end(ErrorCodes.NO_ERROR)

    def hang_up(self) -> None:
        super().hang_up()
        self.due = self.loop.time() + limits.DRAIN_S

    def _lose_all(self) -> None:
        streams, self._streams = list(self._streams.values()), {}
        self._sending.clear()
        for stream in streams:
            stream.lose()
