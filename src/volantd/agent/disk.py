"""Keeps containers from filling the disk of the host.

Once a second the free space is looked at, which costs one system call. Below the reserve the
container that has written most is killed, and told so; inputs it held run again elsewhere. A
file system shared by all containers has no quota of its own, so this is the limit they have
together; each file of a container is limited as well (`FILE_BYTES_MAX` in zygotes.py).
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volantd.agent.agent import Agent, Running
    from volantd.agent.tasks import Tasks

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
#: A container that wrote less than this is not what fills the disk.
GUILTY_BYTES_MIN = 16 << 20


class DiskGuard:
    """Watches the file system that containers write to."""

    def __init__(self, agent: Agent, tasks: Tasks, home: str, reserve_bytes: int) -> None:
        self._agent = agent
        self._tasks = tasks
        self._home = home
        self._reserve_bytes = reserve_bytes
        self._busy = False

    def watch(self) -> None:
        """Look now, and again in a while."""
        status = os.statvfs(self._home)
        if status.f_bavail * status.f_frsize < self._reserve_bytes and not self._busy:
            self._busy = True
            self._tasks.start(self._relieve(), "relieve-disk")
        self._agent.hub.loop.call_later(LOOK_EVERY_S, self.watch)

    async def _relieve(self) -> None:
        """Kill the container that has written most."""
        try:
            sizes: list[tuple[int, Running]] = []
            for running in self._agent.running():
                assert running.child is not None
                path = running.child.forked.scratch_path
                size = await self._agent.hub.loop.run_in_executor(None, bytes_below, path)
                sizes.append((size, running))
            sizes.sort(key=lambda pair: pair[0])
            if not sizes or sizes[-1][0] < GUILTY_BYTES_MIN:
                return  # it is not our containers that fill it
            written, running = sizes[-1]
            log.warning("disk_nearly_full", extra={"fields": {
                "container_id": running.container_id, "bytes": written,
            }})  # fmt: skip
            self._agent.kill(
                running.container_id,
                f"the disk was nearly full (less than {self._reserve_bytes >> 20} MiB left) and "
                f"it had written the most ({written >> 20} MiB)",
            )
        finally:
            self._busy = False


def bytes_below(path: str) -> int:
    """Bytes on disk of everything below a directory that may change or vanish meanwhile."""
    total = 0
    for parent, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except OSError:
                continue  # it is gone already
    return total
