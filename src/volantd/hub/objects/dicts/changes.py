"""Changes of dicts, carried out one after the other on the store's thread, many in a transaction.

What a change finds (whether a key was free, what a popped value was) it writes into the answer that
its client gets, and into `dropped` which files no entry has any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from volantd.store.journal import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from volantd.store.records import EntryRow


@dataclass(slots=True, kw_only=True, eq=False)
class Change:
    """One change of one dict."""

    object_id: str
    #: entries used in an earlier hour are not there
    since: int
    #: `stored`; or `found`, with `value`, or `file` and `size`
    answer: dict[str, Any] = field(default_factory=dict)
    #: files, with their sizes, of values that are gone
    dropped: list[tuple[str, int]] = field(default_factory=list)

    def make(self, connection: Connection) -> None:
        """Carry it out."""
        raise NotImplementedError


@dataclass(slots=True, kw_only=True, eq=False)
class Put(Change):
    """Entries are there afterwards; or, with `if_absent`, the one only if its key was free."""

    rows: Sequence[EntryRow]
    if_absent: bool
    #: whether values in files may be replaced
    has_files: bool

    def make(self, connection: Connection) -> None:
        from volantd.store import dicts as store

        if self.if_absent and not self.has_files:
            self.answer["stored"] = store.put_if_absent(connection, self.rows[0], self.since)
        elif not self.has_files:
            self.answer["stored"] = True
            store.put(connection, self.rows)
        else:
            self._replace(connection)

    def _replace(self, connection: Connection) -> None:
        """The same where the files of the values that go have to be known."""
        from volantd.store import dicts as store

        standing = store.standing(connection, self.object_id, [row.key_hash for row in self.rows])
        is_there = any(hour >= self.since for _, _, hour in standing)
        self.answer["stored"] = stored = not (self.if_absent and is_there)
        if stored:
            store.put(connection, self.rows)
            self.dropped += [(file, size) for file, size, _ in standing if file is not None]
        else:
            self.dropped += [(row.file, row.size) for row in self.rows if row.file is not None]


@dataclass(slots=True, kw_only=True, eq=False)
class Pop(Change):
    """An entry is not there afterwards, and its value is in the answer."""

    key_hash: bytes

    def make(self, connection: Connection) -> None:
        from volantd.store import dicts as store

        found = store.get(connection, self.object_id, self.key_hash, self.since)
        self.answer["found"] = found is not None
        if found is None:
            return
        store.remove(connection, self.object_id, self.key_hash)
        if found.file is None:
            self.answer["value"] = found.value
        else:
            self.answer.update(file=found.file, size=found.size)
            self.dropped.append((found.file, found.size))


@dataclass(slots=True, kw_only=True, eq=False)
class Clear(Change):
    """Nothing is there afterwards."""

    def make(self, connection: Connection) -> None:
        from volantd.store import dicts as store

        self.dropped += store.clear(connection, self.object_id)


@dataclass(slots=True, kw_only=True, eq=False)
class Touch(Change):
    """Entries count as used now."""

    hashes: Sequence[bytes]
    hour: int

    def make(self, connection: Connection) -> None:
        from volantd.store import dicts as store

        store.touch(connection, self.object_id, self.hashes, self.hour)


def _make(connection: Connection, changes: list[Change]) -> None:
    for change in changes:
        change.answer.clear()  # it may have been tried before, in a transaction that failed
        change.dropped.clear()
        change.make(connection)


CHANGE = Kind(20, _make)
