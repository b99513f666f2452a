"""A machine with eight GPUs over time: whoever waits for many gets them, whatever others do."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from volantd.core import (
    ANY_MODEL,
    Dispatch,
    ExitCause,
    GpuWish,
    PoolConfig,
    Scheduler,
    StartContainer,
    StopContainer,
)
from volantd.sim.devices import machine_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core import Command, Gpu

INFINITY = float("inf")
EIGHT = machine_of(("H100",))


class Machine:
    """Simulated containers that take a moment to start, to run an input, and to stop."""

    def __init__(self, gpus: tuple[Gpu, ...]) -> None:
        numbers = count(1)
        self.now = 0.0
        self.scheduler = Scheduler(lambda: f"c{next(numbers)}")
        self.started: dict[str, list[float]] = {}
        self.owners: dict[str, tuple[Gpu, ...]] = {}
        self._events: list[tuple[float, int, Callable[[], list[Command]]]] = []
        self._order = count()
        self._calls = count()
        self.do(self.scheduler.set_capacity(INFINITY, INFINITY, 0.0, gpus))

    def after(self, delay_s: float, action: Callable[[], list[Command]]) -> None:
        heappush(self._events, (self.now + delay_s, next(self._order), action))

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            wake = self.scheduler.next_wake()
            if wake is not None and wake <= self._events[0][0]:
                self.now = max(self.now, wake)
                self.do(self.scheduler.tick(self.now))
                continue
            self.now, _, action = heappop(self._events)
            self.do(action())

    def deploy(self, pool_id: str, *wishes: GpuWish, **config) -> None:
        made = PoolConfig(gpus=wishes, **config)
        self.do(self.scheduler.add_pool(pool_id, made, self.now))

    def call(self, pool_id: str, inputs: int = 1) -> list[Command]:
        call_id = f"k{next(self._calls)}"
        self.do(self.scheduler.open_call(call_id, pool_id, self.now))
        return self.scheduler.submit(call_id, 0, inputs, None, self.now)

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, StartContainer):
                self._start(command)
            elif isinstance(command, Dispatch):
                self._run(command)
            elif isinstance(command, StopContainer):
                self.after(0.1, lambda c=command: self._stopped(c.container_id))
        self.scheduler.check_invariants()

    def _start(self, command: StartContainer) -> None:
        held = {gpu for owned in self.owners.values() for gpu in owned}
        assert held.isdisjoint(command.gpus)
        self.owners[command.container_id] = command.gpus
        self.started.setdefault(command.pool_id, []).append(self.now)
        self.after(0.2, lambda: self.scheduler.container_ready(command.container_id, self.now))

    def _run(self, command: Dispatch) -> None:
        batch = command.batch

        def end() -> list[Command]:
            return self.scheduler.succeeded(
                command.container_id, batch.batch_id, 1, 300_000, self.now
            )[1]

        self.after(0.3, end)

    def _stopped(self, container_id: str) -> list[Command]:
        self.owners.pop(container_id, None)
        return self.scheduler.container_exited(container_id, ExitCause.STOPPED, None, self.now)


def test_who_wants_eight_is_not_starved_by_a_stream_of_those_who_want_one():
    """A new function that wants one device comes ten times a second, and one never runs dry."""
    machine = Machine(EIGHT)
    machine.deploy("busy", GpuWish("H100", 1), max_containers=6)
    machine.after(0.0, lambda: machine.call("busy", 10_000))
    small = count()

    def another() -> list[Command]:
        pool_id = f"small{next(small)}"
        machine.deploy(pool_id, GpuWish(ANY_MODEL, 1), scaledown_window_s=0.0)
        machine.after(0.1, another)
        return machine.call(pool_id)

    machine.after(0.0, another)
    machine.after(2.0, lambda: machine.deploy("large", GpuWish("H100", 8)) or [])
    machine.after(2.0, lambda: machine.call("large", 3))
    machine.run(8.0)
    # A moment of patience, the input that runs, the end of its container.
    assert machine.started["large"][0] - 2.0 < 1.0 + 0.2 + 0.3 + 0.1 + 0.5
    after = [t for pool, times in machine.started.items() if pool != "large" for t in times]
    assert max(after) > machine.started["large"][0], "and the others go on afterwards"


def test_two_large_ones_take_turns():
    machine = Machine(EIGHT)
    for pool_id in ("first", "second"):
        machine.deploy(pool_id, GpuWish("H100", 8))
        machine.after(0.0, lambda pool_id=pool_id: machine.call(pool_id, 40))
    machine.run(20.0)
    assert len(machine.started["first"]) > 1
    assert len(machine.started["second"]) > 1
