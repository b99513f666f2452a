"""Spawned calls: how long until one is acknowledged, which means that it is on the disk."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from benchmarks.apps.noop import app, noop
from benchmarks.contestants.timing import time_calls
from benchmarks.contestants.volant_side import Running


class Spawns(Running):
    """An app that runs, and calls of it that are spawned."""

    def __init__(self) -> None:
        super().__init__(app)
        noop.spawn().get()

    def turn(self, what: str, count: int) -> dict[str, Any]:
        if what == "one":
            return time_calls(noop.spawn, count)
        return asyncio.run(self._many(count))

    @staticmethod
    async def _many(count: int) -> dict[str, float]:
        begun = perf_counter()
        calls = await asyncio.gather(*(noop.spawn.aio() for _ in range(count)))
        acknowledged = perf_counter() - begun
        await calls[-1].get.aio()
        return {"rate": count / acknowledged}
