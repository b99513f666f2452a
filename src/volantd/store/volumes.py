"""States of volumes in the database: the queries. Each runs in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from volantd.store.records import CommitRow
from volantd.store.schema import volume_commits

if TYPE_CHECKING:
    from sqlalchemy import Connection

_COLUMNS = [column.name for column in volume_commits.c]


def add(connection: Connection, rows: list[CommitRow], kept: int) -> None:
    """Keep new states, and of each volume only so many of the latest."""
    connection.execute(insert(volume_commits), [
        {name: getattr(row, name) for name in _COLUMNS} for row in rows
    ])  # fmt: skip
    for object_id, number in {row.object_id: row.number for row in rows}.items():
        connection.execute(delete(volume_commits).where(
            volume_commits.c.object_id == object_id, volume_commits.c.number <= number - kept,
        ))  # fmt: skip


def latest(connection: Connection, object_id: str, count: int) -> list[CommitRow]:
    """The states of a volume, the latest first."""
    rows = connection.execute(
        select(volume_commits)
        .where(volume_commits.c.object_id == object_id)
        .order_by(volume_commits.c.number.desc())
        .limit(count)
    )
    return [CommitRow(**row._mapping) for row in rows]


def state(connection: Connection, object_id: str, number: int) -> CommitRow | None:
    """One state of a volume, None if it is not kept."""
    row = connection.execute(
        select(volume_commits).where(
            volume_commits.c.object_id == object_id, volume_commits.c.number == number
        )
    ).one_or_none()
    return None if row is None else CommitRow(**row._mapping)


def roots(connection: Connection) -> list[str]:
    """The roots of all states that are kept of all volumes."""
    return list(connection.execute(select(volume_commits.c.root).distinct()).scalars())
