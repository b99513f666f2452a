"""What both ends of HTTP/2 share: frames in are checked and counted, frames out take turns.

    bytes ─► size, cost ─► h2 ─► events ─► who handles them
    pieces of streams ─► a frame of each in turns, as windows allow ─► bytes

A peer that takes nothing is not read from, so answers to its frames do not pile up. Whatever costs
work and belongs to no request that is answered comes out of a budget.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes, Settings

from volantd.gateway import limits
from volantd.gateway.multiplex.budget import Budget
from volantd.gateway.multiplex.framing import FrameGate

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from volantd.gateway.multiplex.translation import Field

#: Bytes ahead of a client's first frame.
PREFACE_BYTES = 24
#: The window of a connection before anybody has opened it further.
_WINDOW_DEFAULT_BYTES = (1 << 16) - 1


class Sending(Protocol):
    """A stream, as far as sending is concerned."""

    number: int
    #: What is to be sent of a body.
    pieces: deque[memoryview]
    #: Whether nothing comes behind `pieces` but `trailers`.
    is_whole: bool
    trailers: list[Field]

    def sent(self, size: int) -> None:
        """So many bytes of `pieces` were sent."""

    def taken(self, size: int) -> None:
        """Count bytes of the other side's body, which were not acknowledged to it."""


class Turns(asyncio.Protocol):
    """A connection of HTTP/2."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, client_side: bool) -> None:
        self.loop = loop
        self.transport: asyncio.Transport
        self.is_over = False
        self.is_stuck = False
        self._control = Budget(limits.CONTROL_BYTES_BURST, limits.CONTROL_BYTES_RATE, loop.time())
        self._gate = FrameGate(0 if client_side else PREFACE_BYTES)
        #: Those that have something to send, in their turns.
        self._sending: dict[Sending, None] = {}
        self._unacknowledged = 0
        self._will_send = False
        # What we send was checked, and is in the form of HTTP/2 already.
        self._h2 = H2Connection(H2Configuration(
            client_side=client_side, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False,
        ))  # fmt: skip
        values = {
            SettingCodes.MAX_CONCURRENT_STREAMS: limits.STREAMS_MAX,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.HEAD_BYTES_MAX,
            SettingCodes.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW_BYTES,
        }
        if client_side:
            values[SettingCodes.ENABLE_PUSH] = 0
        self._h2.local_settings = Settings(client=client_side, initial_values=values)
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {}

    # -- for who is one

    def _ended(self, stream: Sending) -> None:
        """All that a stream had to send was sent."""
        raise NotImplementedError

    def _stream(self, number: int) -> Sending | None:
        """A stream that goes on."""
        raise NotImplementedError

    def _progressed(self) -> None:
        """Something was sent, or the peer takes bytes again."""

    def _lose_all(self) -> None:
        """There will be no more for any stream."""
        raise NotImplementedError

    # -- of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self.transport.set_write_buffer_limits(high=limits.WRITE_BYTES_HIGH)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(limits.WINDOW_BYTES - _WINDOW_DEFAULT_BYTES)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_over = True
        self._lose_all()

    def pause_writing(self) -> None:
        self.is_stuck = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_stuck = False
        self._progressed()
        self.transport.resume_reading()
        self._send()

    def data_received(self, data: bytes) -> None:
        if self.is_over:
            return
        try:
            cost = self._gate.feed(data)
        except FrameTooLargeError as error:
            self.end(error.error_code)
            return
        if not self._control.spend(cost, self.loop.time()):
            self.end(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        try:
            found = self._h2.receive_data(data)
        except ProtocolError:
            self.hang_up()  # why is in a frame that h2 has made
            return
        for event in found:
            if type(event) is events.DataReceived:
                self._acknowledge(event)
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event)
            if self.is_over:
                return
        self._send()

    def _acknowledge(self, event: events.DataReceived) -> None:
        """Open the window of all at once; that of the stream when somebody has taken it."""
        size = event.flow_controlled_length
        self._unacknowledged += size
        if self._unacknowledged >= limits.WINDOW_BYTES // 2:
            self._h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
        stream = self._stream(event.stream_id)
        if stream is not None:
            stream.taken(size)

    # -- for streams

    def open_window(self, size: int, stream: Sending) -> None:
        """Let the peer send so many bytes more of a body."""
        with contextlib.suppress(ProtocolError):  # it may have come to its end
            self._h2.increment_flow_control_window(size, stream.number)
        self.send_later()

    def send_soon(self, stream: Sending) -> None:
        """Send what a stream has, when it has its turn."""
        if self._stream(stream.number) is stream:
            self._sending[stream] = None
            self.send_later()

    # -- what is sent

    def send_later(self) -> None:
        """Send once whoever writes has written: several frames in one go."""
        if not self._will_send:
            self._will_send = True
            self.loop.call_soon(self._send_now)

    def _send_now(self) -> None:
        self._will_send = False
        if not self.is_over:
            self._send()

    def _send(self) -> None:
        """Send frames of all streams in turns, until a window or the connection is full."""
        goes_on = True
        while goes_on and not self.is_stuck and not self.is_over:
            goes_on = False
            for stream in list(self._sending):
                goes_on |= self._send_piece(stream)
            self._flush()

    def _send_piece(self, stream: Sending) -> bool:
        """Send one frame of a stream; False: it has none, or may not."""
        number, connection = stream.number, self._h2
        if not stream.pieces:
            del self._sending[stream]
            if stream.is_whole:
                if stream.trailers:
                    connection.send_headers(number, stream.trailers, end_stream=True)
                else:
                    connection.end_stream(number)
                self._ended(stream)
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
        is_last = stream.is_whole and not stream.pieces and not stream.trailers
        connection.send_data(number, piece.tobytes(), end_stream=is_last)
        # Windows are opened for what is sent.
        self._control.spend(-limits.CONTROL_BYTES_BACK, self.loop.time())
        self._progressed()
        stream.sent(len(piece))
        if is_last:
            self._sending.pop(stream, None)
            self._ended(stream)
        return True

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self.transport.write(data)

    # -- ends

    def end(self, code: ErrorCodes | int) -> None:
        """End the connection, and say why."""
        self._h2.close_connection(code)
        self.hang_up()

    def hang_up(self) -> None:
        """End it, once what is to be sent is sent."""
        self.is_over = True
        self._flush()
        self._lose_all()
        self.transport.close()


class Window:
    """What the other side may send of one body: more, once somebody has taken some."""

    __slots__ = ("_size", "is_held", "unacknowledged")

    def __init__(self) -> None:
        self._size = limits.STREAM_WINDOW_BYTES
        #: Bytes that it does not know to have been taken.
        self.unacknowledged = 0
        #: Whether nobody takes any just now.
        self.is_held = False

    def due(self) -> int:
        """By how much to open it now; 0: not at all."""
        if self.is_held or self.unacknowledged < self._size // 2:
            return 0
        size = self.unacknowledged + limits.STREAM_WINDOW_BYTES_TAKEN - self._size
        self.unacknowledged, self._size = 0, limits.STREAM_WINDOW_BYTES_TAKEN
        return size
