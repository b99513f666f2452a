"""Entries of dicts in the database: the queries. An entry that was unused for long is not there.

A key is known by its hash. `since` is the hour since 1970 that an entry has to have been used in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, func, select, update

from volantd.store.engines.statements import OftenUsed
from volantd.store.schema import entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from volantd.store.records import EntryRow

#: Keys that one statement names: databases bound how many values one has.
KEYS_AT_ONCE = 500

_PUT = OftenUsed(
    "INSERT INTO entries (object_id, key_hash, key, value, file, size, used_hour)"
    " VALUES (:object_id, :key_hash, :key, :value, :file, :size, :used_hour)"
    " ON CONFLICT (object_id, key_hash) DO UPDATE SET value = excluded.value,"
    " file = excluded.file, size = excluded.size, used_hour = excluded.used_hour"
)
_PUT_IF_ABSENT = OftenUsed(f"{_PUT.words} WHERE entries.used_hour < :since")
_STANDING = OftenUsed(
    "SELECT file, size, used_hour FROM entries"
    " WHERE object_id = :object_id AND key_hash = :key_hash"
)
_GET = OftenUsed(
    "SELECT value, file, size, used_hour FROM entries"
    " WHERE object_id = :object_id AND key_hash = :key_hash AND used_hour >= :since"
)


class Found(NamedTuple):
    """What is asked for of one entry: its value or the file of that, and the last use."""

    value: bytes | None
    file: str | None
    size: int
    used_hour: int


def put(connection: Connection, rows: Sequence[EntryRow]) -> None:
    """Keep entries of one dict, in the place of those that have the same keys."""
    _PUT.for_each(connection, [_values(row) for row in rows])


def _values(row: EntryRow) -> dict[str, object]:
    return {
        "object_id": row.object_id, "key_hash": row.key_hash, "key": row.key, "value": row.value,
        "file": row.file, "size": row.size, "used_hour": row.used_hour,
    }  # fmt: skip


def put_if_absent(connection: Connection, row: EntryRow, since: int) -> bool:
    """Keep an entry unless there is one of that key; whether it is kept."""
    return bool(_PUT_IF_ABSENT.changed(connection, {**_values(row), "since": since}))


def standing(
    connection: Connection, object_id: str, hashes: Sequence[bytes]
) -> list[tuple[str | None, int, int]]:
    """Of those keys that there are: file and size of the value, and when it was last used."""
    if len(hashes) == 1:
        known = _STANDING.found(connection, {"object_id": object_id, "key_hash": hashes[0]})
        return [(file, size, hour) for file, size, hour in known]
    found: list[tuple[str | None, int, int]] = []
    for at in range(0, len(hashes), KEYS_AT_ONCE):
        rows = connection.execute(
            select(entries.c.file, entries.c.size, entries.c.used_hour).where(
                entries.c.object_id == object_id,
                entries.c.key_hash.in_(hashes[at : at + KEYS_AT_ONCE]),
            )
        )
        found += [(file, size, hour) for file, size, hour in rows]
    return found


def get(connection: Connection, object_id: str, key_hash: bytes, since: int) -> Found | None:
    """An entry, None if there is none."""
    wanted = {"object_id": object_id, "key_hash": key_hash, "since": since}
    return next((Found(*row) for row in _GET.found(connection, wanted)), None)


def remove(connection: Connection, object_id: str, key_hash: bytes) -> None:
    """Keep an entry no more."""
    connection.execute(
        delete(entries).where(entries.c.object_id == object_id, entries.c.key_hash == key_hash)
    )


def touch(connection: Connection, object_id: str, hashes: Sequence[bytes], hour: int) -> None:
    """Note that entries were used."""
    for at in range(0, len(hashes), KEYS_AT_ONCE):
        connection.execute(
            update(entries)
            .where(
                entries.c.object_id == object_id,
                entries.c.key_hash.in_(hashes[at : at + KEYS_AT_ONCE]),
            )
            .values(used_hour=hour)
        )


def count(connection: Connection, object_id: str, since: int) -> int:
    """How many entries there are."""
    return connection.execute(
        select(func.count()).where(
            entries.c.object_id == object_id, entries.c.used_hour >= since
        )
    ).scalar_one()  # fmt: skip


def page(
    connection: Connection, object_id: str, after: bytes, since: int, count_max: int
) -> list[tuple[bytes, bytes, int, int]]:
    """Entries in the order of their hashes: hash, key, size of the value, hour of the last use."""
    rows = connection.execute(
        select(entries.c.key_hash, entries.c.key, entries.c.size, entries.c.used_hour)
        .where(
            entries.c.object_id == object_id, entries.c.key_hash > after,
            entries.c.used_hour >= since,
        )
        .order_by(entries.c.key_hash)
        .limit(count_max)
    )  # fmt: skip
    return [(key_hash, key, size, hour) for key_hash, key, size, hour in rows]


def values_of(
    connection: Connection, object_id: str, hashes: Sequence[bytes]
) -> dict[bytes, tuple[bytes | None, str | None]]:
    """Value and file of entries, by the hashes of their keys."""
    found: dict[bytes, tuple[bytes | None, str | None]] = {}
    for at in range(0, len(hashes), KEYS_AT_ONCE):
        rows = connection.execute(
            select(entries.c.key_hash, entries.c.value, entries.c.file).where(
                entries.c.object_id == object_id,
                entries.c.key_hash.in_(hashes[at : at + KEYS_AT_ONCE]),
            )
        )
        found.update({key_hash: (value, file) for key_hash, value, file in rows})
    return found


def clear(
    connection: Connection, object_id: str, before: int | None = None
) -> list[tuple[str, int]]:  # fmt: skip
    """Keep no entry, or none that was last used before an hour; the files of those that go."""
    of_it = [entries.c.object_id == object_id]
    if before is not None:
        of_it.append(entries.c.used_hour < before)
    found = _files(connection, *of_it)
    connection.execute(delete(entries).where(*of_it))
    return found


def with_files(connection: Connection) -> set[str]:
    """The ids of dicts that have values in files."""
    found = connection.execute(
        select(entries.c.object_id).where(entries.c.file.is_not(None)).distinct()
    )
    return set(found.scalars())


def files(connection: Connection, object_id: str | None = None) -> list[tuple[str, int]]:
    """The files of values that lie in one, with their sizes, of one dict or of all."""
    return _files(connection, *([] if object_id is None else [entries.c.object_id == object_id]))


def _files(connection: Connection, *which: ColumnElement[bool]) -> list[tuple[str, int]]:
    wanted = select(entries.c.file, entries.c.size).where(entries.c.file.is_not(None), *which)
    return [(file, size) for file, size in connection.execute(wanted) if file is not None]
