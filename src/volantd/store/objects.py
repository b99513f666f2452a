"""Environments, objects that have names in them, and tickets: queries, each in a transaction.

Times are seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, tuple_, update

from volantd.store.engines.statements import OftenUsed
from volantd.store.records import ObjectRow
from volantd.store.schema import environments, metadata, objects, tickets

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from volantd.store.records import TicketRow


def load(connection: Connection) -> tuple[dict[str, float], list[ObjectRow]]:
    """All environments, with when they were made, and all objects."""
    known = connection.execute(select(environments.c.name, environments.c.created_at)).all()
    rows = connection.execute(select(objects)).all()
    return dict(known), [ObjectRow(**row._mapping) for row in rows]


def add(connection: Connection, rows: list[ObjectRow]) -> None:
    """Keep objects."""
    columns = [column.name for column in objects.c]
    values = [{name: getattr(row, name) for name in columns} for row in rows]
    connection.execute(insert(objects), values)


def remove(connection: Connection, object_ids: list[str]) -> None:
    """Keep objects no more; what their kinds keep of them is purged afterwards."""
    for object_id in object_ids:
        connection.execute(delete(objects).where(objects.c.object_id == object_id))


def rename(connection: Connection, rows: list[tuple[str, str]]) -> None:
    """Give objects other names."""
    for object_id, name in rows:
        connection.execute(
            update(objects).where(objects.c.object_id == object_id).values(name=name)
        )


def purge(connection: Connection, table_name: str, object_id: str, rows_max: int) -> int:
    """Remove some of the rows that a kind keeps of an object; how many that were."""
    table = metadata.tables[table_name]
    key = list(table.primary_key.columns)
    some = select(*key).where(table.c.object_id == object_id).limit(rows_max)
    if len(key) == 1:
        found = delete(table).where(key[0].in_(some.scalar_subquery()))
    else:
        found = delete(table).where(tuple_(*key).in_(some))
    return connection.execute(found).rowcount


def ownerless(connection: Connection, table_name: str) -> list[str]:
    """Ids of objects that are kept no more and of which a kind still has rows."""
    table = metadata.tables[table_name]
    known = select(objects.c.object_id)
    rows = connection.execute(
        select(table.c.object_id).where(table.c.object_id.not_in(known)).distinct()
    )
    return list(rows.scalars())


# -- tickets


def tickets_of(connection: Connection, client: str) -> list[tuple[int, int, bytes]]:
    """Of each line of a client: line, number and answer of the change made last."""
    rows = connection.execute(
        select(tickets.c.line, tickets.c.number, tickets.c.answer).where(tickets.c.client == client)
    )
    return [(line, number, answer) for line, number, answer in rows]


_NOTE = OftenUsed(
    "INSERT INTO tickets (client, line, number, made_at, answer)"
    " VALUES (:client, :line, :number, :made_at, :answer) ON CONFLICT (client, line)"
    " DO UPDATE SET number = excluded.number, made_at = excluded.made_at, answer = excluded.answer"
)


def note_tickets(connection: Connection, rows: list[TicketRow]) -> None:
    """Note changes that have been made in this very transaction."""
    _NOTE.for_each(connection, [
        {"client": row.client, "line": row.line, "number": row.number, "made_at": row.made_at,
         "answer": row.answer()}
        for row in rows
    ])  # fmt: skip


def forget_tickets(connection: Connection, before: float) -> None:
    """Forget changes that nobody asks for again, made before a moment."""
    connection.execute(delete(tickets).where(tickets.c.made_at < before))
