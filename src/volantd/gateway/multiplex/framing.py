"""Frames as a client sends them, looked at ahead of h2: their sizes, and what they cost. Pure.

h2 keeps a frame until it is there as a whole, and looks at its size only then.
"""

from __future__ import annotations

from h2.exceptions import FrameTooLargeError

#: Bytes of a frame's head, and of its body where no setting allows more.
HEAD_BYTES = 9
FRAME_BYTES_MAX = 1 << 14
#: The kind of frames that are parts of bodies, and their flag for bytes that mean nothing.
_DATA, _PADDED = 0, 8


class FrameGate:
    """Where the next frame begins."""

    __slots__ = ("_head", "_left")

    def __init__(self, ahead: int) -> None:
        """`ahead`: bytes in front of the first frame."""
        self._left = ahead
        self._head = b""

    def feed(self, data: bytes) -> int:
        """Bytes of frames that begin here and are no part of a body.

        Raises:
            FrameTooLargeError: for one that must not be that large.
        """
        at, size, cost = self._left, len(data), 0
        while at < size:
            head = self._head + data[at : at + HEAD_BYTES - len(self._head)]
            at += len(head) - len(self._head)
            if len(head) < HEAD_BYTES:
                self._head = head
                break
            self._head = b""
            length = int.from_bytes(head[:3], "big")
            if length > FRAME_BYTES_MAX:
                raise FrameTooLargeError("a frame is larger than was agreed on")
            if head[3] != _DATA or head[4] & _PADDED or not length:
                cost += HEAD_BYTES + length
            at += length
        self._left = at - size
        return cost
