"""The standing of schedules of deployed apps in the database; each function is one transaction.

What a standing is only the hub knows: here it is bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from volantd.store.journal import Kind
from volantd.store.schema import schedules

if TYPE_CHECKING:
    from sqlalchemy import Connection


def load(connection: Connection) -> dict[tuple[str, str], bytes]:
    """All that are kept, by the id of the app and the name of the function."""
    rows = connection.execute(select(schedules)).all()
    return {(row.app_id, row.name): row.standing for row in rows}


def _change(connection: Connection, rows: list[dict[str, Any]]) -> None:
    latest = {(row["app_id"], row["name"]): row for row in rows}
    for app_id, name in latest:
        connection.execute(
            delete(schedules).where(schedules.c.app_id == app_id, schedules.c.name == name)
        )
    kept = [row for row in latest.values() if row["standing"] is not None]
    if kept:
        connection.execute(insert(schedules), kept)


#: Rows of `app_id`, `name` and `standing`, which takes the place of the one before; None: of none.
#: After calls: a due time counts as dealt with only when its run is kept.
CHANGE = Kind(9, _change)
