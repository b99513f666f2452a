"""Functions that share dicts and queues with whoever calls them.

Run as a program, it puts values of its own classes, which containers and their callers open.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import volant

app = volant.App("storing")


@dataclass
class Page:
    """Known here as `__main__.Page` when this file is run, and by its module elsewhere."""

    url: str


@app.function()
def note(found: volant.Dict, key: str, value: Any) -> volant.Dict:
    found[key] = value
    return found


@app.function()
def move(source: volant.Queue, target: volant.Queue, count: int) -> list[Any]:
    values = source.get_many(count)
    target.put_many(values)
    return values


@app.function()
async def move_async(source: volant.Queue, target: volant.Queue) -> Any:
    value = await source.get.aio()
    await target.put.aio(value)
    return value


@app.function()
def take_lock(locks: volant.Dict, who: int) -> bool:
    return locks.put("lock", who, skip_if_exists=True)


@app.function()
def unpack(handles: volant.Dict, key: str) -> Any:
    """Use the handle that lies in a dict."""
    return handles[key].get()


@app.function()
def find_by_name(name: str) -> int:
    found = volant.Dict.from_name(name)
    found["from inside"] = found.pop("from outside") + 1
    return len(found)


@app.function()
def change_page(pages: volant.Dict) -> Page:
    found: Page = pages["page"]
    pages["changed"] = Page(found.url + "/inside")
    return found


@app.function()
def use_an_ephemeral_one() -> str:
    with volant.Queue.ephemeral() as queue:
        queue.put("own")
        return str(queue.get())


def main() -> None:
    with app.run(), volant.Dict.ephemeral() as pages:
        pages["page"] = Page("a")
        assert change_page.remote(pages) == Page("a")
        assert pages["changed"] == Page("a/inside"), pages["changed"]

    async def aio() -> None:
        async with volant.Queue.ephemeral() as queue:
            await queue.put.aio(Page("b"))
            assert await queue.get.aio() == Page("b")

    asyncio.run(aio())
    print("well")


if __name__ == "__main__":
    main()
