"""Decisions of the core on a large fleet, each timed by itself."""

from __future__ import annotations

import gc
from itertools import count
from random import Random
from time import perf_counter_ns
from typing import TYPE_CHECKING

from volantd.core import (
    ANY_MODEL,
    Dispatch,
    ExitCause,
    Gpu,
    GpuWish,
    PoolConfig,
    Scheduler,
    StartContainer,
    StopContainer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core import Command

MIB = 1 << 20
#: Every tenth machine has eight GPUs.
MACHINE_BYTES, MACHINE_CONTAINERS, GPU_EVERY = 16 << 30, 16, 10
MODELS = ("H100", "A100-80GB")
MEMORIES_MIB = (128, 256, 512, 1024, 2048, 8192)
WISHES: tuple[tuple[GpuWish, ...], ...] = (
    *[()] * 9,
    (GpuWish("H100", 1),),
    (GpuWish("A100-80GB", 4), GpuWish("H100", 2)),
    (GpuWish(ANY_MODEL, 1),),
)
#: Inputs take half a second.
EXEC_US = 500_000


class Crowd:
    """Many machines, many pools, and the events of some of them."""

    def __init__(self, machines: int, pools: int, *, full: bool) -> None:
        numbers = count(1)
        self.rng = Random(1)
        self.now = 0.0
        self.scheduler = Scheduler(lambda: f"c{next(numbers)}", local=False)
        self.pools = pools
        self.took_us: dict[str, list[float]] = {}
        self._starting: list[str] = []
        self._running: dict[str, int] = {}
        self._stopping: list[str] = []
        self._calls = count()
        for number in range(machines):
            gpus = _gpus(number) if number % GPU_EVERY == 0 else ()
            self.scheduler.set_capacity(MACHINE_BYTES, MACHINE_CONTAINERS, 0.0, gpus, f"m{number}")
        for number in range(pools):
            memory_bytes = self.rng.choice(MEMORIES_MIB) * MIB
            gpus = self.rng.choice(WISHES) if number % 4 == 0 else ()
            config = PoolConfig(memory_bytes=memory_bytes, gpus=gpus)
            self.scheduler.add_pool(f"p{number}", config, 0.0)
        while full and len(self.scheduler.state.waiting) < pools // 2:
            self._submit()
            while self._starting:
                self._ready()
        self.took_us = {}

    def play(self, rounds: int) -> list[float]:
        """What each decision took, in microseconds."""
        gc.collect()
        gc.freeze()
        for number in range(rounds):
            self._submit()
            if self._starting:
                self._ready()
            if self._running:
                self._succeed()
            while self._stopping:
                self._exit(self._stopping.pop(), ExitCause.STOPPED)
            if number % 3 == 0 and self._running:
                self._exit(self._some()[0], ExitCause.KILLED)
            wake = self.scheduler.next_wake()
            if wake is not None and wake <= self.now:
                self._time("tick", lambda: self.scheduler.tick(self.now))
        gc.unfreeze()
        return [us for kind, taken in self.took_us.items() if kind != "tick" for us in taken]

    def _some(self) -> tuple[str, int]:
        container_id = next(iter(self._running))
        return container_id, self._running.pop(container_id)

    def _submit(self) -> None:
        self.now += 1e-3
        call_id, pool_id = f"k{next(self._calls)}", f"p{self.rng.randrange(self.pools)}"
        self.scheduler.open_call(call_id, pool_id, self.now)
        self._time("submit", lambda: self.scheduler.submit(call_id, 0, 1, None, self.now))

    def _ready(self) -> None:
        container_id = self._starting.pop()
        self._time("ready", lambda: self.scheduler.container_ready(container_id, self.now))

    def _succeed(self) -> None:
        container_id, batch_id = self._some()
        do = self.scheduler.succeeded
        self._time("success", lambda: do(container_id, batch_id, 1, EXEC_US, self.now)[1])

    def _exit(self, container_id: str, cause: ExitCause) -> None:
        do = self.scheduler.container_exited
        self._time("exit", lambda: do(container_id, cause, None, self.now))

    def _time(self, kind: str, decide: Callable[[], list[Command]]) -> None:
        begun_ns = perf_counter_ns()
        commands = decide()
        self.took_us.setdefault(kind, []).append((perf_counter_ns() - begun_ns) / 1000)
        for command in commands:
            if isinstance(command, StartContainer):
                self._starting.append(command.container_id)
            elif isinstance(command, Dispatch):
                self._running[command.container_id] = command.batch.batch_id
            elif isinstance(command, StopContainer):
                self._stopping.append(command.container_id)


def _gpus(machine: int) -> tuple[Gpu, ...]:
    model = MODELS[machine // GPU_EVERY % len(MODELS)]
    return tuple(Gpu(index=n, uuid=f"GPU-{machine}-{n}", model=model) for n in range(8))
