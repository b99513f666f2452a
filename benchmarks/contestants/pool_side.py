"""concurrent.futures.ProcessPoolExecutor with two workers as a contestant."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from time import perf_counter, perf_counter_ns

from benchmarks.harness.figures import percentile


def noop(value: object = None) -> None:
    pass


class Calls:
    """submit().result(), one after the other."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(max_workers=2)
        self.turn(200)

    def turn(self, count: int) -> dict[str, float]:
        submit = self._pool.submit
        taken_ns = []
        for _ in range(count):
            begun = perf_counter_ns()
            submit(noop).result()
            taken_ns.append(perf_counter_ns() - begun)
        return {"p50_us": percentile(taken_ns, 0.5) / 1e3, "p90_us": percentile(taken_ns, 0.9) / 1e3}

    def close(self) -> None:
        self._pool.shutdown()


class Maps:
    """map() with one item a task, as each input is a task of its own."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(max_workers=2)
        self.turn(1_000)

    def turn(self, count: int) -> dict[str, float]:
        begun = perf_counter()
        arrived = 0
        for _ in self._pool.map(noop, range(count), chunksize=1):
            arrived += 1
        return {"rate": arrived / (perf_counter() - begun), "arrived": arrived}

    def close(self) -> None:
        self._pool.shutdown()
