"""Background work of the daemon: tasks that may fail without taking the daemon along."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)


class Tasks:
    """Starts tasks in the daemon's one task group."""

    def __init__(self, group: asyncio.TaskGroup, after_events: Callable[[], None]) -> None:
        self._group = group
        self._after_events = after_events
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run `work` in the background; an exception is logged as a bug of ours."""
        task = self._group.create_task(self._guard(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def end(self) -> None:
        """Cancel what still runs: the daemon ends, and some of it may wait for what never comes."""
        for task in self._running:
            task.cancel()

    async def _guard(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except Exception:
            log.exception("task_failed", extra={"fields": {"task": name}})
        self._after_events()
