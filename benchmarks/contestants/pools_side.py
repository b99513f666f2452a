"""Volant's client of classes with snapshots, and of functions with many inputs at once."""

from __future__ import annotations

import asyncio
import shutil
from time import monotonic_ns, perf_counter_ns
from typing import TYPE_CHECKING, Any

from benchmarks.contestants.timing import time_map
from benchmarks.contestants.volant_side import Running
from benchmarks.harness.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: What follows the end of a container takes a moment.
_SETTLE_S = 0.2
#: An idle container of a class whose memory is looked at stays so long.
_HELD_S = 300.0


class Classes(Running):
    """Calls of a class that find no container: its model is in the template, or to be loaded."""

    def __init__(self) -> None:
        from benchmarks.apps import snapshots

        snapshots.write_model()
        super().__init__(snapshots.app)
        self._file = snapshots.MODEL_FILE
        self._classes = {"snapped": snapshots.Snapped, "plain": snapshots.Plain}
        for name in self._classes:
            self.turn(name)

    def turn(self, name: str) -> dict[str, float]:
        """One call of a class from zero."""
        self.wait_for_zero(_SETTLE_S)
        begun_ns = monotonic_ns()
        first_line_ns, _ = self._classes[name]().first_line.remote()
        ended_ns = monotonic_ns()
        return {
            "result_ms": (ended_ns - begun_ns) / 1e6,
            "first_line_ms": (first_line_ns - begun_ns) / 1e6,
        }

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._file.parent)


class Held(Running):
    """Containers of the class with a snapshot, which stay when they have read their model."""

    def __init__(self) -> None:
        from benchmarks.apps import snapshots

        snapshots.write_model()
        super().__init__(snapshots.app)
        self._file = snapshots.MODEL_FILE
        held = snapshots.Snapped.with_options(scaledown_window=_HELD_S)
        self._read = held().read

    def turn(self, count: int, stand_s: float) -> dict[str, int]:
        """Have so many containers read it, each with an input of its own."""
        calls = [self._read.spawn(stand_s) for _ in range(count)]
        return {"containers": len({call.get()[0] for call in calls})}

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._file.parent)


class Batches(Running):
    """Maps over a function that takes inputs together, and over one that does not."""

    def __init__(self) -> None:
        from benchmarks.apps.pools import app, single, together

        super().__init__(app)
        self._functions = {"single": single, "together": together}
        for name in self._functions:
            self.turn(name, 64)

    def turn(self, name: str, count: int) -> dict[str, float]:
        return time_map(lambda: self._functions[name].map(range(count)))


class Naps(Running):
    """Inputs that are awaited at the same time, of an async function in one container."""

    def __init__(self) -> None:
        from benchmarks.apps.pools import app, nap

        super().__init__(app)
        self._nap = nap
        self._loop = asyncio.new_event_loop()
        self.turn(20, 0.01)

    def turn(self, count: int, duration_s: float, *, calls_each: int = 1) -> dict[str, float]:
        timed = time_gathered(self._nap.remote.aio, count, duration_s, calls_each)
        return self._loop.run_until_complete(timed)

    def close(self) -> None:
        super().close()
        self._loop.close()


class Direct:
    """The same coroutines on an event loop, without Volant."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def turn(self, count: int, duration_s: float, *, calls_each: int = 1) -> dict[str, float]:
        timed = time_gathered(asyncio.sleep, count, duration_s, calls_each)
        return self._loop.run_until_complete(timed)

    def close(self) -> None:
        self._loop.close()


async def time_gathered(
    call: Callable[[float], Awaitable[Any]], count: int, duration_s: float, calls_each: int
) -> dict[str, float]:
    """Time the calls of so many callers, each call from its own begin.

    Who makes one call makes it at once. Who makes more begins at a time of its own within the
    first call of all, so that `count` calls are always under way, and never begin together.
    """
    taken_ns = []

    async def caller(number: int) -> None:
        if calls_each > 1:
            await asyncio.sleep(number * duration_s / count)
        for _ in range(calls_each):
            begun_ns = perf_counter_ns()
            await call(duration_s)
            taken_ns.append(perf_counter_ns() - begun_ns)

    begun_ns = perf_counter_ns()
    await asyncio.gather(*(caller(number) for number in range(count)))
    return {
        "p50_ms": percentile(taken_ns, 0.5) / 1e6,
        "p90_ms": percentile(taken_ns, 0.9) / 1e6,
        "all_ms": (perf_counter_ns() - begun_ns) / 1e6,
    }


class Steps(Running):
    """Load that comes all at once, stays the same for a while and ends all at once."""

    def __init__(self) -> None:
        from benchmarks.apps.steps import SCALEDOWN_WINDOW_S, app, stand

        super().__init__(app)
        self._window_ms = SCALEDOWN_WINDOW_S * 1e3
        self._stand = stand
        self._loop = asyncio.new_event_loop()
        self.turn(in_flight=1, duration_s=0.1, load_s=0.01)  # the zygote is there now

    def turn(self, in_flight: int, duration_s: float, load_s: float) -> dict[str, Any]:
        """`in_flight` callers, each of which calls again as soon as it is answered."""
        self.wait_for_zero(0.0)
        begun_ns = monotonic_ns()
        load = self._load(in_flight, duration_s, begun_ns + int(load_s * 1e9))
        records = self._loop.run_until_complete(load)
        ended_ns = monotonic_ns()
        self.wait_for_zero(0.0)
        idle_ms = (monotonic_ns() - ended_ns) / 1e6
        first: dict[str, int] = {}
        for _, first_line_ns, container in records:
            first[container] = min(first.get(container, first_line_ns), first_line_ns)
        queued_ms = [(first_line_ns - sent_ns) / 1e6 for sent_ns, first_line_ns, _ in records]
        return {
            "running_ms": [(moment - begun_ns) / 1e6 for moment in sorted(first.values())],
            "queued_p50_ms": percentile(queued_ms, 0.5),
            "queued_p99_ms": percentile(queued_ms, 0.99),
            "rate": len(records) / ((ended_ns - begun_ns) / 1e9),
            "beyond_window_ms": idle_ms - self._window_ms,
        }

    async def _load(
        self, in_flight: int, duration_s: float, until_ns: int
    ) -> list[tuple[int, int, str]]:
        """(sent, first line, container) of each call."""
        records = []

        async def caller() -> None:
            while (sent_ns := monotonic_ns()) < until_ns:
                records.append((sent_ns, *await self._stand.remote.aio(duration_s)))

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return records

    def close(self) -> None:
        super().close()
        self._loop.close()
