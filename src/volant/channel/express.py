"""The express lane: small results straight from a container to its client.

    client ──SUBMIT──► hub ──INPUT──► container ──RESULT, express──► client
                        ◄──OUTCOME, "delivered"──┘

The result of a single call that is small and a success needs no decision of the hub, so it need
not wait for the hub to be woken, to keep its books and to send. The hub says with each input
whether its result may come this way: one of a map may not, for its client counts what the hub
brings. The container writes one datagram to a socket whose other end the client made; when there
is no room, or the result is anything but plain, it goes through the hub as ever. An app whose
output is shown has no lane: what it printed comes through the hub, and must be there first.

One lane serves all containers of a client. Each function has a token, which only its own
containers are told, so that no function can answer a call of another.
"""

from __future__ import annotations

import os
import select
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, socketpair

from volant.wire import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

_TOKEN_BYTES = frames.EXPRESS_TOKEN_BYTES
_HEAD_BYTES = _TOKEN_BYTES + frames.HEADER.size + frames.HOT.size
#: A whole datagram: token, header and head of a frame, and a result with its own head.
_DATAGRAM_BYTES_MAX = _HEAD_BYTES + 4 + frames.EXPRESS_BYTES_MAX
_DATAGRAM_BYTES_MIN = _HEAD_BYTES + 4


#: Numbers below belong to the functions that a container's connection knows from the start.
FUNCTION_NUMBER_FIRST = 1 << 16


class Tokens:
    """The numbers that functions have on a client's connection, and their tokens."""

    __slots__ = ("_next", "_numbers")

    def __init__(self) -> None:
        self._next = FUNCTION_NUMBER_FIRST
        self._numbers: dict[bytes, int] = {}

    def next_functions(self, count: int) -> int:
        """The first of `count` numbers that no function of this connection had before.

        Raises:
            ResourceExhaustedError: when there are no more.
        """
        first = self._next
        if first + count > frames.FUNCTION_MASK:
            from volant.errors import ResourceExhaustedError

            raise ResourceExhaustedError(
                f"this process has used {first} functions, which is the most",
                hint="run further apps in another process",
            )
        self._next += count
        return first

    def make(self, first: int, count: int) -> bytes:
        """Fresh tokens for `count` functions, numbered from `first` on, one behind the other."""
        tokens = os.urandom(_TOKEN_BYTES * count)
        for index in range(count):
            token = tokens[_TOKEN_BYTES * index : _TOKEN_BYTES * (index + 1)]
            self._numbers[token] = first + index
        return tokens

    def forget(self, tokens: bytes) -> None:
        """Drop what `make` returned."""
        for at in range(0, len(tokens), _TOKEN_BYTES):
            self._numbers.pop(tokens[at : at + _TOKEN_BYTES], None)

    def function(self, token: bytes) -> int | None:
        """The number of the function that has this token."""
        return self._numbers.get(token)


class ExpressLane:
    """The client's end, and what watches it together with the connection to the hub."""

    __slots__ = ("_sock", "_tokens", "fd", "watch")

    def __init__(self, sock: socket, hub_fd: int, tokens: Tokens) -> None:
        self._sock = sock
        self._tokens = tokens
        self.fd = sock.fileno()
        self.watch = select.epoll()
        self.watch.register(hub_fd, select.EPOLLIN)
        self.watch.register(self.fd, select.EPOLLIN)

    def receive(self) -> tuple[int, tuple[int, int, int, int], bytes] | None:
        """One result: number of the function, head and items; None when nothing sensible came."""
        try:
            data = self._sock.recv(_DATAGRAM_BYTES_MAX, MSG_DONTWAIT)
        except BlockingIOError:
            return None
        if len(data) < _DATAGRAM_BYTES_MIN:
            return None
        function = self._tokens.function(data[:_TOKEN_BYTES])
        _, kind, flags = frames.HEADER.unpack_from(data, _TOKEN_BYTES)
        if function is None or kind != frames.RESULT or flags:
            return None
        head = frames.HOT.unpack_from(data, _TOKEN_BYTES + frames.HEADER.size)
        section = data[_HEAD_BYTES:]
        try:  # whoever wrote it is user code
            frames.check_items(section, head[2])
        except ValueError:
            return None
        return function, head, section

    def close(self) -> None:
        """Close this end."""
        self.watch.close()
        self._sock.close()


def open_express_lane(hub_fd: int, tokens: Tokens) -> tuple[ExpressLane, socket]:
    """A lane beside the connection `hub_fd`, and the end that containers write to."""
    ours, theirs = socketpair(AF_UNIX, SOCK_DGRAM)
    return ExpressLane(ours, hub_fd, tokens), theirs
