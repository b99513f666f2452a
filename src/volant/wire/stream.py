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

from volant.wire import values
from volant.wire.frames import EVENT, READ_BYTES, FrameReader, control

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

#: Descriptors taken in one read; the kernel drops (closes) those beyond.
FDS_PER_READ_MAX = 32
#: Descriptors that may wait for their frame: one does at a time, unless the peer means harm.
FDS_WAITING_MAX = 64
_ANCILLARY_BYTES = CMSG_SPACE(FDS_PER_READ_MAX * 4)


class LentFd(int):
    """A descriptor that came over a stream, and where to tell that its file is let go of."""

    releases: deque[tuple[int, bool]]


class FrameStream:
    """Frames over a connected socket, which it owns."""

    __slots__ = ("_buffer", "fds", "reader", "releases", "sock")

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
        #: Tokens of files that came over this stream and are mapped no more, and whether their
        #: owner may use them again. Finalizers append; the next `send` takes them along.
        self.releases: deque[tuple[int, bool]] = deque()

    def receive(self, flags: int = 0) -> list[tuple[int, int, bytes]] | None:
        """Read once and return the frames completed by it, None at the end of the stream.

        Raises:
            BlockingIOError: with `MSG_DONTWAIT` when nothing is there.
            OSError: when descriptors got lost because this process may open no more.
            ValueError: when the peer breaks the framing.
        """
        try:
            size, ancillary, answer, _ = self.sock.recvmsg_into(
                [self._buffer], _ANCILLARY_BYTES, flags | MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None  # the peer has gone, and has not read all that we sent
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
        fd = LentFd(self.fds.popleft())
        fd.releases = self.releases
        return fd

    def send(self, frame: bytes, fd: int | None = None) -> None:
        """Send one frame whole, blocking."""
        if self.releases:
            frame = self._take_releases() + frame
        if fd is None:
            self.sock.sendall(frame)
            return
        sent = self.sock.sendmsg([frame], [(SOL_SOCKET, SCM_RIGHTS, array("i", [fd]))])
        if sent < len(frame):
            self.sock.sendall(memoryview(frame)[sent:])

    def send_releases(self) -> None:
        """Tell of the files that were let go of, if any."""
        if self.releases:
            self.sock.sendall(self._take_releases())

    def _take_releases(self) -> bytes:
        tokens: list[values.Value] = []
        lost: list[values.Value] = []
        while self.releases:
            token, reusable = self.releases.popleft()
            (tokens if reusable else lost).append(token)
        event: dict[str, values.Value] = {"op": "released", "tokens": tokens, "lost": lost}
        return control(EVENT, values.encode(event))

    def close(self) -> None:
        """Close the socket and the descriptors nobody took."""
        while self.fds:
            os.close(self.fds.popleft())
        self.sock.close()
