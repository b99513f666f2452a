"""Items of queues in the database: the queries.

Items have their order by their ids. Times are seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from volantd.store.engines.statements import OftenUsed
from volantd.store.records import PartitionRow
from volantd.store.schema import items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_PUT = OftenUsed(
    "INSERT INTO items (item_id, object_id, partition, size, expires_at, value)"
    " VALUES (:item_id, :object_id, :partition, :size, :expires_at, :value)"
)
_TAKE = OftenUsed("DELETE FROM items WHERE item_id = :item_id")


def partitions(connection: Connection, object_id: str) -> list[PartitionRow]:
    """What is in each partition of a queue that is not empty."""
    rows = connection.execute(
        select(
            items.c.partition, func.count(), func.sum(items.c.size), func.max(items.c.item_id),
            func.max(items.c.expires_at),
        )
        .where(items.c.object_id == object_id)
        .group_by(items.c.partition)
    )  # fmt: skip
    return [
        PartitionRow(
            partition=partition, count=count, size=size, last_id=last_id, expires_at=expires_at
        )
        for partition, count, size, last_id, expires_at in rows
    ]


def last_id(connection: Connection) -> int:
    """The largest id of an item, 0 for none."""
    return connection.execute(select(func.max(items.c.item_id))).scalar() or 0


def put(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Keep items; each row has the columns of the table."""
    _PUT.for_each(connection, rows)


def take(connection: Connection, item_ids: Sequence[int]) -> None:
    """Keep items no more."""
    _TAKE.for_each(connection, [{"item_id": item_id} for item_id in item_ids])


def clear(connection: Connection, object_id: str, partition: str | None) -> None:
    """Empty a partition, or all of a queue."""
    found = delete(items).where(items.c.object_id == object_id)
    if partition is not None:
        found = found.where(items.c.partition == partition)
    connection.execute(found)


def read(
    connection: Connection, object_id: str, partition: str, after: int, upto: int,
    count_max: int, bytes_max: int,
) -> list[tuple[int, bytes]]:  # fmt: skip
    """The next items of a partition, first to last: ids and values.

    Args:
        after: the id before the first.
        upto: that of the last that may come.
        count_max: how many at most.
        bytes_max: how large at most, all together; but one in any case.
    """
    of_it = [items.c.object_id == object_id, items.c.partition == partition]
    sizes = connection.execute(
        select(items.c.item_id, items.c.size)
        .where(*of_it, items.c.item_id > after, items.c.item_id <= upto)
        .order_by(items.c.item_id)
        .limit(count_max)
    ).all()
    total, last = 0, after
    for item_id, size in sizes:
        total += size
        if total > bytes_max and last != after:
            break
        last = item_id
    rows = connection.execute(
        select(items.c.item_id, items.c.value)
        .where(*of_it, items.c.item_id > after, items.c.item_id <= last)
        .order_by(items.c.item_id)
    )
    return [(item_id, value) for item_id, value in rows]


def expired(connection: Connection, now: float) -> list[tuple[str, str]]:
    """Partitions, with the ids of their queues, none of whose items are to stay."""
    rows = connection.execute(
        select(items.c.object_id, items.c.partition)
        .group_by(items.c.object_id, items.c.partition)
        .having(func.max(items.c.expires_at) <= now)
    )
    return [(object_id, partition) for object_id, partition in rows]
