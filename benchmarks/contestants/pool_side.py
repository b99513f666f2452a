"""concurrent.futures.ProcessPoolExecutor with two workers as a contestant."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

from benchmarks.contestants.timing import time_calls, time_map


def noop(value: object = None) -> None:
    pass


class Calls:
    """submit().result(), one after the other."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(max_workers=2)
        self.turn(200)

    def turn(self, count: int) -> dict[str, float]:
        submit = self._pool.submit
        return time_calls(lambda: submit(noop).result(), count)

    def close(self) -> None:
        self._pool.shutdown()


class Maps:
    """map() with one item a task, as each input is a task of its own."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(max_workers=2)
        self.turn(1_000)

    def turn(self, count: int) -> dict[str, float]:
        return time_map(lambda: self._pool.map(noop, range(count), chunksize=1))

    def close(self) -> None:
        self._pool.shutdown()
