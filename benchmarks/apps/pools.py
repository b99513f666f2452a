"""Functions whose inputs are taken together, or run beside each other."""

from __future__ import annotations

import asyncio
import time

import volant

app = volant.App("pools")

#: What a call of the batched function and of its twin costs, however many inputs it has.
FIXED_S = 0.005


@app.function(min_containers=1, max_containers=1)
def single(value: int) -> int:
    time.sleep(FIXED_S)
    return value


@app.function(min_containers=1, max_containers=1)
@volant.batched(max_batch_size=32, wait_ms=50)
def together(values: list[int]) -> list[int]:
    time.sleep(FIXED_S)
    return values


@app.function(min_containers=1, max_containers=1)
@volant.concurrent(max_inputs=200)
async def nap(duration_s: float) -> None:
    await asyncio.sleep(duration_s)
