"""What is sent as the socket takes it, and what becomes of descriptors that never go."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from volantd.runtime.messages.outgoing import Outgoing

#: More than a socket takes at once.
MANY = 4 << 20


class Pair:
    """A connection of which one end sends as `Outgoing` does, and the other is read here."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.losses = 0
        self.outgoing = Outgoing(self.ours, asyncio.get_running_loop(), self._on_lost)

    def _on_lost(self) -> None:
        self.losses += 1
        self.outgoing.drop()

    def close(self) -> None:
        self.outgoing.drop()
        self.ours.close()
        self.theirs.close()

    async def read(self, size: int) -> bytes:
        self.theirs.setblocking(False)
        loop, data = asyncio.get_running_loop(), b""
        while len(data) < size:
            data += await loop.sock_recv(self.theirs, 1 << 20)
        return data


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_messages_go_in_order_however_little_the_socket_takes() -> None:
    async def main() -> None:
        pair = Pair()
        messages = [b"a" * MANY, b"b", b"c" * MANY]
        for message in messages:
            pair.outgoing.send(message, [])
        assert await pair.read(sum(map(len, messages))) == b"".join(messages)
        pair.close()

    asyncio.run(main())


def test_descriptors_go_with_their_message_and_are_closed_here() -> None:
    async def main() -> None:
        pair = Pair()
        end, other = os.pipe()
        pair.outgoing.send(b"here", [other])
        assert not _is_open(other)
        data, fds, _, _ = socket.recv_fds(pair.theirs, 16, 4)
        assert (data, len(fds)) == (b"here", 1)
        os.write(fds[0], b"through")
        assert os.read(end, 16) == b"through"
        for fd in (end, *fds):
            os.close(fd)
        pair.close()

    asyncio.run(main())


@pytest.mark.parametrize("is_dropped_first", [True, False])
def test_descriptors_that_never_go_are_closed(*, is_dropped_first: bool) -> None:
    async def main() -> None:
        pair = Pair()
        end, other = os.pipe()
        if is_dropped_first:
            pair.outgoing.drop()
        pair.outgoing.send(b"a" * MANY, [])
        pair.outgoing.send(b"b", [other])
        pair.outgoing.drop()
        assert not _is_open(other)
        os.close(end)
        pair.close()

    asyncio.run(main())


def test_its_owner_hears_once_that_nobody_is_there() -> None:
    async def main() -> None:
        pair = Pair()
        pair.theirs.close()
        pair.outgoing.send(b"a", [])
        pair.outgoing.send(b"b", [])
        assert pair.losses == 1
        pair.close()

    asyncio.run(main())
