"""Waiting for what cannot be broken off: whoever is cancelled meanwhile ends when that has ended.

So what a cancelled task cleans up stays clean: nobody goes on to write behind its back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def on_thread(work: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> T:
    """What blocking work returns, done on a thread.

    Cancelled, it waits for the thread all the same; what that returns or raises is then lost.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *given, **named))
    try:
        return await asyncio.shield(running)
    finally:
        await ended(running)


async def ended(task: asyncio.Future[T]) -> None:
    """Wait until a task is done, whatever comes of it."""
    if not task.done():
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # told to whoever waited for it; if nobody does, it is no news
