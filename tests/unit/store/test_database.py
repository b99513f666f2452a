"""The file of SQLite, and the order of work; what both databases do is in tests/contract/store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DatabaseError

from volantd.store import database
from volantd.store.engines import sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture
def engine(tmp_path: Path):
    made = sqlite.open_engine(str(tmp_path / "volant.db"), database.bring_up_to_date)
    yield made
    made.dispose()


def test_the_file_is_its_users_alone(tmp_path: Path, engine: Engine):
    assert (tmp_path / "volant.db").stat().st_mode & 0o777 == 0o600


def test_the_journal_is_as_long_as_it_becomes_before_anything_is_written(
    tmp_path: Path, engine: Engine
):
    journal = tmp_path / "volant.db-wal"
    length = journal.stat().st_size
    assert length >= sqlite.JOURNAL_BYTES
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE other (value)"))
    assert journal.stat().st_size == length
    with engine.begin() as connection:
        assert not inspect(connection).has_table("lengthening")
        assert connection.execute(text("PRAGMA cache_size")).scalar_one() < 0  # as it was before


def test_a_nearly_full_disk_is_not_filled_with_an_empty_journal(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sqlite, "JOURNAL_ROOM_BYTES", 1 << 62)
    sqlite.open_engine(str(tmp_path / "volant.db"), database.bring_up_to_date).dispose()
    engine = sqlite.open_engine(str(tmp_path / "volant.db"), database.bring_up_to_date)
    with engine.connect() as connection, connection.begin():
        assert (tmp_path / "volant.db-wal").stat().st_size < sqlite.JOURNAL_BYTES
    engine.dispose()


def test_what_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "volant.db"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        sqlite.open_engine(str(path), database.bring_up_to_date)


def test_work_is_done_in_turn_and_nothing_is_made_before_it_is_needed(tmp_path: Path):
    async def use() -> list[int]:
        store = database.Database(str(tmp_path))
        assert not store.exists
        order: list[int] = []
        await asyncio.gather(*(
            store.run(lambda connection, number=number: order.append(number))  # type: ignore[misc]
            for number in range(5)
        ))  # fmt: skip
        assert store.exists
        store.close()
        return order

    assert asyncio.run(use()) == [0, 1, 2, 3, 4]
