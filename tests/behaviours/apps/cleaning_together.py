"""Inputs of one container, of which one takes a moment to clean up after itself."""

from __future__ import annotations

import asyncio

import volant

app = volant.App("cleaning-together")


@app.function(max_containers=1)
@volant.concurrent(max_inputs=2)
async def work(clean_up_s: float) -> None:
    try:
        print("begun", clean_up_s, flush=True)
        await asyncio.sleep(60.0)
    finally:
        await asyncio.sleep(clean_up_s)
        print("cleaned up", clean_up_s, flush=True)


if __name__ == "__main__":
    with app.run():
        print("running", flush=True)
        calls = [work.spawn(clean_up_s) for clean_up_s in (0.0, 0.2)]
        volant.FunctionCall.gather(*calls)
