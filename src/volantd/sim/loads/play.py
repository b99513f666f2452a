"""The real core under a load: inputs that arrive at given times and run for given times.

Nothing fails here; what is looked at is how many containers there are, when, and how long inputs
wait. Arrivals, run times and start times are given, so that the same load can be played to others.

    arrivals --> core --starts, stops--> containers that run what they are given, in order
                   `-- every step is told to whoever watches
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from volantd.core import (
    Dispatch,
    ExitCause,
    Limits,
    PoolConfig,
    Reclaim,
    Scheduler,
    StartContainer,
    StopContainer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volantd.core import Command

#: How long a container that was told to stop takes to be gone.
STOP_S = 0.005
INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One input."""

    at: float
    pool_id: str
    run_s: float


@dataclass(slots=True)
class Life:
    """One container; times of its end are infinite until they are there."""

    pool_id: str
    started_at: float
    stopped_at: float = INFINITY
    gone_at: float = INFINITY
    reason: str = ""
    #: Batches with the numbers of their inputs that have not begun, and those that run.
    held: dict[int, deque[int]] = field(default_factory=dict)
    running: int = 0


class LoadRun:
    """One play of a load.

    Args:
        pools: by id.
        arrivals: in order of time.
        start_s: how long each container takes to be ready, asked once for each.
        memory_bytes: what the machine has.
        watch: told of each of the core's commands, when it was carried out.
        after: told of the end of each event.
        limits: the core's own.
    """

    def __init__(
        self,
        pools: dict[str, PoolConfig],
        arrivals: Sequence[Arrival],
        start_s: Callable[[], float],
        *,
        memory_bytes: float = INFINITY,
        watch: Callable[[LoadRun, Command], None] = lambda run, command: None,
        after: Callable[[LoadRun], None] = lambda run: None,
        limits: Limits | None = None,
    ) -> None:
        numbers = count(1)
        self.now = 0.0
        self.scheduler = Scheduler(lambda: f"c{next(numbers)}", limits or Limits(events_max=0))
        self.arrivals = arrivals
        self.lives: dict[str, Life] = {}
        #: Seconds from its arrival to its end, of each input that has ended, by its number.
        self.latencies_s: dict[int, float] = {}
        self._start_s = start_s
        self._watch = watch
        self._after = after
        self._order = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._wake = INFINITY
        self._do(self.scheduler.set_capacity(memory_bytes, INFINITY, 0.0))
        for pool_id, config in pools.items():
            self._do(self.scheduler.add_pool(pool_id, config, 0.0))
        for number, arrival in enumerate(arrivals):
            self._at(arrival.at, partial(self._arrive, number))

    def play(self, until: float) -> LoadRun:
        """Play on until a time, or to the end of everything that is due before."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heappop(self._heap)
            action()
            self._after(self)
        self.now = until
        return self

    def _at(self, due: float, action: Callable[[], None]) -> None:
        heappush(self._heap, (due, next(self._order), action))

    def _arrive(self, number: int) -> None:
        call_id = f"k{number}"
        self._do(self.scheduler.open_call(call_id, self.arrivals[number].pool_id, self.now))
        self._do(self.scheduler.submit(call_id, 0, 1, number, self.now))
        self._do(self.scheduler.close_call(call_id, 1, self.now))

    # Commands

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case StartContainer(pool_id, container_id):
                    self.lives[container_id] = Life(pool_id, self.now)
                    self._at(self.now + self._start_s(), partial(self._ready, container_id))
                case StopContainer(container_id, _, reason):
                    self._stop(container_id, reason)
                case Dispatch(container_id, batch):
                    assert isinstance(batch.payload, int)
                    self.lives[container_id].held[batch.batch_id] = deque([batch.payload])
                    self._begin(container_id)
                case Reclaim(container_id, batch_id):
                    self._at(self.now, partial(self._return, container_id, batch_id))
                case _:
                    pass
            self._watch(self, command)
        due = self.scheduler.next_wake()
        if due is not None and due < self._wake:
            self._wake = due
            self._at(max(due, self.now), lambda: self._tick(due))

    def _tick(self, due: float) -> None:
        if due == self._wake:
            self._wake = INFINITY
            self._do(self.scheduler.tick(self.now))

    def _stop(self, container_id: str, reason: str) -> None:
        life = self.lives[container_id]
        if life.stopped_at == INFINITY:
            life.stopped_at, life.reason = self.now, reason
            life.gone_at = self.now + STOP_S
            self._at(life.gone_at, lambda: self._gone(container_id))

    # Containers

    def _ready(self, container_id: str) -> None:
        life = self.lives[container_id]
        if life.stopped_at == INFINITY:
            self._do(self.scheduler.container_ready(container_id, self.now))

    def _gone(self, container_id: str) -> None:
        self._do(self.scheduler.container_exited(container_id, ExitCause.STOPPED, None, self.now))

    def _begin(self, container_id: str) -> None:
        """Begin what it holds, as many as it may run at once."""
        life = self.lives[container_id]
        config = self.scheduler.state.pools[life.pool_id].config
        for batch_id, waiting in life.held.items():
            if not waiting:
                continue
            if life.running >= config.max_inputs:
                return
            number = waiting.popleft()
            life.running += 1
            run_s = self.arrivals[number].run_s
            self._at(self.now + run_s, partial(self._end, container_id, batch_id, number))

    def _end(self, container_id: str, batch_id: int, number: int) -> None:
        life = self.lives[container_id]
        arrival = self.arrivals[number]
        self.latencies_s[number] = self.now - arrival.at
        life.running -= 1
        del life.held[batch_id]
        exec_us = int(arrival.run_s * 1e6)
        _, commands = self.scheduler.succeeded(container_id, batch_id, 1, exec_us, self.now)
        self._begin(container_id)
        self._do(commands)
        self._do(self.scheduler.forget_call(f"k{number}", self.now))

    def _return(self, container_id: str, batch_id: int) -> None:
        """Give back what did not begin."""
        life = self.lives[container_id]
        waiting = life.held.get(batch_id)
        unstarted = 0 if waiting is None else len(waiting)
        if unstarted:
            del life.held[batch_id]
        self._do(self.scheduler.returned(container_id, batch_id, unstarted, self.now))
