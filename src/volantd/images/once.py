"""Work that is done once however many want it at once, and heard by all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from volantd.images.workbench import Say

T = TypeVar("T")


@dataclass(slots=True)
class _Work(Generic[T]):
    """Work that runs, and who hears what it prints."""

    task: asyncio.Task[T]
    listeners: list[Say] = field(default_factory=list)


class Once(Generic[T]):
    """Runs pieces of work by name: whoever asks for one that runs waits for its result."""

    def __init__(self) -> None:
        self._running: dict[str, _Work[T]] = {}

    async def get(self, name: str, work: Callable[[Say], Coroutine[Any, Any, T]], say: Say) -> T:
        """The result of the work of this name; it goes on when this one stops waiting.

        Args:
            name: equal names are the same work.
            work: begins it, given what everybody hears who waits for it.
            say: hears what it prints from now on.
        """
        running = self._running.get(name)
        if running is None:
            listeners: list[Say] = []

            def tell(data: bytes) -> None:
                for listener in listeners:
                    listener(data)

            task = asyncio.get_running_loop().create_task(work(tell))
            task.add_done_callback(lambda _: self._running.pop(name, None))
            running = self._running[name] = _Work(task, listeners)
        running.listeners.append(say)
        try:
            return await asyncio.shield(running.task)
        finally:
            running.listeners.remove(say)
