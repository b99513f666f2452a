"""Clocks of sandboxes, which stand still while these do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Does something once, when so much time has passed in which it went."""

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        """A clock that stands; `go` starts it."""
        self._loop = asyncio.get_running_loop()
        self._left_s = seconds
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def go(self) -> None:
        """Start it, or let it go on."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._left_s, self._act)

    def stop(self) -> None:
        """Have it stand still until `go`; for good, if that does not come."""
        if self._timer is not None:
            self._left_s = max(0.0, self._timer.when() - self._loop.time())
            self._timer.cancel()
            self._timer = None
