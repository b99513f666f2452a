"""The express lane: small results straight from a container to its client.

    client ──SUBMIT──► hub ──INPUT──► container ──RESULT, express──► client
                        ◄──OUTCOME, "delivered"──┘

The result of a single call that is small and a success needs no decision of the hub, so it need
not wait for the hub to be woken, to keep its books and to send. The hub says with each input
whether its result may come this way: one of a map may not, for its client counts what the hub
brings. The container writes one datagram to a socket
whose other end the client made; when there is no room, or the result is anything but plain, it
goes through the hub as ever. An app whose output is shown has no lane: what it printed comes
through the hub, and must be there before the result.
"""

from __future__ import annotations

import select
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, socketpair

from volant.wire import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

#: A whole frame: its header, its head, and a result with its own head.
_FRAME_BYTES_MAX = frames.HEADER.size + frames.HOT.size + 4 + frames.EXPRESS_BYTES_MAX
_SECTION_AT = frames.HEADER.size + frames.HOT.size
_FRAME_BYTES_MIN = frames.HEADER.size + frames.HOT.size + 4


class ExpressLane:
    """The client's end, and what watches it together with the connection to the hub."""

    __slots__ = ("_sock", "fd", "watch")

    def __init__(self, sock: socket, hub_fd: int) -> None:
        self._sock = sock
        self.fd = sock.fileno()
        self.watch = select.epoll()
        self.watch.register(hub_fd, select.EPOLLIN)
        self.watch.register(self.fd, select.EPOLLIN)

    def receive(self) -> bytes | None:
        """One RESULT frame, None when nothing (or nothing sensible) is there."""
        try:
            frame = self._sock.recv(_FRAME_BYTES_MAX, MSG_DONTWAIT)
        except BlockingIOError:
            return None
        if len(frame) < _FRAME_BYTES_MIN or frame[4] != frames.RESULT or frame[5]:
            return None
        count = frames.HOT.unpack_from(frame, frames.HEADER.size)[2]
        try:  # whoever wrote it is user code
            frames.check_items(frame[_SECTION_AT:], count)
        except ValueError:
            return None
        return frame

    def close(self) -> None:
        """Close this end."""
        self.watch.close()
        self._sock.close()


def open_express_lane(hub_fd: int) -> tuple[ExpressLane, socket]:
    """A lane beside the connection `hub_fd`, and the end that containers write to."""
    ours, theirs = socketpair(AF_UNIX, SOCK_DGRAM)
    return ExpressLane(ours, hub_fd), theirs
