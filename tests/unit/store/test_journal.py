"""Group commit: what comes together is written together, and one that fails harms no other."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from volantd.store.database import Database
from volantd.store.journal import Journal, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from sqlalchemy import Connection

_transactions: list[list[str]] = []


def _add(connection: Connection, rows: list[str]) -> None:
    _transactions.append(rows)
    for name in rows:
        connection.execute(
            text(
                "INSERT INTO apps (app_id, name, state, version, created_at)"
                " VALUES (:name, :name, 'deployed', 1, 0)"
            ),
            {"name": name},
        )


ADD = Kind(0, _add)


def _with_journal(home: Path, use: Callable[[Journal], Coroutine[Any, Any, None]]) -> list[str]:
    """What is in the database after `use`, read by somebody else."""
    _transactions.clear()

    async def run() -> None:
        database = Database(str(home))
        await use(Journal(database, asyncio.get_running_loop(), lambda: None))
        database.close()

    asyncio.run(run())
    with sqlite3.connect(home / "volant.db") as plain:
        return [name for (name,) in plain.execute("SELECT name FROM apps ORDER BY name")]


def test_what_comes_while_one_group_is_written_is_the_next(tmp_path: Path):
    async def use(journal: Journal) -> None:
        first = asyncio.create_task(journal.written([(ADD, "a")]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # its group has begun
        await asyncio.gather(first, *(journal.written([(ADD, name)]) for name in "bcd"))

    assert _with_journal(tmp_path, use) == ["a", "b", "c", "d"]
    assert _transactions == [["a"], ["b", "c", "d"]]


def test_one_that_cannot_be_written_fails_alone(tmp_path: Path):
    async def use(journal: Journal) -> None:
        await journal.written([(ADD, "a")])
        done = await asyncio.gather(
            *(journal.written([(ADD, name)]) for name in "bac"), return_exceptions=True
        )
        assert [type(one) for one in done] == [type(None), IntegrityError, type(None)]
        await journal.written([(ADD, "d")])

    assert _with_journal(tmp_path, use) == ["a", "b", "c", "d"]


def test_the_rows_of_one_entry_are_kept_together_or_not_at_all(tmp_path: Path):
    async def use(journal: Journal) -> None:
        with pytest.raises(IntegrityError):
            await journal.written([(ADD, "a"), (ADD, "b"), (ADD, "a")])

    assert _with_journal(tmp_path, use) == []


def test_kinds_of_a_lower_rank_are_written_first(tmp_path: Path):
    order: list[str] = []
    late = Kind(2, lambda _, rows: order.append(f"late {rows}"))
    early = Kind(1, lambda _, rows: order.append(f"early {rows}"))

    async def use(journal: Journal) -> None:
        await asyncio.gather(
            journal.written([(late, 1), (early, 2)]), journal.written([(late, 3), (early, 4)])
        )

    _with_journal(tmp_path, use)
    assert order == ["early [2, 4]", "late [1, 3]"]


def test_draining_waits_for_all_that_was_asked_for(tmp_path: Path):
    async def use(journal: Journal) -> None:
        await journal.drained()  # nothing is under way
        told: list[Exception | None] = []
        journal.write([(ADD, "a")], told.append)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        journal.write([(ADD, "b")], told.append)
        await journal.drained()
        assert told == [None, None]

    assert _with_journal(tmp_path, use) == ["a", "b"]
