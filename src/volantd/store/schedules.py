"""The standing of schedules of deployed apps in the database; each function is one transaction.

What a standing is only the hub knows: here it is bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from volantd.store.schema import schedules

if TYPE_CHECKING:
    from sqlalchemy import Connection


def load(connection: Connection) -> dict[tuple[str, str], bytes]:
    """All that are kept, by the id of the app and the name of the function."""
    rows = connection.execute(select(schedules)).all()
    return {(row.app_id, row.name): row.standing for row in rows}


def save(connection: Connection, app_id: str, name: str, standing: bytes) -> None:
    """Keep one in place of the one before."""
    remove(connection, app_id, name)
    connection.execute(insert(schedules).values(app_id=app_id, name=name, standing=standing))


def remove(connection: Connection, app_id: str, name: str) -> None:
    """Keep one no more."""
    connection.execute(
        delete(schedules).where(schedules.c.app_id == app_id, schedules.c.name == name)
    )
