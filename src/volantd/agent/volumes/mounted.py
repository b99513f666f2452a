"""The volumes of containers: mounted before their code begins, committed while it runs and after.

    start ─► views ─► mounted by the launcher ─► START
    every few seconds, and when the code asks ─► commit
    reload ─► commit ─► a fresh view, mounted in place of the one before ─► late writes committed
    end ─► last commit, by taking over what was written ─► who waits for the end is told

A container that is killed is committed as well: what it wrote lies on this machine.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.errors import ConflictError, Error, ExecutionError, InvalidError, NotFoundError
from volant.wire.faults import error_fault
from volantd.agent.volumes import users
from volantd.agent.volumes.buckets import Buckets
from volantd.core.volumes.entries import parts_of
from volantd.hub.volumes.answering import KIND, in_words
from volantd.runtime.client import BusyError, PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    import asyncio

    from volantd.agent.agent import Agent
    from volantd.agent.containers.running import Running
    from volantd.agent.tasks import Tasks
    from volantd.hub.records import App
    from volantd.runtime.client import ForkedContainer
    from volantd.volumes.mounts import Mount, View
    from volantd.volumes.service import Volumes

log = logging.getLogger(__name__)

#: How often a container's volumes are committed by themselves.
BACKGROUND_S = 5.0
#: Of the time that a look at what was written takes, so many times as long goes by until the next.
BACKGROUND_SHARE = 20.0


class MountedVolumes:
    """The volumes of all containers."""

    def __init__(self, agent: Agent, tasks: Tasks) -> None:
        self._agent = agent
        self._tasks = tasks
        self._buckets = Buckets(agent, self._say)
        #: By container, and by volume.
        self._mounts: dict[str, dict[str, Mount]] = {}
        #: Apps of containers whose last commit is being made.
        self._ending: list[App] = []

    @property
    def _volumes(self) -> Volumes:
        return self._agent.hub.services.volumes

    # -- the start

    async def mount(self, running: Running, forked: ForkedContainer) -> None:
        """Give a container that has not begun the volumes of its function.

        Raises:
            PrepareFailedError: when that can never be done.
            RuntimeFailedError: when it was not done now.
        """
        wanted: list[dict[str, Any]] = running.function.options["volumes"]
        if not wanted:
            return
        if self._agent.machine.rung.result() != "container":
            raise _failed(ExecutionError(
                "volumes are mounted into containers, and here functions are plain processes",
                hint="`volant server status` says what this machine lacks",
            ))  # fmt: skip
        mounts: dict[str, Mount] = {}
        rows = []
        try:
            await self._volumes.opened
            for one in sorted(wanted, key=lambda one: one["path"].count("/")):
                if "bucket" in one:
                    rows.append(await self._buckets.open(running, one))
                    continue
                mount = mounts[one["volume"]] = await self._open(running, one)
                rows.append(row_of(mount, mount.view))
            await self._agent.machine.launcher.mount(forked, rows)
            if forked.exited.done():
                raise RuntimeFailedError("it ended while its volumes were mounted")
        except BaseException as error:
            self._buckets.close(running.container_id)
            await self._close(mounts)
            if isinstance(error, Error):
                raise _failed(error) from error
            if isinstance(error, Exception) and not isinstance(error, RuntimeFailedError):
                raise _failed(in_words(error)) from error
            raise
        self._mounts[running.container_id] = mounts
        self._plan(running)

    async def _open(self, running: Running, wanted: dict[str, Any]) -> Mount:
        await self._agent.hub.objects.opened
        self._agent.hub.objects.find(KIND, wanted["volume"])
        return await self._volumes.mounts.open(
            wanted["volume"], wanted["path"], parts_of(wanted["sub_path"]),
            read_only=wanted["read_only"], made_by=running.container_id,
        )  # fmt: skip

    async def _close(self, mounts: dict[str, Mount]) -> None:
        for mount in mounts.values():
            await self._volumes.mounts.close(mount)

    # -- meanwhile

    def _plan(self, running: Running) -> None:
        """Commit what a container has written, in a while."""
        mounts = self._mounts.get(running.container_id, {})
        if any(not mount.is_read_only for mount in mounts.values()):
            slowest_s = max(mount.scan_s for mount in mounts.values())
            delay_s = max(BACKGROUND_S, slowest_s * BACKGROUND_SHARE)
            self._agent.hub.loop.call_later(delay_s, self._commit_later, running)

    def _commit_later(self, running: Running) -> None:
        if running.container_id in self._mounts:
            self._tasks.start(self._commit_all(running), "commit-volumes")

    async def _commit_all(self, running: Running) -> None:
        for mount in list(self._mounts.get(running.container_id, {}).values()):
            try:
                await self._commit(running, mount, "in the background", waits=True)
            except Error as error:  # the next time, or the end, may do better
                fields = {"container_id": running.container_id, "error": str(error)}
                log.warning("background_commit_failed", extra={"fields": fields})
        self._plan(running)

    async def _commit(self, running: Running, mount: Mount, action: str, **how: bool) -> None:
        try:
            self._agent.hub.objects.find(KIND, mount.volume_id)
            _, passed_over = await self._volumes.mounts.commit(mount, action=action, **how)
        except Error:
            raise
        except Exception as error:
            raise in_words(error) from error
        if passed_over:
            names = ", ".join(repr(name) for name in passed_over)
            self._say(running, (
                f"{names} in {mount.target} cannot be kept in a volume: only files, directories "
                "and links that the daemon may read can"
            ))  # fmt: skip

    def _say(self, running: Running, text: str) -> None:
        line = f"volant: {text}\n".encode("utf-8", "replace")
        self._agent.logs.append(running.function, running.container_id, "stderr", line)

    def _mount_of(self, container_id: str, volume_id: str) -> Mount:
        found = self._mounts.get(container_id, {}).get(volume_id)
        if found is None:
            raise InvalidError(
                f"volume {volume_id} is not mounted in this container",
                hint="give it to the function: volumes={'/data': volume}",
            )
        return found

    async def commit(self, container_id: str, volume_id: str) -> None:
        """Commit what a container has written to a volume.

        Raises:
            InvalidError: when it is not mounted there.
            Error: when it cannot be committed.
        """
        mount = self._mount_of(container_id, volume_id)
        await self._commit(self._agent.find(container_id), mount, "by commit()")

    async def reload(self, container_id: str, volume_id: str) -> None:
        """Have a container see what others have committed; what it wrote is committed.

        Raises:
            ConflictError: while files of the volume are open there.
            InvalidError: when it is not mounted there.
            Error: when it cannot be committed, or mounted anew.
        """
        mount = self._mount_of(container_id, volume_id)
        running = self._agent.find(container_id)
        assert running.child is not None
        forked = running.child.forked
        await self._commit(running, mount, "before reload()")
        view = await self._volumes.mounts.fresh_view(mount)
        try:
            row = {**row_of(mount, view), "again": True}
            await self._agent.machine.launcher.mount(forked, [row])
        except BaseException as error:
            await self._volumes.mounts.discard(view)
            if isinstance(error, BusyError):
                raise ConflictError(
                    f"volume busy: {await users.in_words(forked.pid, mount.target)}",
                    hint="close the volume's files before it is reloaded",
                ) from None
            if isinstance(error, RuntimeFailedError):
                raise ExecutionError(f"the volume was not reloaded: {error}") from error
            raise
        # What was written between the commit and the end of that mount is not in sight any more.
        await self._commit(running, mount, "before reload()", is_still=True)
        await self._volumes.mounts.adopt(mount, view)

    # -- the end

    def end(self, running: Running) -> asyncio.Future[None]:
        """Commit what a container that has ended wrote, and forget it; done when that is done."""
        committed = self._agent.hub.loop.create_future()
        self._buckets.close(running.container_id)
        mounts = self._mounts.pop(running.container_id, None)
        if mounts is None:
            committed.set_result(None)
        else:
            self._ending.append(running.function.app)
            self._tasks.start(self._end(running, mounts, committed), "end-volumes")
        return committed

    async def _end(
        self, running: Running, mounts: dict[str, Mount], committed: asyncio.Future[None]
    ) -> None:
        begun = monotonic()
        try:
            for mount in mounts.values():
                try:
                    await self._commit(running, mount, "at the container's end", is_still=True)
                except NotFoundError:
                    self._say(running, f"{mount.target}: its volume was deleted")
                except Exception as error:
                    log.exception("last_commit_failed")
                    self._say(running, f"what was written to {mount.target} is lost: {error}")
            await self._close(mounts)
        finally:
            self._ending.remove(running.function.app)
            committed.set_result(None)
            fields = {"container_id": running.container_id, "took_s": monotonic() - begun}
            log.info("volumes_committed", extra={"fields": fields})
            self._agent.volumes_committed()

    def is_committing(self, app: App | None) -> bool:
        """Whether containers of an app, or of any, have volumes that are not committed yet."""
        return any(app in (None, one) for one in self._ending)

    def written_by(self, container_id: str) -> list[str]:
        """The directories of this machine that a container writes to through its volumes."""
        mounts = self._mounts.get(container_id, {}).values()
        return [mount.view.directory for mount in mounts if mount.view.directory]


def row_of(mount: Mount, view: View) -> dict[str, Any]:
    """What the launcher is told of a volume that is to be mounted."""
    return {
        "target": mount.target, "layers": view.checkout.layers(), "writable": view.directory,
        "again": False,
    }  # fmt: skip


def _failed(error: Error) -> PrepareFailedError:
    return PrepareFailedError(error_fault(error))
