"""A connection of a client: its requests one after another, each relayed to a container.

    head read ─► route ─► lease ─► sent on ─► response relayed ─► lease free ─► next head

Bytes that come ahead of their turn wait here, up to a limit; then the client is not read from.
No task runs for a request, unless a new connection to its container has to be made.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, cast

from volantd.gateway import answers, heads, limits
from volantd.gateway.bodies.chunks import Chunks
from volantd.gateway.heads import CHUNKED, RefusedError

if TYPE_CHECKING:
    from volantd.gateway.back import Back
    from volantd.gateway.gateway import Gateway
    from volantd.gateway.heads import RequestHead, ResponseHead
    from volantd.gateway.slots import Lease, Route

HEAD, REQUEST, TUNNEL, DRAIN, GONE = range(5)
NEVER = float("inf")
_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))


class Front(asyncio.Protocol):
    """One connection of a client."""

    __slots__ = (
        "_ahead", "_attempts", "_began", "_chunks", "_forwarded", "_gateway", "_is_paused",
        "_keep", "_label", "_lease", "_left", "_loop", "_outgoing", "_received", "_route",
        "_started", "_state", "_status", "_target", "_wait_s", "back", "due", "has_sent_all",
        "holds", "host", "is_stuck", "is_trusted", "method", "peer", "sent", "session",
        "transport", "upgrade", "without_chunks",
    )  # fmt: skip

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loop = gateway.loop
        self.transport: asyncio.Transport
        self.peer = ""
        #: Whether what it says about where a request came from counts.
        self.is_trusted = False
        #: When something is done about it that it did not do itself.
        self.due = NEVER
        self._forwarded = b""
        #: Bytes whose turn has not come.
        self._ahead = b""
        self._is_paused = False
        #: Whether it takes nothing of what it is sent.
        self.is_stuck = False
        #: The container whose pages may be on their way to it; empty if there is none.
        self.holds = ""
        self._state = HEAD
        self._clear()

    def _clear(self) -> None:
        """Nothing of a request is here."""
        self.method = b""
        self.host = b""
        #: What its container is wanted for, of a server; empty for any container.
        self.session = b""
        #: The protocol that the client would change to.
        self.upgrade = b""
        #: Whether the client of the request knows no chunks.
        self.without_chunks = False
        #: Whether the whole request was sent on.
        self.has_sent_all = True
        self.back: Back | None = None
        self._target = b""
        self._route: Route | None = None
        #: Of the route, also when that has no place for the request.
        self._label = ""
        self._lease: Lease | None = None
        #: Head and beginning of the body, until it is known that they need not be sent again.
        self._outgoing = b""
        self._attempts = 0
        self._keep = True
        #: Whether something of a response was sent.
        self._began = False
        self._left = 0
        self._chunks: Chunks | None = None
        self._started = self._wait_s = 0.0
        self._status = self._received = 0
        #: Bytes of the answer.
        self.sent = 0

    # -- of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self.transport.set_write_buffer_limits(high=limits.WRITE_BYTES_HIGH)
        self.due = self._loop.time() + limits.KEEP_ALIVE_S
        self._gateway.opened(self)

    def welcome(self, peer: str, forwarded: bytes, *, is_trusted: bool) -> None:
        """Be told who the client is, and what containers are told of it."""
        self.peer, self._forwarded, self.is_trusted = peer, forwarded, is_trusted

    @property
    def is_idle(self) -> bool:
        """Whether its client has asked for nothing that is not answered."""
        return self._state == HEAD and not self._ahead and self.due != NEVER

    def turn_away(self) -> None:
        """There is no room for another client."""
        self._refuse_connection(503, "the gateway has too many connections")

    def connection_lost(self, error: Exception | None) -> None:
        self._state = GONE
        self._gateway.closed(self)
        self._ahead = b""
        back, self.back = self.back, None
        if back is not None:
            back.close()
        if self.holds:
            self._gateway.backs.left(self)
        if self._route is not None:
            self._log(self._status or 499)
            self._give_back()

    def pause_writing(self) -> None:
        self.is_stuck = True
        self.due = self._loop.time() + limits.BODY_IDLE_S
        if self.back is not None:
            self.back.hold()

    def resume_writing(self) -> None:
        self.is_stuck = False
        self.due = NEVER
        if self.back is not None:
            self.back.go_on()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == HEAD:
            self._read_heads(self._ahead + data if self._ahead else data)
        elif state == REQUEST:
            if self.has_sent_all or self.back is None or self._ahead:
                self._keep_ahead(data)
            else:
                self._relay_body(data)
        elif state == TUNNEL and self.back is not None:
            self._received += len(data)
            self.back.transport.write(data)

    # -- the request

    def _read_heads(self, data: bytes) -> None:
        """Take requests, until one has to wait."""
        while data and self._state == HEAD:
            try:
                head = heads.read_request(data)
                if head is None:
                    if not self._ahead:
                        self.due = self._loop.time() + limits.HEAD_S
                    self._ahead = data
                    return
                self._ahead = b""
                data = self._begin(head, data)
            except RefusedError as error:
                self._refuse_connection(error.status, error.text)
                return
        if data and self._state == REQUEST:
            self._keep_ahead(data)

    def _begin(self, head: RequestHead, data: bytes) -> bytes:
        """Take a request; returns what came behind its head, or behind all of it.

        Raises:
            RefusedError: when it is not passed on, and the connection ends.
        """
        self._state, self.due = REQUEST, NEVER
        gateway, length = self._gateway, head.length
        self._started = monotonic()
        self.method, self.host, self._target = head.method, head.host, head.target
        self._keep = head.keep_alive
        self.without_chunks = head.minor == b"0"
        self.upgrade = head.upgrade
        end = head.end
        body = b""
        if length:
            if length > gateway.body_bytes_max:
                raise RefusedError(413, "the body is too large")
            self._left, self.has_sent_all = length, False
            if length == CHUNKED:
                self._chunks = Chunks(of_request=True)
            if len(data) > end:
                size = self._measure(data[end:])
                body = data[end : end + size]
                end += size
        found = gateway.find(self, head)
        self._target = head.target  # without a token that it may have had
        if isinstance(found, answers.Answer):
            self._answer(found)
            return data[end:]
        route, target, secret = found
        added = self._forwarded
        if self.is_trusted or target is not head.target:
            added = gateway.added(self, head, target)
        elif head.host:
            added += b"X-Forwarded-Host: " + head.host + b"\r\n"
        self._outgoing = head.onward(target, added, secret=secret) + body
        self._route, self._label = route, route.label
        if route.stateless:
            self.session = heads.session_of(head)
        if not gateway.slots.enter(self, route):
            self._route = None
            self._answer(answers.make(503, f"too many requests wait for `{route.name}`"))
        return data[end:]

    def _measure(self, data: bytes) -> int:
        """How many of the next bytes are of the body.

        Raises:
            RefusedError: for chunks that cannot be, or too many.
        """
        if self._chunks is None:
            size = min(self._left, len(data))
            self._left -= size
            self.has_sent_all = not self._left
        else:
            size = self._chunks.feed(data)
            self.has_sent_all = self._chunks.is_done
            if self._chunks.size > self._gateway.body_bytes_max:
                raise RefusedError(413, "the body is too large")
        self._received += size
        return size

    def _keep_ahead(self, data: bytes) -> None:
        self._ahead += data
        if len(self._ahead) > limits.AHEAD_BYTES_MAX:
            self.hold_reading()

    def _relay_body(self, data: bytes) -> None:
        assert self.back is not None
        try:
            size = self._measure(data)
        except RefusedError as error:
            self.fail(error.status, error.text, hang_up=True)
            return
        self.back.transport.write(data if size == len(data) else data[:size])
        if self.has_sent_all:
            self.due = NEVER
            if size < len(data):
                self._keep_ahead(data[size:])
        elif not self.is_stuck:
            self.due = self._loop.time() + limits.BODY_IDLE_S

    def hold_reading(self) -> None:
        """Read no more from the client."""
        if not self._is_paused and self._state < DRAIN:
            self._is_paused = True
            if not self.is_stuck:
                self.due = NEVER
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Read from the client again."""
        if self._is_paused and self._state != GONE:
            self._is_paused = False
            if not self.has_sent_all and not self.is_stuck:
                self.due = self._loop.time() + limits.BODY_IDLE_S
            self.transport.resume_reading()

    # -- a lease, and a connection

    def serve(self, lease: Lease) -> None:
        """Send the request on: there is a slot for it."""
        self._lease = lease
        self._wait_s = monotonic() - self._started
        self._attempts += 1
        back = self._gateway.backs.take(lease.address)
        if back is None:
            self._gateway.start(self._connect(lease))
        else:
            self._send(back)

    async def _connect(self, lease: Lease) -> None:
        try:
            backs, multiplexed = self._gateway.backs, lease.route.h2_enabled
            back = await backs.connect(lease.address, multiplexed=multiplexed)
        except OSError:
            if self._lease is lease:
                self._unreachable(lease)
            return
        if self._lease is lease:
            self._send(back)
        else:
            self._gateway.backs.keep(back)

    def _send(self, back: Back) -> None:
        self.back = back
        if self.is_stuck:
            back.hold()
        back.send(self, self._outgoing)
        if not self.has_sent_all:
            self.due = self._loop.time() + limits.BODY_IDLE_S
            if self._ahead:
                self._outgoing = b""
                data, self._ahead = self._ahead, b""
                self._relay_body(data)
            self.go_on_reading()

    def _unreachable(self, lease: Lease) -> None:
        """The container of a lease is not there: try another, if nothing of the request is lost."""
        route = lease.route
        self._lease = self.back = None
        self._gateway.slots.suspect(lease)
        if self._outgoing and self._attempts < limits.ATTEMPTS_MAX:
            self._gateway.slots.again(self, lease)
            return
        route.running.pop(self, None)
        lease.front = None
        self.refuse(502, f"the container of `{route.name}` cannot be reached")

    def lost(self, back: Back, *, began: bool) -> None:
        """The connection to the container has ended in the middle of the request."""
        lease, self.back = self._lease, None
        if lease is None:
            return
        if not began and self._outgoing and self.has_sent_all and self.method in _SAFE:
            # A server that closes what was idle may do so just when it is used again.
            if back.reused:
                self._attempts -= 1
                self.serve(lease)
                return
            self._unreachable(lease)
            return
        self.fail(502, f"the container of `{lease.route.name}` ended the connection")

    # -- the response

    def relay(self, data: bytes) -> None:
        """Pass on what the container sent."""
        self.sent += len(data)
        self.transport.write(data)

    def relay_interim(self, data: bytes) -> None:
        """Pass on a response ahead of the real one."""
        if not self.without_chunks:
            self.relay(data)

    def respond(self, head: ResponseHead, body: bytes) -> None:
        """Pass on a response's head and the beginning of its body, together."""
        self._began, self._outgoing = True, b""
        self._status = head.status
        raw = head.raw
        if self.without_chunks:
            self._keep = False
            if head.length == CHUNKED:
                raw = heads.without_chunks(raw)
        # A length says that the answer is made, so nobody reads the rest of the request. One in
        # chunks may be made of it, and some clients send no more when they read of a close.
        is_early = not self.has_sent_all and head.length != CHUNKED
        if head.length == heads.UNTIL_END or is_early:
            self._keep = False
        if self._keep or head.status == 101:
            self.relay(b"%b\r\n%b" % (raw, body))
        else:
            self.relay(b"%bConnection: close\r\n\r\n%b" % (raw, body))

    def responded(self, *, ended: bool = False) -> None:
        """The response is over; `ended`: with its connection."""
        self.back = None
        if ended or not self.has_sent_all:
            self._keep = False
        self._log(self._status)
        self._finish()

    def tunnel(self) -> None:
        """From now on bytes go both ways as they come."""
        self._state = TUNNEL
        if self._ahead and self.back is not None:
            data, self._ahead = self._ahead, b""
            self.back.transport.write(data)
        self.go_on_reading()

    def tunnel_ended(self) -> None:
        """The container has ended what it had changed to."""
        self._keep = False
        self.responded()

    def cut_off(self, text: str) -> None:
        """End a response that goes wrong in its middle, so that the client notices."""
        self._gateway.note(text)
        back, self.back = self.back, None
        if back is not None:
            back.close()
        self.transport.abort()

    # -- ends that the gateway makes

    def fail(self, status: int, text: str, *, hang_up: bool = False) -> None:
        """End a request that goes wrong: by an answer, or by the end of the connection."""
        if self._began:
            self.cut_off(text)
            return
        back, self.back = self.back, None
        if back is not None:
            back.close()
        if hang_up or not self.has_sent_all:
            self._refuse_connection(status, text)
        else:
            self._answer(answers.make(status, text))

    def refuse(self, status: int, text: str) -> None:
        """Answer a request that gets no slot."""
        self._route = None
        self._answer(answers.make(status, text))

    def time_out(self) -> None:
        """End a request that ran longer than its function may."""
        lease = self._lease
        name = lease.route.name if lease is not None else ""
        self.fail(504, f"`{name}` ran longer than its timeout")

    def overdue(self) -> None:
        """Do something about a client that does not what it should."""
        self.due = NEVER
        if self._state == HEAD and self._ahead:
            self._refuse_connection(408, "the head did not come in time")
        elif self._state == REQUEST and not self.is_stuck and not self._began:
            self.fail(408, "the body did not come in time", hang_up=True)
        else:
            self.transport.abort()

    def _answer(self, answer: answers.Answer) -> None:
        """Answer for the container."""
        self._status, raw = answer
        if not self.has_sent_all or self.without_chunks:
            self._keep = False
        if not self._keep:
            raw = raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        if self.method == b"HEAD":
            raw = raw[: raw.index(b"\r\n\r\n") + 4]
        self.relay(raw)
        self._log(self._status)
        self._finish()

    def _refuse_connection(self, status: int, text: str) -> None:
        """Answer what makes no sense, and believe nothing that comes behind it."""
        self._keep = False
        self._answer(answers.make(status, text))

    def _give_back(self) -> None:
        """Leave the slot, or the queue, to others."""
        route, lease = self._route, self._lease
        self._route = self._lease = None
        if lease is not None:
            self._gateway.slots.free(self, lease)
        elif route is not None:
            self._gateway.slots.leave(self, route)

    def _finish(self) -> None:
        """The request is over: on to the next, or to the end of the connection."""
        if self._state == GONE:
            return
        keep, route, lease = self._keep, self._route, self._lease
        was_stuck = self.is_stuck
        self._clear()
        if keep:
            self._state = HEAD
            if not was_stuck:
                self.due = self._loop.time() + limits.KEEP_ALIVE_S
        else:
            self._state, self._ahead = DRAIN, b""
            self.due = self._loop.time() + limits.DRAIN_S
            self.go_on_reading()
            if self.transport.is_closing():
                pass
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()
        self._route, self._lease = route, lease
        self._give_back()
        if keep:
            self.go_on_reading()
            if self._ahead:
                self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Take the requests that came ahead."""
        if self._state == HEAD and self._ahead:
            data, self._ahead = self._ahead, b""
            self._read_heads(data)

    def _log(self, status: int) -> None:
        now = monotonic()
        lease = self._lease
        self._gateway.access.note((
            self.peer, self.host, self._label, self.method, self._target,
            status, self._received, self.sent, self._wait_s, now - self._started,
            "" if lease is None else lease.container,
        ))  # fmt: skip
