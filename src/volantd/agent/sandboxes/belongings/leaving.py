"""What sandboxes leave behind that were created so: an image of their files at the end.

    told to end ─► frozen, and what it wrote is copied ─► killed ─► finished, with the image's id

Whoever has waited for the end finds the image. One that the kernel ends, or somebody who kills its
holder, leaves none, and neither does one whose daemon is killed.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from volant.errors import Error
from volantd.images import described
from volantd.images.keys import image_id

if TYPE_CHECKING:
    from volantd.agent.sandboxes.live import Live
    from volantd.agent.sandboxes.snapshots import Snapshots
    from volantd.agent.tasks import Tasks

log = logging.getLogger(__name__)

#: For the copy, and how long an image is kept.
TIMEOUT_S, TTL_S = 55.0, 30 * 86400.0


class Leaving:
    """Makes the images."""

    def __init__(self, snapshots: Snapshots, tasks: Tasks) -> None:
        self._snapshots = snapshots
        self._tasks = tasks
        #: Done when no image is being made; None when none is.
        self._done: asyncio.Future[None] | None = None
        self._count = 0

    def watch(self, live: Live) -> None:
        """Have a sandbox that has started leave an image, if it was created so."""
        if live.sandbox.leaves_image:
            live.on_ending = partial(self._begin, live)

    async def done(self) -> None:
        """Return when no image is being made: so a daemon that is stopped leaves them too."""
        if self._done is not None:
            await asyncio.shield(self._done)

    def _begin(self, live: Live) -> None:
        self._count += 1
        if self._done is None:
            self._done = asyncio.get_running_loop().create_future()
        self._tasks.start(self._keep(live), "keep-files")

    async def _keep(self, live: Live) -> None:
        sandbox = live.sandbox
        try:
            made = await self._snapshots.take(live, TIMEOUT_S, TTL_S)
            sandbox.exit_image_id = image_id(made[described.KEY])
        except Error as error:
            fields = {"sandbox_id": sandbox.sandbox_id, "error": str(error)}
            log.warning("exit_snapshot_failed", extra={"fields": fields})
        finally:
            live.on_ending = None
            live.kill()
            self._count -= 1
            if not self._count and self._done is not None:
                self._done.set_result(None)
                self._done = None
