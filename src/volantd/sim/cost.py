"""What the core costs: the time of its calls on the hot path, printed for people.

The hub runs on one thread, so every microsecond here is one of each call's latency.
"""

from __future__ import annotations

from itertools import count
from time import perf_counter

from volantd.core import Dispatch, PoolConfig, Scheduler

ROUNDS = 20_000


def _warm_scheduler() -> Scheduler:
    """One pool with one idle container that is known to be fast."""
    numbers = count(1)
    scheduler = Scheduler(lambda: f"c{next(numbers)}")
    scheduler.add_pool("p", PoolConfig(), 0.0)
    scheduler.open_call("warm", "p", 0.0)
    scheduler.submit("warm", 0, 1, b"", 0.0)
    scheduler.container_ready("c1", 0.0)
    scheduler.succeeded("c1", 1, 1, 50, 0.0)
    scheduler.forget_call("warm", 0.0)
    return scheduler


def warm_call_us(inputs: int) -> float:
    """The core's time for one call: open, submit, dispatch, close, succeed, forget."""
    scheduler = _warm_scheduler()
    now = 1.0
    began = perf_counter()
    for number in range(ROUNDS):
        now += 1e-4
        call_id = f"k{number}"
        scheduler.open_call(call_id, "p", now)
        command = scheduler.submit(call_id, 0, inputs, b"", now)[0]
        assert isinstance(command, Dispatch)
        scheduler.close_call(call_id, inputs, now)
        scheduler.succeeded("c1", command.batch.batch_id, inputs, 50, now)
        scheduler.forget_call(call_id, now)
    return (perf_counter() - began) / ROUNDS * 1e6


def map_batch_us(inputs: int) -> float:
    """The core's time for one batch of a long map: submit, dispatch, succeed."""
    scheduler = _warm_scheduler()
    scheduler.open_call("map", "p", 0.0)
    now = 1.0
    held: list[int] = []
    began = perf_counter()
    for number in range(ROUNDS):
        now += 1e-4
        commands = scheduler.submit("map", number * inputs, inputs, b"", now)
        if len(held) == 3:
            _, more = scheduler.succeeded("c1", held.pop(0), inputs, 50, now)
            commands = commands + more
        held += [command.batch.batch_id for command in commands if isinstance(command, Dispatch)]
    return (perf_counter() - began) / ROUNDS * 1e6


def report() -> list[str]:
    """The lines to print; the best of three, since the machine is shared."""
    lines = []
    for name, measure, inputs in (
        ("a warm call of 1 input", warm_call_us, 1),
        ("a warm call of 100 inputs", warm_call_us, 100),
        ("one batch of 100 in a map", map_batch_us, 100),
    ):
        best_us = min(measure(inputs) for _ in range(3))
        lines.append(f"{name:<28} {best_us:6.1f} us in the core")
    return lines
