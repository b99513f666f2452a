"""Telling a client that something still goes on, so that nobody gives it up."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mcp.server.mcpserver import Context

#: Seconds between two notes; clients give up requests after 30 or 60 without one.
EVERY_S = 5


@asynccontextmanager
async def progress(
    ctx: Context[Any, Any], what: str, more: Callable[[], str] = str
) -> AsyncIterator[None]:
    """Tell at once and then every `EVERY_S` seconds that the block goes on, if the client asked.

    Args:
        ctx: of the request.
        what: goes on.
        more: what is known of it by then; "" for nothing.
    """
    telling = asyncio.create_task(_tell(ctx, what, more))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(ctx: Context[Any, Any], what: str, more: Callable[[], str]) -> None:
    seconds = 0
    while True:
        known = more()
        said = f"{what}: {seconds} s" + (f", {known}" if known else "")
        await ctx.report_progress(seconds, message=said)
        await asyncio.sleep(EVERY_S)
        seconds += EVERY_S
