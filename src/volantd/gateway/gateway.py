"""The parts of the gateway, connected: listener, routes, leases, connections, and the hub.

clients ═══► Front ═══► Back ═══► servers in containers
               └── Slots ◄──events──► hub
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import ipaddress
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, cast

from volant.wire import frames, values
from volantd import fields
from volantd.gateway import answers, heads, limits, queries
from volantd.gateway.access import AccessLog, Tally
from volantd.gateway.answers import Answer
from volantd.gateway.back import Backs
from volantd.gateway.front import Front
from volantd.gateway.heads import RefusedError
from volantd.gateway.leading.admitting import Way
from volantd.gateway.slots import Route, Slots
from volantd.gateway.tokens import Tokens

if TYPE_CHECKING:
    from volantd.gateway.heads import RequestHead

#: Spellings of hosts whose routes are remembered.
HOSTS_KNOWN_MAX = 10_000
#: Labels that one which is not found is compared with.
COMPARED_MAX = 200
LABEL_CHARS_MAX = 63
#: The control of congestion that every Linux has, lets everybody use, and that never waits.
LOCAL_CONGESTION = b"reno"
_HERE = frozenset((b"localhost", b""))


class Timed(Protocol):
    """A connection, or a request on one, for which something is done at a time."""

    due: float
    transport: asyncio.Transport

    @property
    def is_idle(self) -> bool:
        """Whether it has no requests."""

    def overdue(self) -> None:
        """Do that; one that is idle ends."""


class Gateway:
    """State of the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: dict[str, Any]) -> None:
        """`settings`: what the daemon has started it with, see `volantd/hub/web/process.py`."""
        self.loop = loop
        self.body_bytes_max = fields.whole(settings, "body_bytes_max", 0)
        self._scheme = "https" if settings["tls"] else "http"
        self._trusted = frozenset(fields.sequence(settings, "trusted_fronts"))
        path, bytes_max = fields.text(settings, "log"), fields.whole(settings, "log_bytes_max", 0)
        self.access = AccessLog(loop, path, bytes_max)
        self.tokens = Tokens()
        self.backs = Backs(loop)
        self.slots = Slots(loop, self.tell)
        self.fronts: set[Timed] = set()
        #: Those that may give way to others, first of all the last; with when they were due.
        self._idle: list[tuple[float, Timed]] = []
        self._look_again_at = 0.0
        self._congestion = _usual_congestion()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Routes by the hosts that are theirs alone, and by each spelling that was seen.
        self._hosts: dict[bytes, Route] = {}
        self._spellings: dict[bytes, Route] = {}
        self._hub: asyncio.Transport | None = None
        loop.call_later(limits.SWEEP_S, self._sweep)

    # -- the hub

    def attach(self, hub: asyncio.Transport) -> None:
        """Know where events go."""
        self._hub = hub

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event to the hub."""
        assert self._hub is not None
        self._hub.write(frames.control(frames.EVENT, values.encode(event)))

    def on_event(self, event: dict[str, Any]) -> None:
        """Take an event of the hub."""
        op = event["op"]
        if op == "granted":
            self.slots.granted(event["lease"], event["container"], event["address"])
        elif op == "revoked":
            self.slots.revoked(event["lease"], event["cut_s"])
        elif op == "refused":
            self.slots.refused(event["lease"], event["status"], event["detail"])
        elif op == "route":
            self._add(event)
        elif op == "lead":
            self._lead(event)
        elif op == "unroute":
            self.slots.routes.pop(event["label"], None)
            self._know_hosts()
            self.access.tallies.pop(event["label"], None)
        elif op == "count":
            self._tell_counts(event)
        elif op == "tokens":
            self.tokens.replace(event["hashes"])

    def _add(self, event: dict[str, Any]) -> None:
        label = event["label"]
        route = self.slots.routes.setdefault(label, Route(label))
        route.describe(event)
        self.access.tallies.setdefault(label, Tally())
        self._know_hosts()

    def _lead(self, event: dict[str, Any]) -> None:
        """Take a way in to a sandbox, or one that has one more token."""
        label = event["label"]
        route = self.slots.routes.setdefault(label, Route(label))
        route.name, route.timeout_s, route.way = event["name"], event["timeout_s"], Way(event)
        self.access.tallies.setdefault(label, Tally())
        self._know_hosts()

    def _tell_counts(self, event: dict[str, Any]) -> None:
        """Say how requests of a route went."""
        tally = self.access.tallies.get(event["label"], Tally())
        self.tell({
            "op": "counted", "question": event["question"], "since": tally.since,
            "statuses": {str(status): number for status, number in tally.statuses.items()},
            "quantiles_s": [tally.quantile_s(part) for part in event["parts"]],
        })  # fmt: skip

    def _know_hosts(self) -> None:
        self._hosts = {f"{label}.localhost".encode(): r for label, r in self.slots.routes.items()}
        for route in self.slots.routes.values():
            self._hosts.update(dict.fromkeys(route.domains, route))
        self._spellings.clear()

    # -- requests

    def find(self, front: Front, head: RequestHead) -> tuple[Route, bytes, bytes] | Answer:
        """The route of a request, its target there, and which fields are not passed on."""
        target, secret = head.target, b""
        route = self._spellings.get(head.host)
        if route is None:
            name, _ = heads.check_host(head.host) if head.host else (b"", b"")
            route = self._hosts.get(name) or self._hosts.get(b"*." + name.partition(b".")[2])
            if route is not None:
                if len(self._spellings) >= HOSTS_KNOWN_MAX:
                    self._spellings.clear()
                self._spellings[head.host] = route
            elif name in _HERE or _is_address(name):
                label, slash, rest = target[1:].partition(b"/")
                if not slash:
                    label, mark, rest = label.partition(b"?")
                    rest = mark + rest
                route = self.slots.routes.get(label.decode("ascii"))
                target = b"/" + rest
                if route is None:
                    return self._unknown(front, label, "path")
            else:
                return self._unknown(front, name.partition(b".")[0], "host")
        if route.way is not None:
            try:
                return route, route.way.admit(head, target, _peer_of(front, head)), b""
            except RefusedError as error:
                return answers.make(error.status, error.text)
        if route.auth:
            admitted = self.tokens.admits(head)
            if admitted is None:
                return answers.make(401, f"`{route.name}` requires a token")
            secret = admitted
        if route.parameters:
            try:
                route = route.part(queries.parameters_in(target, route.parameters))
            except RefusedError as error:
                return answers.make(error.status, error.text)
        return route, target, secret

    def _unknown(self, front: Front, label: bytes, what: str) -> Answer:
        wanted = label.decode("ascii", "replace")[:LABEL_CHARS_MAX]
        text = f"there is no web function at this {what}"
        if wanted and _is_local(front.peer):  # what there is, only who is here may know
            known = list(self.slots.routes)[:COMPARED_MAX]
            near = difflib.get_close_matches(wanted, known, n=3)
            text = f"there is no web function `{wanted}`"
            if near:
                text += f"; did you mean {', '.join(near)}?"
        return answers.make(404, text)

    def added(self, front: Front, head: RequestHead, target: bytes) -> bytes:
        """What a container is told of where a request comes from, where that is more than usual."""
        told = head.notable if front.is_trusted else {}
        before = told.get(b"x-forwarded-for")
        peer = front.peer.encode()
        lines = [
            b"X-Forwarded-For: " + (before + b", " + peer if before else peer),
            b"X-Forwarded-Proto: " + told.get(b"x-forwarded-proto", self._scheme.encode()),
        ]
        host = told.get(b"x-forwarded-host", head.host)
        if host:
            lines.append(b"X-Forwarded-Host: " + host)
        if target is not head.target:
            prefix = head.target[1:].partition(b"/")[0].partition(b"?")[0]
            lines.append(b"X-Forwarded-Prefix: /" + prefix)
        return b"\r\n".join(lines) + b"\r\n"

    def note(self, text: str) -> None:
        """Take down what went wrong with a container's server."""
        self.access.note_event(text)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done meanwhile."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- connections

    def opened(self, front: Front) -> None:
        """A client is there."""
        self.fronts.add(front)
        peer = self._greeted(front.transport)
        forwarded = f"X-Forwarded-For: {peer}\r\nX-Forwarded-Proto: {self._scheme}\r\n"
        front.welcome(peer, forwarded.encode(), is_trusted=peer in self._trusted)
        if self.is_full():
            front.turn_away()

    def is_full(self) -> bool:
        """Whether there are more connections than may be, and none that could give way."""
        return len(self.fronts) > limits.CONNECTIONS_MAX and not self._makes_room()

    def _makes_room(self) -> bool:
        """End the connection that has had no request for longest; False when all have some.

        They are looked for once in a while: who opens connections for nothing must not cost more.
        """
        now = self.loop.time()
        latest = now + limits.KEEP_ALIVE_S - limits.EVICTED_AFTER_S
        if not self._idle and now >= self._look_again_at:
            self._look_again_at = now + limits.SWEEP_S
            idle = [front for front in self.fronts if front.is_idle and front.due <= latest]
            self._idle = sorted(((one.due, one) for one in idle), key=_due, reverse=True)
        while self._idle:
            due, front = self._idle.pop()
            if front in self.fronts and front.is_idle and front.due == due:
                front.overdue()
                return True
        return False

    def joined(self, connection: Timed) -> None:
        """A connection with many requests is there; each of these is opened as well."""
        self.fronts.add(connection)
        self._greeted(connection.transport)

    def _greeted(self, transport: asyncio.BaseTransport) -> str:
        """The address that a connection comes from; it is sent to as such ones are."""
        address = transport.get_extra_info("peername")
        peer: str = address[0] if address else ""
        sock = transport.get_extra_info("socket")
        if sock is not None and not _is_local(peer):
            with contextlib.suppress(OSError):
                _set_congestion(sock, self._congestion)
        return peer

    def left(self, connection: Timed) -> None:
        """It is gone."""
        self.fronts.discard(connection)

    def closed(self, front: Front) -> None:
        """A client is gone."""
        self.fronts.discard(front)

    def _sweep(self) -> None:
        now = self.loop.time()
        for front in [front for front in self.fronts if front.due < now]:
            front.overdue()
        self.backs.sweep(now)
        self.loop.call_later(limits.SWEEP_S, self._sweep)


def _due(entry: tuple[float, Timed]) -> float:
    return entry[0]


def _peer_of(front: Front, head: RequestHead) -> str:
    """Where a request comes from: what a proxy says that is believed, or its connection."""
    told = head.notable.get(b"x-forwarded-for", b"") if front.is_trusted else b""
    return told.rpartition(b",")[2].strip().decode("ascii", "replace") or front.peer


def _is_address(name: bytes) -> bool:
    """Whether a host is an address: no page of another site can have us under such a name."""
    try:
        ipaddress.ip_address(name.decode("ascii").strip("[]"))
    except ValueError:
        return False
    return True


def _is_local(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def prepare(listener: socket.socket) -> None:
    """Have clients of this machine sent to as fast as they take the bytes.

    Some controls of congestion, such as BBR, spread what is sent over time. Here is no network that
    this could spare, and its timers cost as much as all the rest of a large response. A connection
    that has begun so cannot be rid of them, so all begin otherwise; those from elsewhere then get
    what is usual.
    """
    with contextlib.suppress(OSError):
        _set_congestion(listener, LOCAL_CONGESTION)


def _usual_congestion() -> bytes:
    """The control of congestion that this machine gives its connections."""
    with socket.socket() as sock:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


def _set_congestion(sock: socket.socket, name: bytes) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)


class HubEnd(asyncio.Protocol):
    """The connection to the hub; without it there is nothing to do here."""

    def __init__(self, gateway: Gateway, ended: asyncio.Event) -> None:
        self._gateway = gateway
        self._ended = ended
        self._reader = frames.FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._gateway.attach(cast(asyncio.Transport, transport))  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        for _, _, body in self._reader.feed(data):
            self._gateway.on_event(values.decode_map(body))

    def connection_lost(self, error: Exception | None) -> None:
        self._ended.set()
