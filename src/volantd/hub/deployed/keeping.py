"""What deployed apps have on the disk: their versions in the database, and the contents these name.

    contents, each synced ──► version that names them      all versions ──► how much is kept
                                                            read after the start, aside

Nothing here decides what is served.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from volant.errors import ConflictError, ResourceExhaustedError
from volant.wire import values
from volantd.hub.deployed import described

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from volantd.blobs.files import BlobFiles
    from volantd.hub.blobs import BlobCache
    from volantd.hub.records import App
    from volantd.store.database import Database
    from volantd.store.deployments import VersionRow

log = logging.getLogger(__name__)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _told_when_full(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ResourceExhaustedError) as error:
        if isinstance(error, OSError) and error.errno not in _DISK_FULL:
            raise
        raise ResourceExhaustedError(
            f"the disk is full, so `{name}` could not be deployed; nothing has changed",
            hint="make room where the daemon's home is; `volant image prune` removes images that "
            "nothing uses",
        ) from error


class Keeping:
    """The versions and contents of all deployed apps.

    Attributes:
        read: done once all that was kept before the daemon started has been looked through.
    """

    def __init__(self, database: Database, contents: BlobFiles, blobs: BlobCache) -> None:
        self._database = database
        self._contents = contents
        self._blobs = blobs
        #: Of apps that containers have deployed, by the id of their environment and their sponsor:
        #: what is kept -> bytes.
        self._sizes: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self.read: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def put(self, description: dict[str, Any], name: str) -> None:
        """Keep the contents that a version of an app will name.

        Raises:
            ConflictError: when one is not here any more.
            ResourceExhaustedError: when the disk is full.
        """
        sizes = described.sizes_of(description)
        if self._blobs.missing(sizes):  # waiting for it would be for ever
            raise ConflictError(
                f"files of `{name}` are not here any more", hint="deploy it once more"
            )
        with _told_when_full(name):
            for digest in sizes:
                content = await self._blobs.get(digest)
                await asyncio.to_thread(self._contents.put, digest, content)

    async def add(
        self, app: App, name: str, row: VersionRow, raw: bytes, function_ids: Mapping[str, str]
    ) -> None:
        """Keep a version of an app, whose contents are here, as the one that is served.

        Raises:
            ResourceExhaustedError: when the disk is full.
        """
        from volantd.store import deployments as store

        app_id, environment_id = app.app_id, app.environment.environment_id
        place = store.place_of_description(app_id, row.version)
        kept = self._database.sealer.later(place, raw)
        with _told_when_full(name):
            await self._database.run(
                lambda connection: store.add_version(
                    connection, app_id, name, row, kept.sealed(), function_ids, environment_id
                )
            )
        description: dict[str, Any] = values.decode_map(raw)
        self._count(description, environment_id, f"{app_id}/{row.version}", len(raw))

    def bytes_with(self, staged: App, description: dict[str, Any], size: int) -> int:
        """The bytes kept for the apps of a sponsor, with one more version.

        Args:
            staged: an app that a container deploys.
            description: of the version.
            size: bytes that it takes itself.
        """
        known = self._sizes[staged.environment.environment_id, staged.sponsor]
        added = described.sizes_of(description)
        return sum({**added, **known}.values()) + size

    def _count(self, description: dict[str, Any], environment_id: str, key: str, size: int) -> None:
        sponsor = described.sponsor_of(description)
        if sponsor:
            kept = self._sizes[environment_id, sponsor]
            kept.update({**described.sizes_of(description), key: size})

    async def look_through(self) -> None:
        """Read what was kept before.

        To be called once, when apps are served: it takes as long as there is much.
        """
        from volantd.store import deployments as store

        def count(app_id: str, version: int, place_id: str, connection: Connection) -> None:
            sealed = store.description_of(connection, app_id, version)
            place = store.place_of_description(app_id, version)
            raw = self._database.sealer.opened(place, sealed)
            if raw is not None:  # else it has gone since
                self._count(values.decode_map(raw), place_id, f"{app_id}/{version}", len(raw))

        try:
            for app_id, version, place_id in await self._database.run(store.kept):
                await self._database.run(partial(count, app_id, version, place_id))
        except Exception:  # what cannot be read must not end the daemon
            log.exception("deployments_unreadable")
        self.read.set_result(None)
