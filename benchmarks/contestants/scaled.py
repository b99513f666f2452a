"""One load, played to Volant's core and to Knative's autoscaler, with the same containers.

Requests wait in one line for whichever container is free, one at a time each. Who scales decides
only when containers are started and which of the idle ones are stopped; arrivals, run times and
the time that a start takes are the same for both.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.contestants.kpa import BUCKET_S, TICK_S, Kpa
from volantd.sim.loads.play import STOP_S, LoadRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volantd.core import PoolConfig
    from volantd.sim.loads.play import Arrival

POOL = "p"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load was like for those who waited, and what it cost."""

    latencies_s: list[float]
    container_seconds: float
    starts: int


def play_volant(
    arrivals: Sequence[Arrival], start_s: float, until: float, config: PoolConfig
) -> Outcome:
    """The core's own rules."""
    run = LoadRun({POOL: config}, arrivals, lambda: start_s).play(until)
    lives = run.lives.values()
    assert len(run.latencies_s) == len(arrivals), "inputs are left"
    seconds = sum(min(life.gone_at, until) - life.started_at for life in lives)
    return Outcome(list(run.latencies_s.values()), seconds, len(lives))


@dataclass(slots=True, eq=False)
class _Pod:
    started_at: float
    ready: bool = False
    busy: bool = False
    leaving: bool = False


class KpaRun:
    """Knative's rules: a tick every two seconds, and one at once for the first request at zero."""

    def __init__(self, arrivals: Sequence[Arrival], start_s: float, containers_max: int) -> None:
        self.now = 0.0
        self.kpa = Kpa(containers_max)
        self.latencies_s: list[float] = []
        self.container_seconds = 0.0
        self.starts = 0
        self._start_s = start_s
        self._waiting: deque[Arrival] = deque()
        self._idle: list[_Pod] = []
        self._pods: list[_Pod] = []
        self._in_system = 0
        self._area = 0.0
        self._counted_at = 0.0
        self._order = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        for arrival in arrivals:
            self._at(arrival.at, lambda arrival=arrival: self._arrive(arrival))
        self._at(BUCKET_S, self._report)
        self._at(TICK_S, self._tick)

    def play(self, until: float) -> Outcome:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heappop(self._heap)
            action()
        self.now = until
        assert not self._in_system, "requests are left"
        for pod in self._pods:
            self.container_seconds += until - pod.started_at
        return Outcome(self.latencies_s, self.container_seconds, self.starts)

    def _at(self, due: float, action: Callable[[], None]) -> None:
        heappush(self._heap, (due, next(self._order), action))

    # Requests

    def _count(self, change: int) -> None:
        self._area += self._in_system * (self.now - self._counted_at)
        self._counted_at = self.now
        self._in_system += change

    def _arrive(self, arrival: Arrival) -> None:
        self._count(1)
        self._waiting.append(arrival)
        self._serve()
        if not self._pods:  # what holds requests while there is nobody reports at once
            self.kpa.windows.record(self.now, self._in_system)
            self._scale()

    def _serve(self) -> None:
        while self._waiting and self._idle:
            pod = self._idle.pop()  # the one used last, so that the others can go
            pod.busy = True
            arrival = self._waiting.popleft()
            self._at(self.now + arrival.run_s, lambda pod=pod, one=arrival: self._end(pod, one))

    def _end(self, pod: _Pod, arrival: Arrival) -> None:
        self._count(-1)
        self.latencies_s.append(self.now - arrival.at)
        pod.busy = False
        if pod.leaving:
            self._remove(pod)
        else:
            self._idle.append(pod)
            self._serve()

    # Containers

    def _report(self) -> None:
        self._count(0)
        if self._pods or self._in_system:
            self.kpa.windows.record(self.now - BUCKET_S / 2, self._area / BUCKET_S)
        self._area = 0.0
        self._at(self.now + BUCKET_S, self._report)

    def _tick(self) -> None:
        self._scale()
        self._at(self.now + TICK_S, self._tick)

    def _scale(self) -> None:
        staying = [pod for pod in self._pods if not pod.leaving]
        desired = self.kpa.desired(self.now, sum(pod.ready for pod in staying))
        if desired is None:
            return
        for _ in range(desired - len(staying)):
            pod = _Pod(self.now)
            self._pods.append(pod)
            self.starts += 1
            self._at(self.now + self._start_s, lambda pod=pod: self._ready(pod))
        # Those that do nothing first, which is kind to it.
        surplus = sorted(staying, key=lambda pod: (pod.busy, pod.ready))
        for pod in surplus[: max(len(staying) - desired, 0)]:
            pod.leaving = True
            if not pod.busy:
                self._remove(pod)

    def _ready(self, pod: _Pod) -> None:
        if not pod.leaving:
            pod.ready = True
            self._idle.append(pod)
            self._serve()

    def _remove(self, pod: _Pod) -> None:
        if pod in self._idle:
            self._idle.remove(pod)
        self._pods.remove(pod)
        self.container_seconds += self.now + STOP_S - pod.started_at
