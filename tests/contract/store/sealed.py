"""What is sealed in a database, whatever is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from volantd.sealing import anew
from volantd.sealing.sealer import place_of

if TYPE_CHECKING:
    from sqlalchemy import Connection


def sealed_values(connection: Connection) -> dict[str, bytes]:
    """Every sealed value, by its place."""
    found = {}
    for column in anew.COLUMNS:
        key = column.table.primary_key.columns
        for *row, sealed in connection.execute(select(*key, column).where(column.is_not(None))):
            found[place_of(f"{column.table.name}.{column.name}", *row)] = bytes(sealed)
    return found
