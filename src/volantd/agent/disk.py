"""Keeps containers and build steps from filling the disk of the host.

Once a second the free space is looked at, which costs one system call. Below the reserve whoever
has written most is killed, and told so: a container, whose inputs run again elsewhere, a zygote
whose import wrote, with its containers, or a step of an image. Nobody is killed who explains
little of the shortage, nor anybody else while the files of the last one are being removed. A file
system shared by all containers has no quota of its own, so this is the limit they have together;
each file of a container is limited as well (`FILE_BYTES_MAX` in zygotes.py). What a function's
`ephemeral_disk` allows is measured as often, for its containers only: between two looks one can
write more.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from volantd.agent import written
from volantd.core import ExitCause

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.agent import Agent
    from volantd.agent.containers.running import Running
    from volantd.agent.images import Images
    from volantd.agent.tasks import Tasks
    from volantd.runtime.client import Zygote

    End = Callable[[str, int], None]

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
#: Who wrote less than this is not what fills the disk,
GUILTY_BYTES_MIN = 16 << 20
#: and neither is who wrote less than this share of what is missing.
GUILTY_SHARE = 0.05
#: Time that the files of who was killed get to be gone before somebody else is judged.
REMOVAL_S = 15.0


class DiskGuard:
    """Watches the file system that containers write to."""

    def __init__(
        self, agent: Agent, images: Images, tasks: Tasks, home: str, reserve_bytes: int
    ) -> None:
        self._agent = agent
        self._images = images
        self._tasks = tasks
        self._home = home
        self._reserve_bytes = reserve_bytes
        self._busy = False
        self._is_measuring = False
        #: What is being removed, and until when that is waited for.
        self._doomed = ""
        self._doomed_until = 0.0

    def watch(self) -> None:
        """Look now, and again in a while."""
        status = os.statvfs(self._home)
        shortage_bytes = self._reserve_bytes - status.f_bavail * status.f_frsize
        if shortage_bytes > 0 and not self._busy and not self._space_is_coming():
            self._busy = True
            self._tasks.start(self._relieve(shortage_bytes), "relieve-disk")
        limited = [one for one in self._agent.running() if one.disk_limit_bytes is not None]
        if limited and not self._is_measuring:
            self._is_measuring = True
            self._tasks.start(self._hold_to_limits(limited), "measure-disk")
        self._agent.hub.loop.call_later(LOOK_EVERY_S, self.watch)

    async def _hold_to_limits(self, limited: list[Running]) -> None:
        """Kill who has written more than its function may."""
        try:
            # What lies in its volumes is committed, and no part of its own disk.
            writers = [replace(_writer_of(one), more=()) for one in limited]
            sizes = await self._agent.hub.loop.run_in_executor(None, written.measure, writers)
            for running, size in zip(limited, sizes, strict=True):
                limit_bytes = running.disk_limit_bytes
                if limit_bytes is None or size <= limit_bytes:
                    continue
                if self._agent.has(running.container_id) and running.killed_for is None:
                    reason = (
                        f"it had written {size >> 20} MiB, and its ephemeral_disk is "
                        f"{limit_bytes >> 20} MiB"
                    )
                    self._agent.kill(running.container_id, reason, ExitCause.DISK_FULL)
        finally:
            self._is_measuring = False

    def _space_is_coming(self) -> bool:
        if not self._doomed or monotonic() > self._doomed_until:
            return False
        removing = self._agent.zygotes.machine.launcher.removing
        return self._doomed in removing or os.path.lexists(self._doomed)

    async def _relieve(self, shortage_bytes: int) -> None:
        """Kill who has written most."""
        try:
            writers = self._writers()
            sizes = await self._agent.hub.loop.run_in_executor(
                None, written.measure, [writer for writer, _ in writers]
            )
            index = guilty(sizes, shortage_bytes)
            if index is None:
                return  # it is not our containers that fill it
            writer, end = writers[index]
            self._doomed, self._doomed_until = writer.path, monotonic() + REMOVAL_S
            end(f"the disk was nearly full (less than {self._reserve_bytes >> 20} MiB left)",
                sizes[index])  # fmt: skip
        finally:
            self._busy = False

    def _writers(self) -> list[tuple[written.Writer, End]]:
        """Everybody who may have written, and how to end them."""
        running = self._agent.running()
        zygotes = self._agent.zygotes.alive()
        found: list[tuple[written.Writer, End]] = self._images.writers()
        # What containers wrote is not their zygote's, nor what those left that ended just now.
        paths = set(self._agent.zygotes.machine.launcher.removing)
        for one in running:
            writer = _writer_of(one)
            paths.add(writer.path)
            found.append((writer, partial(self._end_container, one)))
        pids = frozenset(writer.pid for writer, _ in found)
        for key, zygote in zygotes:
            writer = written.Writer(
                path=zygote.state_dir, pid=zygote.pid, others=frozenset(paths), other_pids=pids
            )
            found.append((writer, partial(self._end_zygote, key, zygote)))
        return found

    def _end_container(self, running: Running, why: str, size: int) -> None:
        if not self._agent.has(running.container_id):
            return  # it has ended while we measured
        fields = {"container_id": running.container_id, "bytes": size}
        log.warning("disk_nearly_full", extra={"fields": fields})
        reason = f"{why} and it had written the most ({size >> 20} MiB)"
        self._agent.kill(running.container_id, reason, ExitCause.DISK_FULL)

    def _end_zygote(self, key: str, zygote: Zygote, why: str, size: int) -> None:
        fields = {"zygote_id": zygote.zygote_id, "bytes": size}
        log.warning("disk_nearly_full", extra={"fields": fields})
        reason = f"{why} and the import of its program had written the most ({size >> 20} MiB)"
        self._agent.zygotes.on_note(key, reason)
        for running in self._agent.running():
            if running.prepared is not None and running.prepared.zygote is zygote:
                running.killed_for = ExitCause.DISK_FULL, reason
        zygote.kill()


def _writer_of(running: Running) -> written.Writer:
    assert running.child is not None
    forked = running.child.forked
    more = tuple(running.agent.volumes.written_by(running.container_id))
    return written.Writer(path=forked.scratch_path, pid=forked.pid, more=more)


def guilty(sizes: list[int], shortage_bytes: int) -> int | None:
    """The index of who has to end, given what each has written; None for nobody."""
    least = max(GUILTY_BYTES_MIN, int(shortage_bytes * GUILTY_SHARE))
    if not sizes or max(sizes) < least:
        return None
    return sizes.index(max(sizes))
