"""Dicts and queues of Volant as a contestant: changes that are on the disk when they return."""

from __future__ import annotations

import time
from typing import Any

import volant
from benchmarks.contestants.timing import time_calls, time_rate
from benchmarks.harness.figures import percentile
from volant.channel import current

#: Between two values that a blocked getter gets, so that it is blocked again.
PAUSE_S = 0.003
NAME = "bench"


class Objects:
    """Puts and gets."""

    def __init__(self) -> None:
        self.entries = volant.Dict.from_name(NAME, create_if_missing=True)
        self.line = volant.Queue.from_name(NAME, create_if_missing=True)

    def turn(self, what: str, count: int) -> dict[str, Any]:
        if what == "dict":
            return time_calls(self._put_and_get, count)
        if what == "queue":
            return time_rate(self._pass_many, count, 1000)
        for _ in range(count):
            time.sleep(PAUSE_S)
            self.line.put(time.monotonic_ns(), partition="waited-for")
        return {}

    def _put_and_get(self) -> None:
        self.entries.put("key", 7)
        assert self.entries.get("key") == 7

    def _pass_many(self) -> None:
        self.line.put_many(range(1000))
        assert len(self.line.get_many(1000)) == 1000

    def close(self) -> None:
        current.forget()


class Getter:
    """Waits for values, in a process of its own."""

    def __init__(self) -> None:
        self.line = volant.Queue.from_name(NAME, create_if_missing=True)

    def turn(self, count: int) -> dict[str, Any]:
        taken = [
            time.monotonic_ns() - begun
            for begun in (self.line.get(partition="waited-for") for _ in range(count))
        ]
        return {"p50_us": percentile(taken, 0.5) / 1e3}

    def close(self) -> None:
        current.forget()
