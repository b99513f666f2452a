"""A connected unix socket as a stream of frames and descriptors.

Descriptors arrive beside the bytes they were sent with; a frame with `HAS_FD` owns the next
one in order. A stream never interprets a frame. It is not thread safe: its owner sees to it
that one thread reads and one writes.
"""

from __future__ import annotations

import errno
import os
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    SCM_RIGHTS,
    SOL_SOCKET,
)
from array import array
from collections import deque

from volant.wire.frames import READ_BYTES, FrameReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

#: Descriptors taken in one read; the kernel drops (closes) those beyond.
FDS_PER_READ_MAX = 32
#: Descriptors that may wait for their frame: one does at a time, unless the peer means harm.
FDS_WAITING_MAX = 64
_ANCILLARY_BYTES = CMSG_SPACE(FDS_PER_READ_MAX * 4)


class FrameStream:
    """Frames over a connected socket, which it owns."""

    __slots__ = ("_buffer", "fds", "reader", "sock")

    def __init__(self, sock: _socket.socket, buffer: bytearray | None = None) -> None:
        """Take over a socket.

        Args:
            buffer: what reads go through; streams of one thread may share it. A fresh block of
                this size for every read would cost more than the read itself.
        """
        self.sock = sock
        self._buffer = memoryview(buffer if buffer is not None else bytearray(READ_BYTES))
        self.reader = FrameReader()
        self.fds: deque[int] = deque()

    def receive(self, flags: int = 0) -> list[tuple[int, int, bytes]] | None:
        """Read once and return the frames completed by it, None at the end of the stream.

        Raises:
            BlockingIOError: with `MSG_DONTWAIT` when nothing is there.
            OSError: when descriptors got lost because this process may open no more.
            ValueError: when the peer breaks the framing.
        """
        size, ancillary, answer, _ = self.sock.recvmsg_into(
            [self._buffer], _ANCILLARY_BYTES, flags | MSG_CMSG_CLOEXEC
        )
        if ancillary:
            for level, kind, raw in ancillary:
                if level == SOL_SOCKET and kind == SCM_RIGHTS:
                    received = array("i")
                    received.frombytes(raw[: len(raw) - len(raw) % received.itemsize])
                    self.fds.extend(received)
            if len(self.fds) > FDS_WAITING_MAX:
                raise ValueError(f"{len(self.fds)} file descriptors that belong to no frame")
        if answer & MSG_CTRUNC:  # those that follow would be taken for those that are lost
            raise OSError(errno.EMFILE, "file descriptors of a frame were lost")
        if not size:
            return None
        return self.reader.feed(bytes(self._buffer[:size]))

    def receive_nowait(self) -> list[tuple[int, int, bytes]] | None:
        """`receive` that returns an empty list when nothing is there."""
        try:
            return self.receive(MSG_DONTWAIT)
        except BlockingIOError:
            return []

    def take_fd(self) -> int:
        """The descriptor that belongs to the frame being handled.

        Raises:
            ValueError: when the peer announced one and sent none.
        """
        if not self.fds:
            raise ValueError("a frame announced a file descriptor that did not come")
        return self.fds.popleft()

    def send(self, frame: bytes, fd: int | None = None) -> None:
        """Send one frame whole, blocking."""
        if fd is None:
            self.sock.sendall(frame)
            return
        sent = self.sock.sendmsg([frame], [(SOL_SOCKET, SCM_RIGHTS, array("i", [fd]))])
        if sent < len(frame):
            self.sock.sendall(memoryview(frame)[sent:])

    def close(self) -> None:
        """Close the socket and the descriptors nobody took."""
        while self.fds:
            os.close(self.fds.popleft())
        self.sock.close()
