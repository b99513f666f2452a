"""From each schema that was released to the present one, with rows that are there, over both."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text, update

from tests.contract.store.sealed import sealed_values
from tests.contract.store.test_queries import compare
from volantd.sealing import anew
from volantd.sealing.keyring import Keyring
from volantd.sealing.sealer import Sealer
from volantd.store import database, deployments, schedules
from volantd.store.engines.sqlite import SqliteSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.contract.store.conftest import Session

#: What each migration could hold when it was the last: statements that are never changed again.
ROWS = {
    "0001": (
        "INSERT INTO apps VALUES ('ap-1', 'shop', 'deployed', 2, 10.5, NULL)",
        "INSERT INTO apps VALUES ('ap-0', 'shop', 'stopped', 1, 5.5, 9.5)",
        "INSERT INTO versions VALUES ('ap-1', 1, :bytes, 'f1', 'deploy', NULL, '', 'rolling',"
        " 10.5, 'ada', 'c0ffee', 'main', 1)",
        "INSERT INTO versions VALUES ('ap-1', 2, :bytes, 'f1', 'rollover', 1, 'v2', 'recreate',"
        " 11.5, 'bob', NULL, NULL, NULL)",
        "INSERT INTO versions VALUES ('ap-0', 1, :bytes, 'f0', 'deploy', NULL, '', 'rolling',"
        " 5.5, 'ada', NULL, NULL, NULL)",
        "INSERT INTO functions VALUES ('ap-1', 'f', 'fu-1')",
    ),
    "0002": ("INSERT INTO schedules VALUES ('ap-1', 'f', :bytes)",),
    "0003": (
        "INSERT INTO kept_apps VALUES ('ap-2', 'job', 1, :bytes, 12.5)",
        "INSERT INTO calls VALUES ('c1', 'ap-1', 'shop', 2, 0, 'f', NULL, NULL, '', NULL, NULL, 1,"
        " 1, 'success', 0, 12.5, 13.5, NULL)",
        "INSERT INTO calls VALUES ('c2', 'ap-1', 'shop', 2, 0, 'f', NULL, :bytes, '', NULL, NULL,"
        " 1, 1, 'success', 0, 12.5, 13.5, NULL)",
    ),
    "0004": (
        "INSERT INTO objects VALUES ('di-1', 'dict', 'main', 'index', 14.5, 'ada', :bytes)",
        "INSERT INTO objects VALUES ('qu-1', 'queue', 'main', NULL, 14.5, 'ada', :bytes)",
        "INSERT INTO entries VALUES ('di-1', :bytes, :bytes, NULL, 'f1', 3, 500000)",
        "INSERT INTO items VALUES (7, 'qu-1', 'p', 256, 15.5, :bytes)",
        "INSERT INTO tickets VALUES ('c1', 0, 5, 14.5, :bytes)",
    ),
    "0005": ("INSERT INTO volume_commits VALUES ('vo-1', 1, 'r1', 16.5, 'ada', 'put', 'c1')",),
    "0006": (
        "INSERT INTO versions VALUES ('ap-0', 2, :sealed, 'deploy', NULL, '', 'rolling',"
        " 6.5, 'ada', NULL, NULL, NULL)",
    ),
    "0007": (
        "INSERT INTO environments VALUES ('en-1', 17.5, 'staging', 'staging')",
        "INSERT INTO objects VALUES ('di-2', 'dict', 'en-1', 'index', 17.5, 'ada', :bytes)",
        "INSERT INTO apps VALUES ('ap-3', 'shop', 'stopped', 1, 18.5, 19.5, 'en-1')",
    ),
}
REVISIONS = sorted(f"{number:04}" for number in range(1, int(database.HEAD) + 1))
BYTES = bytes(range(256))
SEALED_PLACE = "versions.description/ap-0/2"


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer(Keyring(str(tmp_path)))


def _with_rows(revision: str, sealer: Sealer) -> Callable[[Connection], None]:
    """Makes a database as a release of that revision has left it."""

    def make(connection: Connection) -> None:
        if inspect(connection).has_table("alembic_version"):
            return
        for step in REVISIONS[: REVISIONS.index(revision) + 1]:
            database.upgrade(connection, step, sealer=sealer)
            for statement in ROWS[step]:
                given = {"bytes": BYTES} if ":bytes" in statement else {}
                if ":sealed" in statement:
                    given = {"sealed": sealer.seal(SEALED_PLACE, BYTES)}
                connection.execute(text(statement), given)

    return make


def test_each_migration_has_rows_to_be_upgraded():
    assert list(ROWS) == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_an_earlier_release_has_kept_is_there(
    revision: str, sealer: Sealer, opened: Callable[..., Session]
):
    opened(_with_rows(revision, sealer)).run(lambda _: None)
    session = opened(partial(database.bring_up_to_date, sealer=sealer))
    [app] = session.run(deployments.deployed)
    assert (app.app_id, app.function_ids) == ("ap-1", {"f": "fu-1"})
    sealed = session.run(sealed_values)
    assert len(sealed) == (4 if revision < "0003" else 6) - (revision < "0006")
    for place, value in sealed.items():
        assert BYTES not in value
        assert sealer.open(place, value) == BYTES
    assert (app.served.version, app.served.of_version, app.served.dirty) == (2, 1, None)
    assert session.run(lambda one: deployments.history(one, "ap-1"))[1].dirty is True
    assert session.run(lambda one: deployments.stopped(one, "shop")) == "ap-0"
    compare(session)
    standings = session.run(schedules.load)
    assert standings == ({("ap-1", "f"): BYTES} if revision >= "0002" else {})


def test_an_upgrade_that_is_broken_off_leaves_what_was_there(
    sealer: Sealer, opened: Callable[..., Session]
):
    def broken_off(connection: Connection) -> None:
        database.bring_up_to_date(connection, sealer)
        raise KeyboardInterrupt

    opened(_with_rows("0001", sealer)).run(lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        opened(broken_off).run(lambda _: None)

    def look(connection: Connection) -> None:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        assert found == "0001"
        assert not inspect(connection).has_table("schedules")

    opened(lambda _: None).run(look)


def test_a_database_of_a_later_release_is_left_alone(opened: Callable[..., Session]):
    def later(connection: Connection) -> None:
        database.bring_up_to_date(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    opened(later).run(lambda _: None)
    with pytest.raises(Exception, match="9999"):
        opened(database.bring_up_to_date).run(lambda _: None)


def test_nothing_of_what_was_kept_in_clear_is_left_in_the_file(tmp_path: Path, sealer: Sealer):
    path = tmp_path / database.FILE_NAME
    session = SqliteSession(str(path), _with_rows("0003", sealer))
    canary = b"canary" * 100

    def put(connection: Connection) -> None:
        for column in anew.COLUMNS:
            if inspect(connection).has_table(column.table.name):
                connection.execute(update(column.table).values({column.name: canary}))

    session.run(put)
    assert canary in b"".join(one.read_bytes() for one in tmp_path.iterdir())
    reader = SqliteSession(str(path), None)  # the journal stays as long as somebody reads
    reader.run(lambda one: one.execute(text("SELECT 1")).all())
    session.close()
    upgraded = SqliteSession(str(path), partial(database.bring_up_to_date, sealer=sealer))
    upgraded.run(lambda _: None)
    left = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    assert sorted(left) == ["sealing.key", "volant.db", "volant.db-shm", "volant.db-wal"]
    assert [name for name, content in left.items() if b"canary" in content] == []
    upgraded.close()
    reader.close()
