"""Memory snapshots of sandboxes: what was taken of one, from which others are made later.

    take ─► memory, files and a record, below the directory of the run ─► sandboxes, many of one
                └─ their time is over, or the daemon ends: gone

As sandboxes do, they end with their daemon: memory holds secrets, and is not kept where those are
sealed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import ExecutionError, NotFoundError, ResourceExhaustedError
from volantd import patience
from volantd.agent.sandboxes.snapshots import ITS_OWN
from volantd.hub.sandboxes.record import Sandbox
from volantd.images.kept.books import wall_clock
from volantd.images.kept.copying import Copy
from volantd.runtime.copies.asked import CopyFailedError
from volantd.runtime.copies.entering import first_id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volantd.agent.sandboxes.commands import Executions
    from volantd.agent.sandboxes.copies.forking import Copier
    from volantd.agent.sandboxes.copies.taking import Taken
    from volantd.agent.sandboxes.live import Live
    from volantd.agent.sandboxes.outlets import Outlets
    from volantd.egress.authority import Authority
    from volantd.hub.hub import Hub
    from volantd.hub.records import App
    from volantd.runtime.containers.forked import ForkedContainer
    from volantd.runtime.copies.restored import RestoredProgram

    #: Brings something into a sandbox that is being made, and says what its program is.
    MoveIn = Callable[[Live], Awaitable[RestoredProgram | None]]

log = logging.getLogger(__name__)

#: Seven days.
TTL_S = 7 * 86400.0
#: Those that are kept at a time.
SNAPSHOTS_MAX = 100
#: Where memory and files lie in the directory of one.
_MEMORY, _FILES = "memory", "files"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemorySnapshot:
    """What was taken of a sandbox.

    Attributes:
        source: the sandbox, which may have finished.
        place: the directory in which it lies.
        parts: directories of what had been written, and what they were in the sandbox.
        authority: whom its programs trust besides everybody else; None for nobody.
        turn: held by who makes a sandbox of it, as CRIU changes owners in there.
    """

    snapshot_id: str
    source: Sandbox
    place: str
    taken: Taken
    parts: tuple[tuple[str, str], ...]
    authority: Authority | None
    created_at: float
    turn: asyncio.Lock

    def row(self) -> dict[str, Any]:
        """For a reply."""
        return {
            "snapshot_id": self.snapshot_id, "sandbox_id": self.source.sandbox_id,
            "app_id": self.source.app.app_id, "created_at": self.created_at,
            "expires_at": self.created_at + TTL_S,
        }  # fmt: skip


class CopiedSandboxes:
    """Makes forks and memory snapshots of sandboxes, and sandboxes of these."""

    def __init__(
        self, hub: Hub, copier: Copier, outlets: Outlets,
        started: Callable[[Sandbox], Awaitable[tuple[Live, Executions]]],
        start: Callable[[Sandbox, MoveIn], None], has_images: Callable[[Sandbox], bool],
    ) -> None:  # fmt: skip
        """Take over what the service of sandboxes does.

        Args:
            hub: of this daemon.
            copier: copies.
            outlets: of sandboxes.
            started: waits until a sandbox has started, and raises when it has finished.
            start: starts one into which something is brought.
            has_images: whether images were mounted in one.
        """
        self._hub = hub
        self._copier = copier
        self._outlets = outlets
        self._started = started
        self._start = start
        self._has_images = has_images
        self._kept: dict[str, MemorySnapshot] = {}

    async def fork(self, source: Sandbox, sandbox_id: str, name: str | None) -> Sandbox:
        """A copy of a sandbox, which begins to start.

        Raises:
            AlreadyExistsError: when its app has a sandbox of this name.
            InvalidError, ExecutionError: when the sandbox has finished, or cannot be copied.
        """
        live = await self._checked(source)

        async def move_in(copy: Live) -> RestoredProgram | None:
            return await self._copier.move(live, copy)

        authority = self._outlets.authority_of(source.sandbox_id)
        return self._begin(source, authority, source.app, sandbox_id, name, move_in)

    async def snapshot(self, source: Sandbox) -> MemorySnapshot:
        """A memory snapshot of a sandbox, which goes on.

        Raises:
            ResourceExhaustedError: when there are as many as there may be.
            InvalidError, ExecutionError: when the sandbox has finished, or cannot be copied.
        """
        live = await self._checked(source)
        if len(self._kept) >= SNAPSHOTS_MAX:
            raise ResourceExhaustedError(
                f"{SNAPSHOTS_MAX} memory snapshots of sandboxes are kept, which is the most",
                hint="they go after 7 days, and with the daemon",
            )
        place = self._copier.new_place()
        memory = os.path.join(place, _MEMORY)
        found: list[tuple[str, str]] = []

        async def copy_files(old: ForkedContainer, parts: list[tuple[str, str]]) -> None:
            first_id = first_id_of(old.pid)
            for index, (path, inside) in enumerate(parts):
                found.append((os.path.join(place, _FILES, str(index)), inside))
                leave_out = () if index else ITS_OWN
                await patience.on_thread(_copy, path, found[-1][0], first_id, leave_out)

        try:
            os.mkdir(memory, 0o700)
            taken = await self._copier.take(live, memory, copy_files)
        except BaseException:
            await patience.on_thread(shutil.rmtree, place, ignore_errors=True)
            raise
        made = MemorySnapshot(
            snapshot_id=ids.new_id("sn"), source=source, place=place, taken=taken,
            parts=tuple(found), authority=self._outlets.authority_of(source.sandbox_id),
            created_at=wall_clock(), turn=asyncio.Lock(),
        )  # fmt: skip
        self._kept[made.snapshot_id] = made
        self._hub.loop.call_later(TTL_S, self._expire, made)
        return made

    async def _checked(self, source: Sandbox) -> Live:
        live, _ = await self._started(source)
        await self._copier.check(live, has_images=self._has_images(source))
        await self._started(source)
        return live

    def find(self, snapshot_id: str) -> MemorySnapshot:
        """The snapshot of an id.

        Raises:
            NotFoundError: when there is none, or its time is over.
        """
        found = self._kept.get(snapshot_id)
        if found is None:
            raise NotFoundError(
                f"there is no memory snapshot {snapshot_id[:100]!r}",
                hint="they are kept for 7 days, and end with the daemon",
            )
        return found

    def restore(
        self, snapshot: MemorySnapshot, app: App, sandbox_id: str, name: str | None
    ) -> Sandbox:
        """A sandbox of a memory snapshot, which begins to start.

        Raises:
            AlreadyExistsError: when the app has a sandbox of this name.
        """

        async def move_in(copy: Live) -> RestoredProgram | None:
            async with snapshot.turn:
                try:
                    await self._copier.fill(copy, snapshot.parts, first_id=0)
                except CopyFailedError as error:
                    text = f"snapshot {snapshot.snapshot_id} cannot be restored: {error}"
                    raise ExecutionError(text) from error
                return await self._copier.bring(copy, snapshot.taken)

        source, authority = snapshot.source, snapshot.authority
        return self._begin(source, authority, app, sandbox_id, name, move_in)

    def _begin(
        self, source: Sandbox, authority: Authority | None, app: App, sandbox_id: str,
        name: str | None, move_in: MoveIn,
    ) -> Sandbox:  # fmt: skip
        function = dataclasses.replace(
            source.function, app=app, function_id=ids.new_id("fu"), object_id=""
        )
        copy = Sandbox(
            sandbox_id=sandbox_id, app=app, function=function, name=name, sponsor=source.sponsor,
            tags=dict(source.tags), argv=source.argv, workdir=source.workdir,
            runtime=source.runtime,
            timeout_s=source.timeout_s, idle_timeout_s=source.idle_timeout_s, terminal=None,
            ports=source.ports, probe=source.probe, outbound=source.outbound,
            inbound=source.inbound, leaves_image=source.leaves_image,
        )  # fmt: skip
        self._hub.sandboxes.add(copy)
        if authority is not None:  # or its programs would not trust who stands in for domains
            self._outlets.expect(sandbox_id, authority)
            copy.finished.add_done_callback(lambda _: self._outlets.close(sandbox_id))
        self._start(copy, move_in)
        return copy

    def _expire(self, snapshot: MemorySnapshot) -> None:
        log.info("snapshot_expired", extra={"fields": {"snapshot_id": snapshot.snapshot_id}})
        del self._kept[snapshot.snapshot_id]
        self._hub.loop.run_in_executor(None, _remove, snapshot.place)

    def sources(self) -> list[Sandbox]:
        """Sandboxes whose images snapshots need."""
        return [one.source for one in self._kept.values()]


def _copy(source: str, target: str, first_id: int, leave_out: tuple[str, ...]) -> None:
    """On a thread: copy what a sandbox wrote, with the owners that it sees."""
    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
    Copy(target, first_id).add(source, leave_out=leave_out)


def _remove(place: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
