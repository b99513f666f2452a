"""One connection of the hub: frames in by callback, frames out in coalesced writes.

A peer never blocks. What it is asked to send is queued and goes out when the current event has
been handled (`Outgoing.flush`), so that many small frames share one system call.
"""

from __future__ import annotations

import logging
import os
from _socket import SCM_RIGHTS, SOL_SOCKET
from array import array
from collections import deque
from typing import TYPE_CHECKING, Protocol

from volant.wire.frames import READ_BYTES
from volant.wire.stream import FrameStream

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: Bytes queued for a peer that does not read, beyond which it is taken for dead.
QUEUED_BYTES_MAX = 512 << 20
#: Reads that see all that fits into the buffer of a socket.
DRAIN_READS_MAX = 64
#: Of what was wrong with a stranger's frame, what the log keeps.
ERROR_CHARS_MAX = 500


class FrameHandler(Protocol):
    """Who a peer's frames are for."""

    def on_frame(self, kind: int, flags: int, body: bytes) -> None:
        """Take one frame; raises ValueError when it makes no sense."""

    def on_drained(self) -> None:
        """What was queued for it is sent."""

    def on_closed(self) -> None:
        """The connection is gone; comes once."""


class Outgoing:
    """The peers that have something to send, flushed together."""

    def __init__(self) -> None:
        self._dirty: list[Peer] = []
        #: What all peers read through: one at a time, on the hub's one thread.
        self.buffer = bytearray(READ_BYTES)

    def mark(self, peer: Peer) -> None:
        """Note that a peer has something to send."""
        self._dirty.append(peer)

    def flush(self) -> None:
        """Send what is queued."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for peer in dirty:
                peer.flush()


class Peer:
    """A connected socket, owned by this object."""

    __slots__ = (
        "_after_events",
        "_handler",
        "_loop",
        "_outgoing",
        "_queue",
        "_writing",
        "broke_protocol",
        "closed",
        "fd",
        "overflown",
        "paused",
        "queued_bytes",
        "reads",
        "stream",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        outgoing: Outgoing,
        after_events: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self.stream = FrameStream(sock, outgoing.buffer)
        self.fd = sock.fileno()
        self.closed = False
        #: Whether what it sent was the reason to close the connection.
        self.broke_protocol = False
        #: Whether it did not read for so long that it is about to be closed.
        self.overflown = False
        #: Whether it is not read from, because it has handed in too much.
        self.paused = False
        #: How often something was read from it.
        self.reads = 0
        self._loop = loop
        self._outgoing = outgoing
        self._after_events = after_events
        self._handler: FrameHandler | None = None
        self._queue: deque[tuple[bytes | memoryview, int | None]] = deque()
        self.queued_bytes = 0
        self._writing = False

    def serve(self, handler: FrameHandler) -> None:
        """Hand the frames that arrive to `handler`."""
        self._handler = handler
        self._loop.add_reader(self.fd, self._on_readable)

    # -- reading

    def pause(self) -> None:
        """Read no more from it, beyond what was read already; what it goes on to send waits."""
        if not self.paused and not self.closed:
            self.paused = True
            self._loop.remove_reader(self.fd)

    def resume(self) -> None:
        """Read from it again."""
        if self.paused and not self.closed:
            self.paused = False
            self._loop.add_reader(self.fd, self._on_readable)

    def _on_readable(self) -> None:
        self._read_once()
        self._after_events()

    def drain(self) -> None:
        """Handle everything that the other end has sent; for one that is dead already."""
        for _ in range(DRAIN_READS_MAX):  # what it left behind may hold the connection and go on
            if self.closed or not self._read_once():
                return

    def _read_once(self) -> bool:
        """Handle what one read brings; False when there was nothing to read."""
        handler = self._handler
        assert handler is not None
        try:
            received = self.stream.receive()
            if received is None:
                self.close()
                return False
            self.reads += 1
            for kind, flags, body in received:
                if self.closed:
                    break
                handler.on_frame(kind, flags, body)
        except BlockingIOError:
            return False
        except OSError as error:
            if not isinstance(error, ConnectionError):
                log.warning("peer_lost", extra={"fields": {"error": str(error)}})
            self.close()
        except Exception as error:
            # Whatever strangers send must end their own connection and nothing else.
            expected = isinstance(error, (ValueError, KeyError, TypeError))
            level = logging.WARNING if expected else logging.ERROR
            fields = {"error": str(error)[:ERROR_CHARS_MAX]}
            log.log(level, "peer_broke_protocol", extra={"fields": fields}, exc_info=True)
            self.broke_protocol = True
            self.close()
        return True

    # -- writing

    def write(self, frame: bytes, fd: int | None = None) -> None:
        """Queue a frame; takes ownership of `fd`."""
        if self.closed or self.overflown:
            if fd is not None:
                os.close(fd)
            return
        if not self._queue and not self._writing:
            self._outgoing.mark(self)
        self._queue.append((frame, fd))
        self.queued_bytes += len(frame)
        if self.queued_bytes > QUEUED_BYTES_MAX:
            log.warning("peer_does_not_read", extra={"fields": {"bytes": self.queued_bytes}})
            self.overflown = True
            self._drop_queue()
            # Not here: whoever writes is in the middle of something that the end would change.
            self._loop.call_soon(self._close_overflown)

    def _close_overflown(self) -> None:
        self.close()
        self._after_events()

    def flush(self) -> None:
        """Send as much as the socket takes."""
        if self.closed or self.overflown:
            return
        try:
            while self._queue:
                if not self._send_some():
                    break
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._queue and not self._writing:
            self._writing = True
            self._loop.add_writer(self.fd, self._on_writable)
        elif not self._queue and self._handler is not None:
            self._handler.on_drained()

    def _send_some(self) -> bool:
        """One system call; False when the socket is full."""
        queue = self._queue
        frame, fd = queue[0]
        if fd is not None:
            rights = [(SOL_SOCKET, SCM_RIGHTS, array("i", [fd]))]
            sent = self.stream.sock.sendmsg([frame], rights)
            os.close(fd)
            queue[0] = (frame, None)
        elif len(queue) == 1 or len(frame) > _JOIN_BYTES:
            sent = self.stream.sock.send(frame)
        else:
            return self._send_joined()
        self.queued_bytes -= sent
        if sent == len(frame):
            queue.popleft()
            return True
        queue[0] = (memoryview(frame)[sent:], None)
        return False

    def _send_joined(self) -> bool:
        """Send the small frames at the head of the queue together."""
        queue = self._queue
        parts: list[bytes | memoryview] = []
        size = 0
        while queue and queue[0][1] is None and size < _JOIN_BYTES:
            part = queue.popleft()[0]
            parts.append(part)
            size += len(part)
        joined = b"".join(parts)
        try:
            sent = self.stream.sock.send(joined)
        except BlockingIOError:
            queue.appendleft((joined, None))
            return False
        self.queued_bytes -= sent
        if sent < size:
            queue.appendleft((memoryview(joined)[sent:], None))
            return False
        return True

    def _on_writable(self) -> None:
        self._loop.remove_writer(self.fd)
        self._writing = False
        self.flush()
        self._after_events()

    # -- the end

    def close(self) -> None:
        """Close the connection; its handler hears of it once."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self.fd)
        if self._writing:
            self._loop.remove_writer(self.fd)
        self._drop_queue()
        self.stream.close()
        if self._handler is not None:
            self._handler.on_closed()

    def _drop_queue(self) -> None:
        while self._queue:
            _, fd = self._queue.popleft()
            if fd is not None:
                os.close(fd)


#: Frames are joined into one write up to about this size.
_JOIN_BYTES = 256 << 10
