"""The sandboxes of one server: made, found again by their ids, counted, ended.

An id leads to a sandbox only if that is one of the server's app, and to a snapshot only if it was
made by this server: a client cannot reach others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import NotFoundError, ResourceExhaustedError
from volant.sdk.objects.asking import ask, awaited
from volant.sdk.sandboxes.sandbox import Sandbox

if TYPE_CHECKING:
    from volant.cli.commands.mcp.offer import Offer
    from volant.sdk.app import App
    from volant.sdk.images.image import Image
    from volant.sdk.objects.asking import Steps

#: Snapshots of one server.
SNAPSHOTS_MAX = 64
#: Seconds that a snapshot is kept, also when its server has ended.
SNAPSHOT_TTL_S = 7 * 86400


class Book:
    """The sandboxes of an app."""

    def __init__(self, app: App, offer: Offer) -> None:
        self._app = app
        self._offer = offer
        self._handles: dict[str, Sandbox] = {}
        #: How many are being made.
        self._begun = 0
        self._snapshots: dict[str, Image] = {}

    async def make(self, **described: Any) -> Sandbox:
        """Make a sandbox, as `Sandbox.create` does.

        Raises:
            ResourceExhaustedError: when as many live as may.
            Error: what `Sandbox.create` raises.
        """
        most = self._offer.sandboxes_max
        if await self._held() >= most:
            raise ResourceExhaustedError(
                f"{most} sandboxes live already, or are being made",
                hint="stop_sandbox ends one that is not needed",
            )
        self._begun += 1
        try:
            sandbox = await Sandbox.create.aio(app=self._app, **described)
        finally:
            self._begun -= 1
        self._handles[sandbox.object_id] = sandbox
        return sandbox

    async def _held(self) -> int:
        """How many live or are being made, each once, whatever else happens while this asks."""
        known = set(self._handles)
        living = {row["sandbox_id"] for row in await self.rows()}
        for sandbox_id in known - living:
            self._handles.pop(sandbox_id, None)
        if not self._begun:  # so these are of a server before this one
            for sandbox_id in living - self._handles.keys():
                self._handles[sandbox_id] = Sandbox(sandbox_id)
        return len(self._handles) + self._begun

    async def rows(self) -> list[dict[str, Any]]:
        """What is known of those that live, the newest last."""
        return await awaited(_rows(self._app))

    async def find(self, sandbox_id: str) -> Sandbox:
        """The sandbox of an id.

        Raises:
            NotFoundError: when the app has none of this id that lives.
        """
        living = [row["sandbox_id"] for row in await self.rows()]
        if sandbox_id not in living:
            self._handles.pop(sandbox_id, None)
            raise NotFoundError(
                f"no sandbox {sandbox_id!r} lives here",
                hint=f"there is {', '.join(living)}" if living else "create_sandbox makes one",
            )
        return self._handles.setdefault(sandbox_id, Sandbox(sandbox_id))

    async def keep_files(self, sandbox_id: str) -> str:
        """Make a snapshot of what a sandbox has in its files; returns its id.

        Raises:
            NotFoundError: when the app has none of this id that lives.
            ResourceExhaustedError: when there are as many snapshots as may be.
            Error: what `Sandbox.snapshot_filesystem` raises.
        """
        sandbox = await self.find(sandbox_id)
        if len(self._snapshots) >= SNAPSHOTS_MAX:
            raise ResourceExhaustedError(f"{SNAPSHOTS_MAX} snapshots were made already")
        image = await sandbox.snapshot_filesystem.aio(ttl=SNAPSHOT_TTL_S)
        assert image.object_id is not None
        self._snapshots[image.object_id] = image
        return image.object_id

    def snapshot(self, snapshot_id: str) -> Image:
        """The snapshot of an id.

        Raises:
            NotFoundError: when this server has made none of this id.
        """
        if snapshot_id not in self._snapshots:
            raise NotFoundError(f"there is no snapshot {snapshot_id!r} of this server")
        return self._snapshots[snapshot_id]

    async def stop(self, sandbox_id: str) -> None:
        """End a sandbox, and return when nothing of it runs any more.

        Raises:
            NotFoundError: when the app has none of this id that lives.
        """
        sandbox = await self.find(sandbox_id)
        await sandbox.terminate.aio(wait=True)
        self._handles.pop(sandbox_id, None)


def _rows(app: App) -> Steps[list[dict[str, Any]]]:
    reply = yield ask("sandbox_list", app_id=app.app_id, tags={}, with_finished=False)
    rows: list[dict[str, Any]] = [row for row in reply["sandboxes"] if not row["sidecar_of"]]
    return rows
