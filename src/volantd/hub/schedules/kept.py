"""The book of deployed apps: it is in the database, and outlives the daemon.

What is saved is known here at once, and on the disk a moment later, together with the run that
was begun. Whatever dies in between makes the daemon that follows see a due time again; so a run may
come twice, but none is lost.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from volant.wire import values
from volantd.schedules.policy import Standing

if TYPE_CHECKING:
    from volantd.store.database import Database
    from volantd.store.journal import Journal

log = logging.getLogger(__name__)


class KeptBook:
    """A `Book` in the database; keys are `<id of the app>/<name of the function>`."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database = database
        self._journal = journal
        self._standings: dict[str, Standing] = {}

    async def open(self) -> None:
        """Learn what was kept; to be called once, before any schedule begins."""
        from volantd.store import schedules as store

        for (app_id, name), raw in (await self._database.run(store.load)).items():
            try:
                saved: dict[str, Any] = values.decode_map(raw)
                self._standings[f"{app_id}/{name}"] = Standing(**saved)
            except (ValueError, TypeError) as error:  # of another release: it begins anew
                fields = {"app_id": app_id, "function": name, "error": str(error)}
                log.warning("standing_unreadable", extra={"fields": fields})

    def load(self, key: str) -> Standing | None:
        """See `Book`."""
        return self._standings.get(key)

    def save(self, key: str, standing: Standing) -> None:
        """See `Book`."""
        self._standings[key] = standing
        self._change(key, values.encode(asdict(standing)))

    def remove(self, key: str) -> None:
        """See `Book`."""
        if self._standings.pop(key, None) is not None:
            self._change(key, None)

    def _change(self, key: str, standing: bytes | None) -> None:
        from volantd.store import schedules as store

        app_id, _, name = key.partition("/")
        row = {"app_id": app_id, "name": name, "standing": standing}
        self._journal.write([(store.CHANGE, row)], _log_failure)


def _log_failure(error: Exception | None) -> None:
    if error is not None:
        log.error("standing_not_written", extra={"fields": {"error": str(error)}})
