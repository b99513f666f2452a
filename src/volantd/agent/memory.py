"""Gives memory back that only waits: zygotes that no container uses, when the machine has little.

A zygote is kept after its last container so that the next call starts in milliseconds, and one with
a snapshot may hold a large model. That is worth its memory until somebody needs it: below a reserve
what was made ahead for sandboxes goes first, and then the zygote that was used longest ago, one at
each look, until there is enough again.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from volantd.agent.zygotes import ZygoteStore

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class MemoryGuard:
    """Watches the memory of the machine."""

    def __init__(
        self, zygotes: ZygoteStore, loop: asyncio.AbstractEventLoop, reserve_bytes: int,
        available: Callable[[], int] | None = None,
        end_ahead: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """Watch nothing yet.

        Args:
            zygotes: those that may go.
            loop: where it is watched.
            reserve_bytes: how much is to be free.
            available: how many bytes are free or could be, by default what the kernel says.
            end_ahead: ends what was made ahead for sandboxes; whether there was any.
        """
        self._zygotes = zygotes
        self._loop = loop
        self._reserve_bytes = reserve_bytes
        self._end_ahead = end_ahead
        self._available = available or available_bytes

    def watch(self) -> None:
        """Look now, and again in a while."""
        self.look()
        self._loop.call_later(LOOK_EVERY_S, self.watch)

    def look(self) -> None:
        """End a zygote if memory is short."""
        available = self._available()
        if available >= self._reserve_bytes or self._end_ahead():
            return
        if self._zygotes.evict_oldest():
            log.info("zygote_evicted", extra={"fields": {"available_bytes": available}})


def private_bytes(pid: int) -> int:
    """Memory that a process has for itself: resident minus shared; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def available_bytes() -> int:
    """Memory that programs can have without swapping; `MemAvailable` of proc(5)."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) << 10
    return 1 << 62  # a kernel before 3.14 does not say
