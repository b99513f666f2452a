"""A connection to the server in a container: what it answers, relayed to the client.

It is user code, and may be hostile: what it sends is checked before the client hears of it, and a
connection that says more than it was asked serves nobody again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, TypeVar, cast

from volantd.gateway import heads, limits
from volantd.gateway.bodies import bulk
from volantd.gateway.bodies.bulk import Bulk, Pipe
from volantd.gateway.bodies.chunks import Chunks
from volantd.gateway.heads import CHUNKED, UNTIL_END, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.gateway.front import Front
    from volantd.gateway.multiplex.upstream import Upstreams

Made = TypeVar("Made", bound=asyncio.Protocol)

IDLE, HEAD, LENGTH, CHUNKS, END, TUNNEL = range(6)


class Backs:
    """Connections to containers that wait for a request, by the address of their server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        #: The ones used last at the end.
        self._idle: dict[str, list[Back]] = {}
        self._upstreams: Upstreams | None = None
        self._pipe: Pipe | None = None
        #: Clients that hold pages of a container, by its address, until their connection ends.
        self._holders: dict[str, set[Front]] = {}

    @property
    def pipe(self) -> Pipe:
        """The one of this process, made when it is first needed.

        Raises:
            OSError: when there are no descriptors left.
        """
        if self._pipe is None:
            self._pipe = Pipe()
        return self._pipe

    def may_hold(self, front: Front, address: str) -> bool:
        """Whether a client may be passed pages of a container; it then counts until it leaves."""
        holders = self._holders.setdefault(address, set())
        if front not in holders:
            if front.holds or len(holders) >= limits.BULK_CLIENTS_MAX:
                return False
            holders.add(front)
            front.holds = address
        return True

    def left(self, front: Front) -> None:
        """A client has left that held pages."""
        holders = self._holders[front.holds]
        holders.remove(front)
        if not holders:
            del self._holders[front.holds]

    def take(self, address: str) -> Back | None:
        """A connection that is there, if any."""
        idle = self._idle.get(address)
        if not idle:
            return None
        back = idle.pop()
        if not idle:
            del self._idle[address]
        return back

    def keep(self, back: Back) -> None:
        """Take a connection back whose response has ended."""
        idle = self._idle.setdefault(back.address, [])
        if len(idle) >= limits.BACK_IDLE_MAX:
            back.close()
            if not idle:
                del self._idle[back.address]
            return
        back.idle_since = self.loop.time()
        idle.append(back)

    def drop(self, back: Back) -> None:
        """A connection is gone."""
        idle = self._idle.get(back.address)
        if idle is not None and back in idle:
            idle.remove(back)
            if not idle:
                del self._idle[back.address]

    def sweep(self, now: float) -> None:
        """Close what was not needed for long."""
        for idle in list(self._idle.values()):
            while idle and now - idle[0].idle_since > limits.BACK_IDLE_S:
                idle.pop(0).close()
        self._idle = {address: idle for address, idle in self._idle.items() if idle}
        if self._upstreams is not None:
            self._upstreams.sweep()

    async def connect(self, address: str, *, multiplexed: bool = False) -> Back:
        """A new connection; or a part of one, to a server that speaks HTTP/2.

        Raises:
            OSError: when nobody listens there.
        """
        if multiplexed:
            return await self._connect_stream(address)
        return await self._connect(address, lambda: Back(self, address))

    async def _connect_stream(self, address: str) -> Back:
        # Imported with the first such server: it costs 30 ms, and most gateways have none.
        from volantd.gateway.multiplex.upstream import Request, Upstream, Upstreams

        if self._upstreams is None:
            self._upstreams = Upstreams()
        upstream = self._upstreams.find(address)
        if upstream is None:
            upstream = await self._connect(address, lambda: Upstream(self.loop))
            self._upstreams.add(address, upstream)
        back = Back(self, address)
        Request(upstream, back)
        return back

    async def _connect(self, address: str, make: Callable[[], Made]) -> Made:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.BACK_BUFFER_BYTES)
        try:
            directory = os.open(os.path.dirname(address), os.O_PATH | os.O_DIRECTORY)
            try:  # a socket's address holds 107 bytes; this way a long path fits
                sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(address)}")
            finally:
                os.close(directory)
            made = await self.loop.create_unix_connection(make, sock=sock)
        except OSError:
            sock.close()
            raise
        return made[1]


class Back(asyncio.Protocol):
    """One connection to a container's server."""

    __slots__ = (
        "_backs", "_bulk", "_chunks", "_interim", "_keep", "_left", "_rest", "_state", "address",
        "front", "idle_since", "loop", "reused", "transport",
    )  # fmt: skip

    def __init__(self, backs: Backs, address: str) -> None:
        self._backs = backs
        self.loop = backs.loop
        self.address = address
        self.transport: asyncio.Transport
        #: Whose request it has.
        self.front: Front | None = None
        self.idle_since = 0.0
        #: Whether it has had a response before.
        self.reused = False
        self._state = IDLE
        self._left = 0
        self._keep = False
        self._interim = 0
        self._rest = b""
        self._chunks: Chunks | None = None
        #: What passes the body on while this is not read from.
        self._bulk: Bulk | None = None

    # -- for the front

    def send(self, front: Front, data: bytes) -> None:
        """Send a request's head, with as much of its body as is there."""
        self.front = front
        self._state = HEAD
        self._interim = 0
        self.transport.write(data)

    def close(self) -> None:
        """End the connection; its server sees that nobody waits any more."""
        self.front = None
        if self._bulk is not None:
            self._bulk.close()
            self._bulk = None
        self.transport.abort()

    def hold(self) -> None:
        """Read no more from the container: its client does not take it."""
        if self._bulk is not None:
            self._bulk.hold()
        else:
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read from the container again."""
        if self._bulk is not None:
            self._bulk.go_on()
        else:
            self.transport.resume_reading()

    # -- of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self.transport.set_write_buffer_limits(high=limits.WRITE_BYTES_HIGH)

    def pause_writing(self) -> None:
        if self.front is not None:
            self.front.hold_reading()

    def resume_writing(self) -> None:
        if self.front is not None:
            self.front.go_on_reading()

    def connection_lost(self, error: Exception | None) -> None:
        front, self.front = self.front, None
        if self._bulk is not None:
            self._bulk.close()
            self._bulk = None
        if front is None:
            self._backs.drop(self)
        elif self._state == END and error is None:
            front.responded(ended=True)
        elif self._state == TUNNEL:
            front.tunnel_ended()
        else:
            front.lost(self, began=self._state != HEAD or self._interim > 0)

    def data_received(self, data: bytes) -> None:
        state, front = self._state, self.front
        if front is None:
            self.transport.abort()  # an answer that nobody asked for
        elif state == LENGTH:
            self._on_length(front, data)
        elif state == HEAD:
            self._on_head(front, self._rest + data if self._rest else data)
        elif state == CHUNKS:
            self._on_chunks(front, data)
        else:
            front.relay(data)

    def _on_length(self, front: Front, data: bytes) -> None:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            front.relay(data)
            if left >= limits.BULK_BYTES_MIN:
                self._begin_bulk(front, left)
            return
        if left < 0:
            self._keep = False
            data = data[:left]
        front.relay(data)
        self._end(front)

    def _on_chunks(self, front: Front, data: bytes) -> None:
        chunks = self._chunks
        assert chunks is not None
        bare: list[bytes] | None = [] if front.without_chunks else None
        try:
            size = chunks.feed(data, bare)
        except RefusedError as error:
            front.cut_off(error.text)
            return
        if size < len(data):
            self._keep = False
            data = data[:size]
        front.relay(data if bare is None else b"".join(bare))
        if chunks.is_done:
            self._end(front)
        elif chunks.left >= limits.BULK_BYTES_MIN:
            self._begin_bulk(front, chunks.left)

    def _on_head(self, front: Front, data: bytes) -> None:
        try:
            head = heads.read_response(data, front.method)
        except RefusedError as error:
            front.fail(502, error.text)
            return
        if head is None:
            self._rest = data
            return
        self._rest = b""
        if head.status < 200:
            self._on_interim(front, head, data)
            return
        self._keep = head.keep_alive
        length, end = head.length, head.end
        if length == CHUNKED:
            self._state, self._chunks = CHUNKS, Chunks(of_request=False)
        elif length == UNTIL_END:
            self._state = END
        else:
            self._state, self._left = LENGTH, length
        had = len(data) - end
        if length >= 0 and had >= length:
            if had > length:
                self._keep = False
            front.respond(head, data[end : end + length])
            self._end(front)
            return
        if length == CHUNKED:
            front.respond(head, b"")
            if had:
                self._on_chunks(front, data[end:])
            return
        self._left = length - had
        front.respond(head, data[end:])

    def _on_interim(self, front: Front, head: heads.ResponseHead, data: bytes) -> None:
        if head.status == 101:
            if not front.upgrade:
                front.fail(502, "the container's server changed to a protocol nobody asked for")
                return
            self._state = TUNNEL
            front.respond(head, data[head.end :])
            front.tunnel()
            return
        self._interim += 1
        if self._interim > limits.INTERIM_MAX:
            front.fail(502, "the container's server does not come to an answer")
            return
        front.relay_interim(head.raw + b"\r\n")
        if len(data) > head.end:
            self._on_head(front, data[head.end :])

    def _begin_bulk(self, front: Front, left: int) -> None:
        """Have the kernel pass on so many bytes of data, if it can."""
        if not bulk.is_possible(front) or not self._backs.may_hold(front, self.address):
            return
        try:
            self._bulk = Bulk(self, front, self._backs.pipe, left, self._chunks)
        except OSError:
            return  # for want of descriptors: then by way of this process
        self.transport.pause_reading()
        if not front.is_stuck:
            self._bulk.go_on()

    def end_bulk(self) -> None:
        """What comes next is read here, if anything does."""
        assert self._bulk is not None
        assert self.front is not None
        left, self._bulk = self._bulk.close(), None
        if self._chunks is None:
            self._left = left
            is_over = not left
        else:
            is_over = self._chunks.is_done
        if not self.front.is_stuck:
            self.transport.resume_reading()
        if is_over:
            self._end(self.front)

    def has_said_too_much(self) -> None:
        """It has sent more than it was asked for: it serves nobody again."""
        self._keep = False

    def _end(self, front: Front) -> None:
        """The response is over."""
        if front.is_stuck:  # by its end, which is nothing that the next request has to wait for
            self.transport.resume_reading()
        self.front = None
        self._state, self._chunks = IDLE, None
        self.reused = True
        if self._keep and front.has_sent_all and not self.transport.is_closing():
            self._backs.keep(self)
        else:
            self.transport.close()
        front.responded()
