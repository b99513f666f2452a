"""The volumes of this machine, put together: contents, states, checkouts, mounts.

<home>/volumes/contents/     what files and directories consist of
<home>/volumes/checkouts/    states laid out as files
<home>/volumes/views/        what containers write
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from volantd.blobs.contents import Contents
from volantd.volumes.arriving import Arriving
from volantd.volumes.attributes import Owners
from volantd.volumes.checkouts import Checkouts
from volantd.volumes.mounts import Mounts
from volantd.volumes.states import States

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.store.database import Database
    from volantd.store.journal import Journal

log = logging.getLogger(__name__)

#: Where they are in a home, and what they consist of.
DIRECTORY = "volumes"
CONTENTS_DIR = DIRECTORY + "/contents"
#: How long after a volume was deleted its contents are removed; others may go along.
COLLECT_AFTER_S = 30.0


class Volumes:
    """All volumes."""

    def __init__(
        self, home: str, database: Database, journal: Journal, clock: Callable[[], float]
    ) -> None:
        directory = os.path.join(home, DIRECTORY)
        owners = Owners()
        self.clock = clock
        self.contents = Contents(os.path.join(home, CONTENTS_DIR))
        self.states = States(self.contents, database, journal, clock)
        self.checkouts = Checkouts(os.path.join(directory, "checkouts"), self.contents, owners)
        self.mounts = Mounts(self.states, self.checkouts, owners, os.path.join(directory, "views"))
        self.arriving = Arriving(self.contents)
        #: Done once what earlier daemons left is known, or removed.
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._collecting = False

    async def open(self) -> None:
        """Learn what is there, remove what was left; to be called once."""

        def clean() -> None:
            self.contents.clean()
            self.checkouts.open()
            self.mounts.clean()

        try:
            await asyncio.to_thread(clean)
        except Exception as error:  # volumes that cannot be used must not end the daemon
            log.exception("volumes_unusable")
            self.opened.set_exception(error)
            self.opened.exception()  # whoever asks gets it
        else:
            self.opened.set_result(None)

    def ended(self, volume_id: str) -> None:
        """A volume was deleted: what only it consists of is removed some time soon."""
        self.states.forget(volume_id)
        if not self._collecting:
            self._collecting = True
            asyncio.get_running_loop().call_later(COLLECT_AFTER_S, self._collect)
        asyncio.get_running_loop().run_in_executor(None, self.checkouts.forget, f"{volume_id}/")

    def _collect(self) -> None:
        self._collecting = False
        task = asyncio.get_running_loop().create_task(self.collect(), name="collect-contents")
        task.add_done_callback(_log_failure)

    async def collect(self) -> int:
        """Remove contents that nothing names; how many those were."""
        count = await self.states.collect(self.mounts.in_use)
        log.info("contents_collected", extra={"fields": {"count": count}})
        return count

    def close(self) -> None:
        """Finish what is being done."""
        self.arriving.close()
        self.states.close()


def _log_failure(task: asyncio.Task[int]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("collecting_failed", extra={"fields": {"error": str(task.exception())}})
