"""Functions that are awaited, and cancelled."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import volant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

app = volant.App("awaiting")
endings: list[str] = []


@app.function(max_containers=4)
def double(value: int) -> int:
    return 2 * value


@app.function(max_containers=1)
def wait_sync(duration_s: float) -> list[str]:
    """Sleeps; with 0 tells how the inputs before it ended."""
    if not duration_s:
        return endings
    print(f"begun {duration_s}", flush=True)
    try:
        time.sleep(duration_s)
    except BaseException as error:
        endings.append(type(error).__name__)
        raise
    return []


@app.function(max_containers=1)
async def wait_async(duration_s: float) -> list[str]:
    if not duration_s:
        return endings
    print(f"begun {duration_s}", flush=True)
    try:
        await asyncio.sleep(duration_s)
    except BaseException as error:
        endings.append(type(error).__name__)
        raise
    return []


@app.function(max_containers=1)
def count(stop: int) -> Iterator[int]:
    try:
        for number in range(stop):
            yield number
            time.sleep(0.01)
    except BaseException as error:
        endings.append(type(error).__name__)
        raise


@app.function(max_containers=1)
async def count_async(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number
        await asyncio.sleep(0)


@app.function(max_containers=1)
async def same_loop() -> int:
    """One loop serves every input of a container."""
    return id(asyncio.get_running_loop())


@app.function(max_containers=1)
async def call_from_a_task(value: int) -> list[int]:
    """Nested calls, at once, from an async function."""
    return await asyncio.gather(*(double.remote.aio(value + more) for more in range(3)))
