"""A file that cannot be written, or is damaged: who wants to write is told, the rest goes on."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from tests.support import eventually
from volant.errors import DataLossError, ResourceExhaustedError
from volantd.store import database as module
from volantd.store.database import Database
from volantd.store.schema import apps, schedules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system of its own")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def _add(name: str, size: int = 0) -> Callable[[Connection], None]:
    def add(connection: Connection) -> None:
        connection.execute(apps.insert().values(
            app_id=name, name=name, state="deployed", version=1, created_at=0.0
        ))  # fmt: skip
        if size:
            connection.execute(schedules.insert().values(
                app_id=name, name="f", standing=os.urandom(size)
            ))  # fmt: skip

    return add


def _names(connection: Connection) -> list[str]:
    return list(connection.execute(select(apps.c.name).order_by(apps.c.name)).scalars())


def test_a_full_disk_refuses_writes_and_forgets_nothing(small_disk: Path, monkeypatch):
    monkeypatch.setattr(module, "TRY_AGAIN_S", 0.02)

    async def use() -> None:
        database = Database(str(small_disk))
        database.watch(asyncio.get_running_loop())
        await database.run(_add("a"))
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(4 << 20))
        with pytest.raises(ResourceExhaustedError) as caught:
            await database.run(_add("b", 100_000))
        assert f"the file system at {small_disk} is full (0 MiB free)" in caught.value.message
        assert "make room there" in (caught.value.hint or "")
        assert await database.run(_names) == ["a"]
        assert await asyncio.wrap_future(database.read(_names)) == ["a"]
        ballast.unlink()
        await database.usable()
        await database.run(_add("c", 100_000))
        assert await database.run(_names) == ["a", "c"]
        assert database.row()["trouble"] is None
        database.close()

    asyncio.run(use())


def test_a_disk_that_is_full_at_first_is_told_of(small_disk: Path):
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(4 << 20))
    database = Database(str(small_disk))
    with pytest.raises(ResourceExhaustedError, match="is full"):
        database.submit(_names).result()
    (small_disk / "ballast").unlink()
    assert database.submit(_names).result() == []
    database.close()


def test_a_limit_of_file_sizes_is_told_of(tmp_path: Path):
    database = Database(str(tmp_path))
    database.submit(_add("a")).result()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(Exception, match=r"cannot be used|is full"):
            database.submit(_add("b", 300_000)).result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert database.submit(_names).result() == ["a"]
    database.submit(_add("b", 300_000)).result()
    database.close()


def _damaged(home: Path) -> None:
    """Leaves a database whose schema is whole, and some of whose pages are not."""
    database = Database(str(home))
    for number in range(40):
        database.submit(_add(f"app-{number:02}", 20_000)).result()
    database.close()
    path = home / "volant.db"
    with sqlite3.connect(path) as plain:
        [(root,)] = plain.execute("SELECT rootpage FROM sqlite_master WHERE name = 'schedules'")
        [(page_bytes,)] = plain.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * page_bytes)
        file.write(bytes([255]) * page_bytes)


def test_damage_is_found_in_the_background_and_ends_all_writing(tmp_path: Path):
    _damaged(tmp_path)

    async def use() -> None:
        database = Database(str(tmp_path))
        database.watch(asyncio.get_running_loop())
        while database.trouble is None:
            await database.run(_names)
        assert "volant.db is damaged" in (database.row()["trouble"] or "")
        assert len(await database.run(_names)) == 40  # what can be read is
        with pytest.raises(DataLossError) as caught:
            await database.run(_add("b"))
        assert "volant server restore" in (caught.value.hint or "")
        assert len(await asyncio.wrap_future(database.read(_names))) == 40
        database.close()

    asyncio.run(use())


def test_damage_that_a_query_meets_is_told_as_such(tmp_path: Path):
    _damaged(tmp_path)
    database = Database(str(tmp_path))
    with pytest.raises(DataLossError, match="malformed"):
        database.submit(lambda one: one.execute(select(schedules)).all()).result()
    with pytest.raises(DataLossError):
        database.submit(_add("b")).result()
    database.close()


def test_a_database_that_is_whole_gives_no_trouble(tmp_path: Path, caplog):
    caplog.set_level("INFO", logger="volantd.store.database")
    database = Database(str(tmp_path))
    database.submit(_add("a")).result()

    async def use() -> None:
        database.watch(asyncio.get_running_loop())
        await asyncio.to_thread(eventually, lambda: "database_checked" in caplog.text, 30.0)

    asyncio.run(use())
    assert database.trouble is None
    database.close()
