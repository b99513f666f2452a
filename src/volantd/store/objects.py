"""Environments, objects that have names in them, and tickets: queries, each in a transaction.

Times are seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, tuple_, update

from volantd.store.engines.statements import OftenUsed
from volantd.store.records import EnvironmentRow, ObjectRow
from volantd.store.schema import apps, environments, kept_apps, metadata, objects, tickets

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from volantd.store.records import TicketRow


# -- environments


def load_environments(connection: Connection) -> list[EnvironmentRow]:
    """All environments."""
    return [EnvironmentRow(**row._mapping) for row in connection.execute(select(environments))]


def add_environments(connection: Connection, rows: list[EnvironmentRow]) -> None:
    """Keep environments."""
    columns = [column.name for column in environments.c]
    connection.execute(
        insert(environments), [{name: getattr(row, name) for name in columns} for row in rows]
    )


def change_environments(connection: Connection, rows: list[tuple[str, str, str]]) -> None:
    """Give environments other names, and addresses in them other ends: id, name, web suffix."""
    for environment_id, name, web_suffix in rows:
        connection.execute(
            update(environments)
            .where(environments.c.environment_id == environment_id)
            .values(name=name, web_suffix=web_suffix)
        )


def remove_environments(connection: Connection, environment_ids: list[str]) -> None:
    """Keep environments no more, in which nothing is left but the history of apps."""
    for environment_id in environment_ids:
        connection.execute(
            delete(environments).where(environments.c.environment_id == environment_id)
        )


def environment_of_app(connection: Connection, app_id: str) -> str | None:
    """The id of the environment of an app that is, or was, deployed or kept; None for no app."""
    for table in (apps, kept_apps):
        found: str | None = connection.execute(
            select(table.c.environment).where(table.c.app_id == app_id)
        ).scalar()
        if found is not None:
            return found
    return None


# -- objects


def load(connection: Connection) -> list[ObjectRow]:
    """All objects."""
    return [ObjectRow(**row._mapping) for row in connection.execute(select(objects))]


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
