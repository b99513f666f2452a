"""How long requests may run: as long as their function, by a clock that the test turns."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pytest

from volantd.gateway.slots import Route, Slots

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from volantd.gateway.front import Front
    from volantd.gateway.slots import Lease


class Clock:
    """Time, and what is to happen in it; as much of an event loop as slots need."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._due, (self.now + delay_s, next(self._numbers), call, args))

    def go_to(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            self.now, _, call, args = heapq.heappop(self._due)
            call(*args)
        self.now = now


class Request:
    """What slots see of a request."""

    session = b""

    def __init__(self) -> None:
        self.happened: list[str] = []

    def serve(self, lease: Lease) -> None:
        self.lease = lease
        self.happened.append("served")

    def refuse(self, status: int, text: str) -> None:
        self.happened.append(f"refused with {status}")

    def time_out(self) -> None:
        self.happened.append("timed out")


@pytest.mark.parametrize("timeout_s", [150.5, 3600.0, 86400.0])
def test_a_request_may_run_as_long_as_its_function(timeout_s: float) -> None:
    """There is no other limit; and it begins to count when the request has a container."""
    clock, told = Clock(), []
    slots = Slots(cast("asyncio.AbstractEventLoop", clock), told.append)
    route, requests = Route("f"), [Request(), Request()]
    route.timeout_s = timeout_s
    for request in requests:
        slots.enter(cast("Front", request), route)
    clock.go_to(1000.0)
    first, second = (event["lease"] for event in told)
    slots.granted(first, "ta-1", "a")
    clock.go_to(1100.0)
    slots.granted(second, "ta-1", "a")
    clock.go_to(1000.0 + timeout_s - 0.001)
    assert [request.happened for request in requests] == [["served"], ["served"]]
    clock.go_to(1000.0 + timeout_s + 0.001)
    assert [request.happened[1:] for request in requests] == [["timed out"], []]
    clock.go_to(1100.0 + timeout_s + 0.001)
    assert requests[1].happened[1:] == ["timed out"]


def test_a_part_of_a_route_lives_as_long_as_it_has_requests_or_leases() -> None:
    clock, told = Clock(), []
    slots = Slots(cast("asyncio.AbstractEventLoop", clock), told.append)
    route = slots.routes["f"] = Route("f")
    route.timeout_s = 100.0
    request = Request()
    slots.enter(cast("Front", request), route.part({"size": b"1"}))
    assert route.part({"size": b"1"}) is route.part({"size": b"1"})
    assert route.part({}) is route
    slots.granted(1, "ta-1", "a")
    slots.free(cast("Front", request), request.lease)
    assert list(route.parts.values()) == [request.lease.route]
    clock.go_to(1.0)
    assert told[-1] == {"op": "release", "lease": 1}
    assert route.parts == {}
    slots.enter(cast("Front", request), route.part({"size": b"x"}))
    slots.refused(2, 400, "no")
    assert request.happened[-1] == "refused with 400"
    assert route.parts == {}
