"""Changes of queues, carried out in their order on the store's thread, many in a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from volantd.store.journal import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, eq=False)
class Put:
    """Items are there afterwards."""

    rows: Sequence[dict[str, object]]

    @staticmethod
    def of(
        object_id: str, partition: str, items: list[tuple[int, bytes]], expires_at: float
    ) -> Put:
        """That of these items, each an id and a value."""
        return Put([
            {"item_id": item_id, "object_id": object_id, "partition": partition,
             "size": len(value), "expires_at": expires_at, "value": value}
            for item_id, value in items
        ])  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """Items, by their ids, are not there afterwards."""

    item_ids: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Clear:
    """A partition is empty afterwards, or all of a queue."""

    object_id: str
    partition: str | None


def _make(connection: Connection, changes: list[Put | Take | Clear]) -> None:
    from volantd.store import queues as store

    passing = _passing(changes)
    for kind, of_kind in groupby(changes, type):  # what is alike takes one statement
        if kind is Put:
            rows = [row for one in of_kind if type(one) is Put for row in one.rows]
            kept = [row for row in rows if row["item_id"] not in passing]
            if kept:
                store.put(connection, kept)
        elif kind is Take:
            taken = [item_id for one in of_kind if type(one) is Take for item_id in one.item_ids]
            if left := [item_id for item_id in taken if item_id not in passing]:
                store.take(connection, left)
        else:
            for one in of_kind:
                if type(one) is Clear:
                    store.clear(connection, one.object_id, one.partition)


def _passing(changes: list[Put | Take | Clear]) -> set[object]:
    """Items that are put and taken at once, so that the disk need not see them."""
    taken = {item_id for one in changes if type(one) is Take for item_id in one.item_ids}
    if not taken:
        return set()
    put = {row["item_id"] for one in changes if type(one) is Put for row in one.rows}
    return put & taken


CHANGE = Kind(21, _make)
