"""Group commit over both: one that is wrong fails alone, entries are kept whole or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from volantd.store.database import Database
from volantd.store.journal import Journal, Kind
from volantd.store.schema import apps

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection


def _insert(connection: Connection, names: list[str]) -> None:
    connection.execute(apps.insert(), [
        {"app_id": name, "name": name, "state": "deployed", "version": 1, "created_at": 0.0}
        for name in names
    ])  # fmt: skip


ADD = Kind(0, _insert)


def _names(connection: Connection) -> list[str]:
    return list(connection.execute(select(apps.c.name).order_by(apps.c.name)).scalars())


def test_one_that_cannot_be_written_fails_alone(url: str, tmp_path: Path):
    async def use() -> list[str]:
        database = Database(str(tmp_path), url)
        journal = Journal(database, asyncio.get_running_loop(), lambda: None)
        await journal.written([(ADD, "a")])
        done = await asyncio.gather(
            *(journal.written([(ADD, name)]) for name in "bac"), return_exceptions=True
        )
        assert [type(one) for one in done] == [type(None), IntegrityError, type(None)]
        with pytest.raises(IntegrityError):
            await journal.written([(ADD, "d"), (ADD, "a")])
        found = await asyncio.wrap_future(database.read(_names))
        database.close()
        return found

    assert asyncio.run(use()) == ["a", "b", "c"]
