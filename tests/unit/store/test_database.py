"""The database: its schema, its migrations, and what is kept of deployed apps."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError, IntegrityError

from volantd.store import database, deployments
from volantd.store.deployments import VersionRow
from volantd.store.schema import metadata

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

FIRST = VersionRow(
    version=1, fingerprint="f1", action="deploy", of_version=None, tag="v1", strategy="rolling",
    deployed_at=10.0, deployed_by="ada", commit_id="c0ffee", branch="main", dirty=True,
)  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path):
    made = database.open_engine(str(tmp_path / "volant.db"))
    yield made
    made.dispose()


def test_a_new_database_has_what_the_migrations_make(tmp_path: Path, engine: Engine):
    migrated = _at(tmp_path / "old.db", "0001")
    for one in (engine, database.open_engine(str(tmp_path / "old.db"))):
        with one.connect() as connection:
            context = MigrationContext.configure(connection)
            assert context.get_current_revision() == database.HEAD
            assert compare_metadata(context, metadata) == []
        one.dispose()
    migrated.dispose()


def _at(path: Path, revision: str) -> Engine:
    """A database as an earlier release has left it."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        database.upgrade(connection, revision)
    return engine


def test_the_file_is_its_users_alone(tmp_path: Path, engine: Engine):
    assert (tmp_path / "volant.db").stat().st_mode & 0o777 == 0o600


def test_a_migration_that_is_broken_off_leaves_the_schema_as_it_was(tmp_path: Path, monkeypatch):
    path = str(tmp_path / "volant.db")
    _at(tmp_path / "volant.db", "0001").dispose()
    with sqlite3.connect(path) as plain:
        before = plain.execute("SELECT name FROM sqlite_master").fetchall()
    real = database.upgrade

    def broken_off(connection):
        real(connection)
        raise KeyboardInterrupt

    monkeypatch.setattr(database, "upgrade", broken_off)
    with pytest.raises(KeyboardInterrupt):
        database.open_engine(path)
    with sqlite3.connect(path) as plain:
        assert plain.execute("SELECT name FROM sqlite_master").fetchall() == before
    monkeypatch.undo()
    database.open_engine(path).dispose()


def test_what_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "volant.db"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        database.open_engine(str(path))


def test_versions_follow_each_other(engine: Engine):
    with engine.begin() as connection:
        deployments.add_version(connection, "ap-1", "shop", FIRST, b"one", {"f": "fu-1"})
    second = replace(FIRST, version=2, fingerprint="f2", commit_id=None, branch=None, dirty=None)
    with engine.begin() as connection:
        deployments.add_version(
            connection, "ap-1", "shop", second, b"two", {"f": "fu-1", "g": "fu-2"}
        )
        [app] = deployments.deployed(connection)
        assert (app.app_id, app.name, app.created_at) == ("ap-1", "shop", 10.0)
        assert (app.served, app.description) == (second, b"two")
        assert app.function_ids == {"f": "fu-1", "g": "fu-2"}
        assert deployments.history(connection, "ap-1") == [second, FIRST]
        assert deployments.description_of(connection, "ap-1", 1) == b"one"
        assert deployments.description_of(connection, "ap-1", 3) is None
        assert sorted(deployments.kept(connection)) == [("ap-1", 1), ("ap-1", 2)]


def test_one_name_is_one_app_until_it_is_stopped(engine: Engine):
    with engine.begin() as connection:
        deployments.add_version(connection, "ap-1", "shop", FIRST, b"", {})
    with pytest.raises(IntegrityError), engine.begin() as connection:
        deployments.add_version(connection, "ap-2", "shop", FIRST, b"", {})
    with engine.begin() as connection:
        deployments.stop(connection, "ap-1", 20.0)
        deployments.add_version(connection, "ap-2", "shop", FIRST, b"", {})
        assert [app.app_id for app in deployments.deployed(connection)] == ["ap-2"]
        assert deployments.stopped(connection, "shop") == "ap-1"
        assert deployments.stopped(connection, "other") is None
        assert deployments.history(connection, "ap-1") == [FIRST]


def test_the_oldest_versions_are_dropped(engine: Engine, monkeypatch):
    monkeypatch.setattr(deployments, "VERSIONS_KEPT", 2)
    with engine.begin() as connection:
        for version in (1, 2, 3):
            row = replace(FIRST, version=version)
            deployments.add_version(connection, "ap-1", "shop", row, b"", {})
        assert [row.version for row in deployments.history(connection, "ap-1")] == [3, 2]


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
