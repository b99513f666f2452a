"""The express lane: small results straight from a container to its client.

    client ──SUBMIT──► hub ──INPUT──► container ──RESULT, express──► client
                        ◄──OUTCOME, "delivered"──┘

The result of a single call that is small and a success needs no decision of the hub, so it need
not wait for the hub to be woken, to keep its books and to send. The hub says with each input
whether its result may come this way: one of a map may not, for its client counts what the hub
brings. The container writes one datagram to a socket whose other end the client made, with all
results that it has by then; when there is no room, or a result is anything but plain, it goes
through the hub as ever. An app whose output is shown has no lane: what it printed comes through
the hub, and must be there first.

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
_HEAD_BYTES = frames.HEADER.size + frames.HOT.size
#: A result without a payload: header and head of its frame, and the head of its one item.
_RESULT_BYTES_MIN = _HEAD_BYTES + 4
#: The longest datagram: a token, and a result of the largest size or more of less.
_DATAGRAM_BYTES_MAX = _TOKEN_BYTES + _HEAD_BYTES + frames.EXPRESS_BYTES_MAX


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

    def receive(self) -> list[tuple[int, tuple[int, int, int, int], bytes]]:
        """The results of one datagram, each as number of the function, head and items.

        Empty when nothing sensible came: whoever wrote it is user code.
        """
        try:
            data = self._sock.recv(_DATAGRAM_BYTES_MAX, MSG_DONTWAIT)
        except BlockingIOError:
            return []
        function = self._tokens.function(data[:_TOKEN_BYTES])
        if function is None:
            return []
        results: list[tuple[int, tuple[int, int, int, int], bytes]] = []
        at, end = _TOKEN_BYTES, len(data)
        while end - at >= _RESULT_BYTES_MIN:
            length, kind, flags = frames.HEADER.unpack_from(data, at)
            head = frames.HOT.unpack_from(data, at + frames.HEADER.size)
            begin, at = at + _HEAD_BYTES, at + frames.HEADER.size + length
            section = data[begin:at]
            if kind != frames.RESULT or flags or len(section) < 4:
                return []
            try:
                frames.check_items(section, head[2])
            except ValueError:
                return []
            results.append((function, head, section))
        return results if at == end else []

    def close(self) -> None:
        """Close this end."""
        self.watch.close()
        self._sock.close()


def open_express_lane(hub_fd: int, tokens: Tokens) -> tuple[ExpressLane, socket]:
    """A lane beside the connection `hub_fd`, and the end that containers write to."""
    ours, theirs = socketpair(AF_UNIX, SOCK_DGRAM)
    return ExpressLane(ours, hub_fd, tokens), theirs
