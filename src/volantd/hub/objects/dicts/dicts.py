"""All dicts of a daemon: uses that are noted, entries that nobody used for long."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from volantd.hub.objects.dicts.changes import CHANGE, Touch
from volantd.hub.objects.dicts.files import ValueFiles
from volantd.hub.objects.kinds import ObjectKind
from volantd.images.kept.books import wall_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.hub.hub import Hub

#: How long an entry is kept that nobody uses, in hours. A use is noted once an hour.
KEPT_HOURS = 7 * 24
#: How often those are removed.
SWEEP_EVERY_S = 3600.0
DIRECTORY = "dicts"


class Dicts:
    """What dicts have in common.

    Attributes:
        files: their large values.
    """

    def __init__(self, hub: Hub, home: str) -> None:
        self._hub = hub
        #: The ids of those that have, or have had, values in files.
        self.with_files: set[str] = set()
        self.files = ValueFiles(os.path.join(home, DIRECTORY), hub.loop)
        hub.objects.register(ObjectKind(
            name="dict", prefix="di", tables=("entries",), opening=self._open, leaving=self._leave,
        ))  # fmt: skip

    async def _open(self) -> None:
        """See to what a dead daemon left."""
        from volantd.store import dicts as store

        self.with_files |= await self._hub.objects.database.run(store.with_files)
        kept = {name for name, _ in await self._hub.objects.database.run(store.files)}
        await self._hub.loop.run_in_executor(None, self.files.remove_later_all_but, kept)
        self._hub.loop.call_later(SWEEP_EVERY_S, self._begin_sweep)

    async def _leave(self, object_id: str) -> None:
        from volantd.store import dicts as store

        files = await self._hub.objects.database.run(partial(store.files, object_id=object_id))
        for name, size in files:
            self.files.leave(name, size)
        self.with_files.discard(object_id)

    def _begin_sweep(self) -> None:
        self._hub.services.tasks.start(self._sweep(), "sweep-dicts")
        self._hub.loop.call_later(SWEEP_EVERY_S, self._begin_sweep)

    async def _sweep(self) -> None:
        """Remove entries that nobody used for long; until then they only do not count."""
        from volantd.store import dicts as store

        objects = self._hub.objects
        for object_id in objects.ids("dict"):
            files = await objects.database.run(
                partial(store.clear, object_id=object_id, before=since())
            )
            for name, size in files:
                self.files.leave(name, size)

    def used(self, object_id: str, hashes: Sequence[bytes], hours: Sequence[int]) -> None:
        """Note that entries were used, unless that was noted in this hour.

        Args:
            object_id: of their dict.
            hashes: of their keys.
            hours: when each was last used.
        """
        now = hour()
        old = [key for key, noted in zip(hashes, hours, strict=True) if noted != now]
        if old:
            touch = Touch(object_id=object_id, since=0, hashes=old, hour=now)
            self._hub.objects.journal.write([(CHANGE, touch)], lambda _: None)


def hour() -> int:
    """The hours since 1970."""
    return int(wall_clock() // 3600)


def since() -> int:
    """The hour that an entry has to have been used in, to be there."""
    return hour() - KEPT_HOURS
