"""Routes with their requests, and the leases on slots of containers that serve them.

A lease is one slot that is free for us. It serves one request at a time, and the next that waits
without asking the hub. What decides who gets a container is not here: the hub's core does.

    request ─► idle lease ─► served              granted ─► oldest request that waits
           └─► waits, and a lease is asked for   free ─► next request, or kept for a moment

Requests that name parameters of a class are kept apart, as parts of the route that live as long as
they have requests or leases. What their values mean, and which pool that is, the hub knows.

A server has no queue: each of its requests asks for a lease of its own, which the hub grants or
refuses at once, and requests of one session only use leases of that session.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from volant.wire import values
from volantd.gateway import limits

if TYPE_CHECKING:
    import asyncio

    from volantd.gateway.front import Front
    from volantd.gateway.leading.admitting import Way


class Lease:
    """The right to have one request in one container."""

    __slots__ = (
        "address", "container", "ending", "front", "idle_since", "number", "route", "session",
        "since", "used",
    )  # fmt: skip

    def __init__(
        self, number: int, route: Route, session: bytes, container: str, address: str, now: float
    ) -> None:
        self.number = number
        self.route = route
        #: Whose requests alone it serves, of a server; empty for those of nobody in particular.
        self.session = session
        self.container = container
        #: Where the container's server listens.
        self.address = address
        self.since = now
        self.idle_since = now
        #: It takes no further request.
        self.ending = False
        self.used = False
        #: Whose request it serves.
        self.front: Front | None = None


class Route:
    """One web function: where its requests go, and those that wait or run."""

    __slots__ = (
        "auth", "domains", "given", "h2_enabled", "idle", "label", "name", "once", "parameters",
        "parts", "pending", "running", "stateless", "timeout_s", "timer", "waiting", "way",
        "whole",
    )  # fmt: skip

    def __init__(
        self, label: str, whole: Route | None = None, given: dict[str, bytes] | None = None
    ) -> None:
        """A route, or the part of one whose requests name the same parameters.

        Args:
            label: what hosts of it begin with.
            whole: the route that this is a part of.
            given: the values of the parameters.
        """
        self.label = label
        self.whole, self.given = whole, given or {}
        #: Names of the parameters of its class.
        self.parameters: frozenset[bytes] = frozenset()
        #: Its parts, while they have requests or leases.
        self.parts: dict[bytes, Route] = {}
        self.name = ""
        #: Hosts that are its own beside `<label>.localhost`.
        self.domains: list[bytes] = []
        #: Whether a client has to show a token.
        self.auth = False
        #: Whether a container serves one request in its life.
        self.once = False
        #: Whether it is a server, whose requests do not wait for a container.
        self.stateless = False
        #: Whether its server speaks HTTP/2.
        self.h2_enabled = False
        self.timeout_s = 0.0
        #: For a sandbox: who is let in, and where it is; no lease of the hub is needed then.
        self.way: Way | None = None
        #: Requests without a lease, the oldest first.
        self.waiting: dict[Front, None] = {}
        #: Numbers of leases that were asked for; of a server, with the request that each is for.
        self.pending: dict[int, Front | None] = {}
        #: Leases that no request uses, the one used last at the end.
        self.idle: list[Lease] = []
        #: Requests with a lease, and when they got it; the oldest first.
        self.running: dict[Front, float] = {}
        self.timer: asyncio.TimerHandle | None = None

    def describe(self, event: dict[str, Any]) -> None:
        """Take what the hub says of it."""
        self.name, self.timeout_s = event["name"], event["timeout_s"]
        self.auth, self.once = event["requires_proxy_auth"], event["single_use"]
        self.stateless, self.h2_enabled = event["stateless"], event["h2_enabled"]
        self.domains = [domain.encode() for domain in event["domains"]]
        self.parameters = frozenset(name.encode() for name in event["parameters"])
        for part in self.parts.values():
            part.describe(event)

    def part(self, given: dict[str, bytes]) -> Route:
        """The part of a route for values of its parameters: itself, when none are given."""
        if not given:
            return self
        key = values.encode(given)
        found = self.parts.get(key)
        if found is None:
            found = self.parts[key] = Route(self.label, self, given)
            found.name, found.timeout_s, found.once = self.name, self.timeout_s, self.once
        return found

    def forget_unused(self) -> None:
        """Let go of a part that has neither requests nor leases."""
        if self.whole is None or self.waiting or self.pending or self.idle or self.running:
            return
        if self.timer is not None:
            self.timer.cancel()
        key = values.encode(self.given)
        if self.whole.parts.get(key) is self:
            del self.whole.parts[key]


class Slots:
    """All routes and leases."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        """`tell`: sends an event to the hub."""
        self._loop = loop
        self._tell = tell
        self._numbers = count(1)
        self.routes: dict[str, Route] = {}
        self._asked: dict[int, Route] = {}
        self._leases: dict[int, Lease] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- requests

    def enter(self, front: Front, route: Route) -> bool:
        """Have a request served, now or in its turn; False when too many wait."""
        if route.way is not None:
            way, now = route.way, self._loop.time()
            self._run(front, route, Lease(0, route, b"", way.container, way.address, now))
            return True
        idle = route.idle
        for index in range(len(idle) - 1, -1, -1):
            if idle[index].session == front.session:
                self._run(front, route, idle.pop(index))
                return True
        if len(route.waiting) >= limits.WAITING_MAX:
            return False
        route.waiting[front] = None
        self._ask_for(front, route)
        return True

    def _ask_for(self, front: Front, route: Route) -> None:
        """Ask for a lease, unless so many are asked for that one is for this request."""
        if route.stateless:
            self._ask(route, front)
        elif len(route.pending) < len(route.waiting):
            self._ask(route)

    def leave(self, front: Front, route: Route) -> None:
        """A request that waits is wanted no more."""
        route.waiting.pop(front, None)
        self._look_soon()

    def again(self, front: Front, lease: Lease) -> None:
        """A request that its container never saw is the first of those that wait."""
        route, lease.front = lease.route, None
        route.running.pop(front, None)
        if route.way is not None:
            front.refuse(502, f"nothing answers at this port of `{route.name}`")
            return
        route.waiting = {front: None, **route.waiting}
        self._ask_for(front, route)

    def _run(self, front: Front, route: Route, lease: Lease) -> None:
        now = self._loop.time()
        lease.used, lease.front = True, front
        route.running[front] = now
        if route.timer is None:
            route.timer = self._loop.call_later(route.timeout_s, self._look_overdue, route)
        front.serve(lease)

    def _look_overdue(self, route: Route) -> None:
        """End the requests that ran longer than their function may."""
        route.timer = None
        now = self._loop.time()
        while route.running:
            front, since = next(iter(route.running.items()))
            if since + route.timeout_s > now:
                due = since + route.timeout_s - now
                route.timer = self._loop.call_later(due, self._look_overdue, route)
                return
            del route.running[front]
            front.time_out()

    # -- leases

    def _ask(self, route: Route, front: Front | None = None) -> None:
        number = next(self._numbers)
        route.pending[number] = front
        self._asked[number] = route
        session = b"" if front is None else front.session
        self._tell({
            "op": "lease", "lease": number, "route": route.label, "session": session,
            "parameters": route.given,
        })  # fmt: skip

    def granted(self, number: int, container: str, address: str) -> None:
        """A slot is ours."""
        route = self._asked.pop(number, None)
        if route is None:
            return  # given back meanwhile, which the hub is about to hear
        front = route.pending.pop(number, None)
        session = b"" if front is None else front.session
        lease = Lease(number, route, session, container, address, self._loop.time())
        self._leases[number] = lease
        if front is not None and front in route.waiting:
            del route.waiting[front]
            self._run(front, route, lease)
        else:
            self._next(lease)

    def refused(self, number: int, status: int, text: str) -> None:
        """There will be no slot: nor for the others that wait, if this one is the last asked."""
        route = self._asked.pop(number, None)
        if route is None:
            return
        its = route.pending.pop(number, None)
        if its is not None:
            if its in route.waiting:
                del route.waiting[its]
                its.refuse(status, text)
            return
        while len(route.waiting) > len(route.pending):
            front = next(iter(route.waiting))
            del route.waiting[front]
            front.refuse(status, text)
        route.forget_unused()

    def revoked(self, number: int, cut_s: float | None) -> None:
        """A lease takes no further request.

        Args:
            number: the lease.
            cut_s: how long the request that it serves may go on; None: while it can.
        """
        lease = self._leases.get(number)
        if lease is None:
            return
        lease.ending = True
        if lease.front is not None and cut_s is not None:
            self._loop.call_later(cut_s, self._cut, lease)
        if lease in lease.route.idle:
            lease.route.idle.remove(lease)
            self._release(lease)

    def _cut(self, lease: Lease) -> None:
        if lease.front is not None:
            lease.front.fail(503, f"the container of `{lease.route.name}` was stopped")

    def free(self, front: Front, lease: Lease) -> None:
        """The request of a lease has ended."""
        lease.route.running.pop(front, None)
        lease.front = None
        self._next(lease)

    def suspect(self, lease: Lease) -> None:
        """The container of a lease cannot be reached: let the hub find out, then give it back."""
        lease.ending = True
        self._loop.call_later(limits.SUSPECT_S, self._release, lease)

    def _next(self, lease: Lease) -> None:
        """Have the oldest request that waits served by a lease that is free, or keep it."""
        route, now = lease.route, self._loop.time()
        if route.way is not None:
            return
        # An old one goes back, for the hub may have others to serve: whoever waits here has a
        # lease asked for, and gets this very slot again if there are none.
        if lease.ending or now - lease.since > limits.LEASE_AGE_S or (route.once and lease.used):
            self._release(lease)
            return
        front = next((one for one in route.waiting if one.session == lease.session), None)
        if front is not None:
            del route.waiting[front]
            self._run(front, route, lease)
        else:
            lease.idle_since = now
            route.idle.append(lease)
            self._look_soon()

    def _release(self, lease: Lease) -> None:
        if self._leases.pop(lease.number, None) is not None:
            self._tell({"op": "release", "lease": lease.number})
            lease.route.forget_unused()

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(limits.LINGER_S, self._look)

    def _look(self) -> None:
        """Give back what nobody needed for a moment."""
        self._timer = None
        now, left = self._loop.time(), False
        parts = (part for route in self.routes.values() for part in list(route.parts.values()))
        for route in [*self.routes.values(), *parts]:
            while len(route.pending) > len(route.waiting) and not route.stateless:
                number, _ = route.pending.popitem()
                del self._asked[number]
                self._tell({"op": "release", "lease": number})
            while route.idle and now - route.idle[0].idle_since >= limits.LINGER_S:
                self._release(route.idle.pop(0))
            left = left or bool(route.idle)
            route.forget_unused()
        if left:
            self._look_soon()
