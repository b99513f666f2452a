"""Stored secrets in the database; each query in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from volantd.store.schema import secrets

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PUT = insert(secrets)
_PUT = _PUT.on_conflict_do_update(
    index_elements=[secrets.c.object_id], set_={"value": _PUT.excluded.value}
)


def put(connection: Connection, object_id: str, sealed: bytes) -> None:
    """Keep the variables of a secret, in place of those that it had."""
    connection.execute(_PUT, {"object_id": object_id, "value": sealed})


def load(connection: Connection) -> list[tuple[str, bytes]]:
    """All of them: id and sealed variables."""
    rows = connection.execute(select(secrets.c.object_id, secrets.c.value)).all()
    return [(object_id, bytes(value)) for object_id, value in rows]
