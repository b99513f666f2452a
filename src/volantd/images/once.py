"""Work that is done once however many want it at once, and heard by all of them.

It is theirs: when the last of them stops waiting, it is cancelled.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from volantd.patience import ended

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from volantd.images.workbench import Say

T = TypeVar("T")


@dataclass(slots=True)
class _Work(Generic[T]):
    """Work that runs, and who hears what it prints: whoever waits for it."""

    task: asyncio.Task[T]
    listeners: list[Say] = field(default_factory=list)
    #: whether nobody waited for it any more, so that it is being cancelled
    is_given_up: bool = False


class Once(Generic[T]):
    """Runs pieces of work by name: whoever asks for one that runs waits for its result."""

    def __init__(self) -> None:
        self._running: dict[str, _Work[T]] = {}

    async def get(self, name: str, work: Callable[[Say], Coroutine[Any, Any, T]], say: Say) -> T:
        """The result of the work of this name.

        It goes on when this one stops waiting, for as long as others do. The last one to stop
        cancels it, and waits until it has ended; whoever asks meanwhile begins it anew after that.

        Args:
            name: equal names are the same work.
            work: begins it, given what everybody hears who waits for it.
            say: hears what it prints from now on.
        """
        while (running := self._running.get(name)) is not None and running.is_given_up:
            await ended(running.task)
            self._forget(name, running)
        if running is None:
            running = self._begin(name, work)
        running.listeners.append(say)
        try:
            return await asyncio.shield(running.task)
        finally:
            running.listeners.remove(say)
            if not running.listeners and not running.task.done():
                running.is_given_up = True
                running.task.cancel()
                await ended(running.task)

    def _begin(self, name: str, work: Callable[[Say], Coroutine[Any, Any, T]]) -> _Work[T]:
        listeners: list[Say] = []

        def tell(data: bytes) -> None:
            for listener in listeners:
                listener(data)

        task = asyncio.get_running_loop().create_task(work(tell))
        running = self._running[name] = _Work(task, listeners)
        task.add_done_callback(lambda _: self._forget(name, running))
        return running

    def _forget(self, name: str, work: _Work[T]) -> None:
        if self._running.get(name) is work:
            del self._running[name]
