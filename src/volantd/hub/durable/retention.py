"""What is kept no longer: old results, apps that only they named, contents that nobody names."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from volantd.hub.deployed import described
from volantd.images.kept.books import wall_clock

if TYPE_CHECKING:
    from volantd.main import Services

log = logging.getLogger(__name__)

#: Between two looks at what is old.
PERIOD_S = 3600.0
#: How long it is known of a call that its results are kept no more.
KNOWN_S = 30 * 86400.0
#: How new a content is that may be about to be named.
FRESH_S = 3600.0


class Retention:
    """Removes what is old.

    Args:
        services: the parts of the daemon.
        kept_s: how long results are kept after their call has finished.
    """

    def __init__(self, services: Services, kept_s: float) -> None:
        self._services = services
        self._kept_s = kept_s

    def begin(self) -> None:
        """Remove what is old, now and again and again."""
        if self._services.database.exists:
            self._services.tasks.start(self.look(), "retention")
        self._services.hub.loop.call_later(PERIOD_S, self.begin)

    async def look(self) -> None:
        """Remove what is old now."""
        from volantd.store import calls as store

        database, now = self._services.database, wall_clock()
        expired = forgotten = 0
        while count := await database.run(lambda one: store.expire(one, now - self._kept_s)):
            expired += count
        old = now - self._kept_s - KNOWN_S
        while count := await database.run(lambda one: store.forget(one, old)):
            forgotten += count
        running = list(self._services.hub.apps)
        apps = await database.run(lambda one: store.forget_apps(one, running))
        contents = await self._sweep(now)
        if expired or forgotten or apps or contents:
            fields = {"calls": expired, "rows": forgotten, "apps": apps, "contents": contents}
            log.info("old_removed", extra={"fields": fields})

    async def _sweep(self, now: float) -> int:
        """Remove contents that nothing names."""
        from volantd.store import calls, descriptions

        database, sealer = self._services.database, self._services.database.sealer
        named = set(await database.run(calls.digests))
        for find in await database.run(descriptions.finders):
            for place, sealed in await database.run(find):
                named |= described.named_by(sealer.open(place, sealed))
        contents = self._services.contents
        return await asyncio.to_thread(contents.remove_all_but, named, now - FRESH_S)
