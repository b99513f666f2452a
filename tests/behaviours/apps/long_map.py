"""Doubles `count` inputs of `duration` seconds each and prints every result as it comes.

How it calls is the third argument: a sync or async map, over a list or an iterator that takes its
time; or single calls from tasks of an event loop, or from threads.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import volant

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("long-map")


@app.function(max_containers=2)
def wait_and_double(value: int, duration_s: float) -> int:
    time.sleep(duration_s)
    return 2 * value


@app.function(max_containers=1)
def count(stop: int, duration_s: float) -> Iterator[int]:
    for value in range(stop):
        yield 2 * value
        time.sleep(duration_s)


def slow_inputs(stop: int) -> Iterator[int]:
    for value in range(stop):
        time.sleep(0.001)
        yield value


def results(stop: int, duration_s: float, form: str) -> Iterator[int]:
    options = {"duration_s": duration_s}
    if form == "generator":
        yield from count.remote_gen(stop, duration_s)
    elif form == "threads":
        with ThreadPoolExecutor(8) as pool:
            yield from pool.map(lambda value: wait_and_double.remote(value, **options), range(stop))
    else:
        inputs = slow_inputs(stop) if form == "iterator" else range(stop)
        yield from wait_and_double.map(inputs, kwargs=options)


async def show_async(stop: int, duration_s: float, form: str) -> None:
    options = {"duration_s": duration_s}
    if form == "async map":
        async for result in wait_and_double.map.aio(range(stop), kwargs=options):
            print(result, flush=True)
    else:
        calls = [wait_and_double.remote.aio(value, **options) for value in range(stop)]
        for task in [asyncio.ensure_future(call) for call in calls]:
            print(await task, flush=True)


def main(stop: int, duration_s: float, form: str = "map") -> None:
    with app.run():
        print("running", flush=True)
        if form.startswith("async"):
            asyncio.run(show_async(stop, duration_s, form))
        else:
            for result in results(stop, duration_s, form):
                print(result, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])
