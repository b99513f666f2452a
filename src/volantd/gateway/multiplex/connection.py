"""A connection of a client that speaks HTTP/2: frames in and out, windows, and what is too much.

    bytes ─► h2 ─► events ─► Stream ...      what streams write ─► frames, in turns ─► bytes

A client that takes nothing is not read from, so answers to its frames do not pile up. Whatever
costs work and belongs to no request that is answered comes out of a budget.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes, Settings

from volantd.gateway import limits
from volantd.gateway.multiplex.budget import Budget
from volantd.gateway.multiplex.framing import FrameGate
from volantd.gateway.multiplex.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.gateway.gateway import Gateway
    from volantd.gateway.multiplex.translation import Field

NEVER = float("inf")
#: Bytes ahead of a client's first frame.
PREFACE_BYTES = 24
#: The window of a connection before anybody has opened it further.
_WINDOW_DEFAULT_BYTES = (1 << 16) - 1


class Multiplexed(asyncio.Protocol):
    """One connection with many requests."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.transport: asyncio.Transport
        #: When something is done about it.
        self.due = NEVER
        self._loop = gateway.loop
        now = self._loop.time()
        self._control = Budget(limits.CONTROL_BYTES_BURST, limits.CONTROL_BYTES_RATE, now)
        self._resets = Budget(limits.RESETS_BURST, limits.RESETS_RATE, now)
        self._gate = FrameGate(PREFACE_BYTES)
        self._streams: dict[int, Stream] = {}
        #: Those that have something to send, in their turns.
        self._sending: dict[Stream, None] = {}
        self._unacknowledged = 0
        self._is_stuck = False
        self._is_over = False
        self._will_send = False
        # What we send was checked, and is in the form of HTTP/2 already.
        self._h2 = H2Connection(H2Configuration(
            client_side=False, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False,
        ))  # fmt: skip
        self._h2.local_settings = Settings(client=False, initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: limits.STREAMS_MAX,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.HEAD_BYTES_MAX,
            SettingCodes.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW_BYTES,
        })  # fmt: skip
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestReceived: self._on_request, events.DataReceived: self._on_data,
            events.TrailersReceived: self._on_trailers, events.StreamEnded: self._on_ended,
            events.StreamReset: self._on_reset,
            events.ConnectionTerminated: lambda event: self._end(None),
        }  # fmt: skip

    # -- of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self.transport.set_write_buffer_limits(high=limits.WRITE_BYTES_HIGH)
        self.due = self._loop.time() + limits.KEEP_ALIVE_S
        self.gateway.joined(self)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(limits.WINDOW_BYTES - _WINDOW_DEFAULT_BYTES)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_over = True
        self.gateway.left(self)
        self._lose_all()

    def pause_writing(self) -> None:
        self._is_stuck = True
        self.due = self._loop.time() + limits.BODY_IDLE_S
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_stuck = False
        self._note_progress()
        self.transport.resume_reading()
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        try:
            cost = self._gate.feed(data)
        except FrameTooLargeError as error:
            self._end(error.error_code)
            return
        if not self._control.spend(cost, self._loop.time()):
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        try:
            found = self._h2.receive_data(data)
        except ProtocolError:
            self._hang_up()  # why is in a frame that h2 has made
            return
        for event in found:
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event)
            if self._is_over:
                return
        self._send()

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
        self._unacknowledged += event.flow_controlled_length
        if self._unacknowledged >= limits.WINDOW_BYTES // 2:
            size, self._unacknowledged = self._unacknowledged, 0
            self._h2.increment_flow_control_window(size)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.unacknowledged += event.flow_controlled_length
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
        if not self._resets.spend(1, self._loop.time()):
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)

    # -- for streams

    def open_window(self, size: int, stream: Stream) -> None:
        """Let the client send so many bytes more of a request."""
        with contextlib.suppress(ProtocolError):  # it may have come to its end
            self._h2.increment_flow_control_window(size, stream.number)
        self._send_later()

    def send_head(self, stream: Stream, fields: list[Field], *, is_last: bool) -> None:
        """Send the head of a response."""
        if stream.number not in self._streams:
            return
        try:
            self._h2.send_headers(stream.number, fields, end_stream=is_last)
        except ProtocolError:
            self.reset(stream, ErrorCodes.INTERNAL_ERROR)
            return
        if is_last:
            self._answered(stream)
        self._send_later()

    def send_soon(self, stream: Stream) -> None:
        """Send what a stream has, when it has its turn."""
        if stream.number in self._streams:
            self._sending[stream] = None
            self._send_later()

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream in its middle, so that the client notices."""
        if stream.number in self._streams:
            self._forget(stream)
            with contextlib.suppress(ProtocolError):  # the client may have done so itself
                self._h2.reset_stream(stream.number, code)
            self._send_later()

    # -- what is sent

    def _send_later(self) -> None:
        """Send once whoever writes has written: several frames in one go."""
        if not self._will_send:
            self._will_send = True
            self._loop.call_soon(self._send_now)

    def _send_now(self) -> None:
        self._will_send = False
        if not self._is_over:
            self._send()

    def _send(self) -> None:
        """Send frames of all streams in turns, until a window or the connection is full."""
        goes_on = True
        while goes_on and not self._is_stuck and not self._is_over:
            goes_on = False
            for stream in list(self._sending):
                goes_on |= self._send_piece(stream)
            self._flush()
        if self._sending and self.due == NEVER:
            self.due = self._loop.time() + limits.BODY_IDLE_S

    def _send_piece(self, stream: Stream) -> bool:
        """Send one frame of a stream; False: it has none, or may not."""
        number, connection = stream.number, self._h2
        if not stream.pieces:
            if stream.is_answered:
                if stream.trailers:
                    connection.send_headers(number, stream.trailers, end_stream=True)
                else:
                    connection.end_stream(number)
                self._answered(stream)
            else:
                del self._sending[stream]
            return False
        window = min(
            connection.local_flow_control_window(number), connection.max_outbound_frame_size
        )
        if window <= 0:
            return False
        piece = stream.pieces.popleft()
        if len(piece) > window:
            stream.pieces.appendleft(piece[window:])
            piece = piece[:window]
        is_last = stream.is_answered and not stream.pieces and not stream.trailers
        connection.send_data(number, piece.tobytes(), end_stream=is_last)
        # Windows are opened for what is sent.
        self._control.spend(-limits.CONTROL_BYTES_BACK, self._loop.time())
        self._note_progress()
        stream.sent(len(piece))
        if is_last:
            self._answered(stream)
        return True

    def _answered(self, stream: Stream) -> None:
        """All of a response was sent."""
        self._forget(stream)
        self._control.spend(-limits.ANSWER_BYTES_BACK, self._loop.time())
        if not stream.has_come:  # nobody reads the rest of the request
            with contextlib.suppress(ProtocolError):
                self._h2.reset_stream(stream.number, ErrorCodes.NO_ERROR)

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
        self._sending.pop(stream, None)
        self._note_progress()

    def _note_progress(self) -> None:
        """Be patient again: something was taken by the client, or has ended."""
        if self._is_stuck:
            return
        self.due = NEVER if self._streams else self._loop.time() + limits.KEEP_ALIVE_S

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self.transport.write(data)

    # -- ends

    def overdue(self) -> None:
        """Do something about a client that does not what it should, or nothing at all."""
        if self._streams or self._is_stuck:
            self.transport.abort()
        else:
            self._end(ErrorCodes.NO_ERROR)

    def _end(self, code: ErrorCodes | None) -> None:
        """End the connection; None: the client has said so itself."""
        if code is not None:
            self._h2.close_connection(code)
        self._hang_up()

    def _hang_up(self) -> None:
        self._is_over = True
        self._flush()
        self._lose_all()
        self.transport.close()
        self.due = self._loop.time() + limits.DRAIN_S

    def _lose_all(self) -> None:
        streams, self._streams = list(self._streams.values()), {}
        self._sending.clear()
        for stream in streams:
            stream.lose()
