"""The same calls from asyncio: every blocking form has an `.aio` twin.

$ volant run examples/asynchronous.py
gathered: [1, 4, 9]
mapped: [0, 1, 4, 9, 16]
streamed: 3 2 1 lift-off
"""

import asyncio
from collections.abc import AsyncIterator

import volant

app = volant.App("asynchronous")


@app.function()
async def square(x: int) -> int:
    await asyncio.sleep(0.01)  # an async function runs on an event loop in its container
    return x * x


@app.function()
async def count_down(start: int) -> AsyncIterator[str]:
    for number in range(start, 0, -1):
        yield str(number)
    yield "lift-off"


@app.local_entrypoint()
async def main() -> None:
    gathered = await asyncio.gather(*(square.remote.aio(x) for x in (1, 2, 3)))
    print(f"gathered: {gathered}")
    print(f"mapped: {[result async for result in square.map.aio(range(5))]}")
    print("streamed:", *[word async for word in count_down.remote_gen.aio(3)])
