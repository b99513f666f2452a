"""Group commit: rows that are written together, while others gather for the next time.

    write(rows, done) ─► gather ─► one transaction, one fsync ─► done(None) for each
                            ▲              │ meanwhile
                            └──────────────┘

One commit costs a write to the disk whatever is in it, so the more is asked for at once, the less
each costs; and one that comes alone waits for nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from volantd.store.database import Database

    Row = Any
    Done = Callable[[Exception | None], object]
    Rows = Sequence[tuple["Kind", Row]]

#: Entries of one transaction; what follows waits for the next.
ENTRIES_MAX = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of row, and how many of it are written in few statements.

    Attributes:
        rank: kinds of a lower one are written first within a transaction; rows of one kind are
            written in the order in which they came.
        apply: writes rows; on the store's thread.
    """

    rank: int
    apply: Callable[[Connection, list[Row]], object]


class Journal:
    """Writes rows in groups. To be used on the thread of the event loop.

    Args:
        database: where to.
        loop: whose thread `done` is called on.
        after: called when all of one group have been told.
    """

    def __init__(
        self, database: Database, loop: asyncio.AbstractEventLoop, after: Callable[[], object]
    ) -> None:
        self._database = database
        self._loop = loop
        self._after = after
        self._waiting: list[tuple[Rows, Done]] = []
        self._is_busy = False
        self._idle: list[asyncio.Future[None]] = []

    @property
    def is_busy(self) -> bool:
        """Whether anything is still to be written."""
        return self._is_busy

    def write(self, rows: Rows, done: Done) -> None:
        """Write rows in one transaction, together with those of others.

        Args:
            rows: all of them are kept, or none.
            done: told None when a power cut leaves them there, or why they could not be written.
        """
        self._waiting.append((rows, done))
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_soon(self._begin)  # what else comes in this turn goes along

    async def written(self, rows: Rows) -> None:
        """`write`, for who waits.

        Raises:
            Error: when the database is away, full or damaged.
            sqlalchemy.exc.SQLAlchemyError: when they could not be written for another reason.
        """
        future: asyncio.Future[None] = self._loop.create_future()

        def done(error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.write(rows, done)
        await future

    async def drained(self) -> None:
        """Return when all that was asked for is written, or has failed."""
        if self.is_busy:
            future: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(future)
            await future

    def _begin(self) -> None:
        group, self._waiting = self._waiting[:ENTRIES_MAX], self._waiting[ENTRIES_MAX:]
        self._submit(group)

    def _submit(self, group: list[tuple[Rows, Done]]) -> None:
        future = self._database.submit(lambda connection: _apply(connection, group))
        future.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._ended, group, done.exception())
        )

    def _ended(self, group: list[tuple[Rows, Done]], error: BaseException | None) -> None:
        if error is not None and len(group) > 1 and not _is_for_all(error):
            # One of them is at fault: each on its own, so that the others do not suffer for it.
            for entry in group[:-1]:
                self._submit_alone(entry)
            self._submit(group[-1:])
            return
        for _, done in group:
            done(_told(error))
        if self._waiting:
            self._begin()
        else:
            self._is_busy = False
            for future in self._idle:
                future.set_result(None)
            self._idle.clear()
        self._after()

    def _submit_alone(self, entry: tuple[Rows, Done]) -> None:
        _, done = entry
        future = self._database.submit(lambda connection: _apply(connection, [entry]))
        future.add_done_callback(
            lambda ended: self._loop.call_soon_threadsafe(done, _told(ended.exception()))
        )


def _told(error: BaseException | None) -> Exception | None:
    return error if isinstance(error, Exception) or error is None else RuntimeError(str(error))


def _is_for_all(error: BaseException) -> bool:
    """Whether what went wrong is the database's, and no row's."""
    import sqlite3

    from sqlalchemy.exc import DataError, IntegrityError

    of_rows = (IntegrityError, DataError, sqlite3.IntegrityError, sqlite3.DataError)
    return not isinstance(error, of_rows)


def _apply(connection: Connection, group: list[tuple[Rows, Done]]) -> None:
    rows = [row for entry, _ in group for row in entry]
    rows.sort(key=_rank)
    for kind, of_kind in groupby(rows, key=lambda row: row[0]):
        kind.apply(connection, [row for _, row in of_kind])


def _rank(row: tuple[Kind, Row]) -> int:
    return row[0].rank
