"""All that is sealed, sealed with another key: in one transaction, so that a kill changes nothing.

The key that was there before is forgotten afterwards; what a kill leaves behind is two keys, and
the next daemon goes on from there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, update

from volantd.sealing.keyring import ID_BYTES
from volantd.sealing.sealer import MARK, SealBrokenError, key_id_of, place_of
from volantd.store.schema import calls, kept_apps, secrets, versions

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection

    from volantd.sealing.sealer import Sealer

log = logging.getLogger(__name__)

#: Every column with sealed values; a row's place is made of its primary key.
COLUMNS: tuple[Column[bytes], ...] = (
    versions.c.description, kept_apps.c.description, calls.c.variant, secrets.c.value,
)  # fmt: skip


@dataclass(slots=True)
class Resealed:
    """What became of the values that were there."""

    count: int = 0
    #: such that cannot be opened, before or after
    broken: int = 0


def keys_in_use(connection: Connection) -> set[str]:
    """The ids of all keys that something is sealed with."""
    size = len(MARK) + ID_BYTES
    found = set()
    for column in COLUMNS:
        head = func.substr(column, 1, size)
        heads = connection.execute(select(head).where(column.is_not(None)).distinct()).scalars()
        found |= {bytes(one)[len(MARK) :].hex() for one in heads}
    return found


def seal_anew(connection: Connection, sealer: Sealer) -> Resealed:
    """Seal everything with the current key that is not.

    Raises:
        DataLossError: when a key is not there; nothing is changed.
    """
    told = Resealed()
    for column in COLUMNS:
        key = list(column.table.primary_key.columns)
        rows = connection.execute(select(*key).where(column.is_not(None))).all()
        for row in rows:
            mine = and_(*(one == value for one, value in zip(key, row, strict=True)))
            sealed = bytes(connection.execute(select(column).where(mine)).scalar_one())
            place = place_of(f"{column.table.name}.{column.name}", *row)
            try:
                if key_id_of(sealed) == sealer.keyring.current().key_id:
                    continue
                fresh = sealer.seal(place, sealer.open(place, sealed))
            except SealBrokenError:
                log.exception("sealed_value_broken", extra={"fields": {"place": place}})
                told.broken += 1
                continue
            connection.execute(update(column.table).where(mine).values({column.name: fresh}))
            told.count += 1
    return told
