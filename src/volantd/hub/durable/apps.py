"""Apps that are not deployed and have durable calls: kept, so that these can be run again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from volant.wire import values
from volantd.hub.deployed import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.hub import Hub
    from volantd.hub.records import App

#: Such apps outlive the daemon by themselves.
_KEPT_ELSEWHERE = ("deployed", "pinned", "staged")


class KeptApps:
    """Keeps the descriptions and sources of apps."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        #: key of an app -> the task that keeps its sources
        self._sources: dict[str, asyncio.Task[None]] = {}

    def row_of(self, app: App) -> dict[str, Any] | None:
        """What has to be written with the first durable call of an app; None later, or never."""
        if app.state in _KEPT_ELSEWHERE or app.description is None or app.key in self._sources:
            return None
        kept = described.kept(app.description, app.name)
        self._sources[app.key] = self._hub.loop.create_task(self._keep_sources(kept))
        from volantd.store import calls as store

        sealer, place = self._hub.services.database.sealer, store.place_of_app(app.app_id)
        return {
            "app_id": app.app_id, "name": app.name, "detached": int(app.detach),
            "environment": app.environment.environment_id,
            "description": sealer.later(place, values.encode(kept)), "created_at": app.created_at,
        }  # fmt: skip

    async def _keep_sources(self, description: dict[str, Any]) -> None:
        services = self._hub.services
        for digest in described.sizes_of(description):
            content = await services.blobs.get(digest)
            await asyncio.to_thread(services.contents.put, digest, content)

    def when_lasting(self, app: App, done: Callable[[Exception | None], object]) -> bool:
        """Have `done` told when an app that goes on without its client is kept with its sources.

        Returns:
            Whether `done` is told; not if nobody has to wait.
        """
        task = self._sources.get(app.key)
        if task is None or not app.detach or (task.done() and task.exception() is None):
            return False

        def told(ended: asyncio.Task[None]) -> None:
            problem = None if ended.cancelled() else ended.exception()
            done(problem if isinstance(problem, Exception) else None)

        task.add_done_callback(told)
        return True

    def close(self, app: App) -> None:
        """An app has ended; sources that have come whole are kept, for who runs its calls again."""
        task = self._sources.pop(app.key, None)
        if task is None or app.detach or app.description is None:
            return
        if self._hub.services.blobs.missing(described.sizes_of(app.description)):
            task.cancel()  # they never come
