"""Every query of the store, over SQLite and over PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from volantd.store import database, deployments, schedules
from volantd.store.deployments import VersionRow
from volantd.store.engines.postgres import _MARK_TABLE
from volantd.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from tests.contract.store.conftest import Session
    from volantd.store.journal import Kind

T = TypeVar("T")

FIRST = VersionRow(
    version=1, action="deploy", of_version=None, tag="v1", strategy="rolling",
    deployed_at=10.25, deployed_by="ada", commit_id="c0ffee", branch="main", dirty=True,
)  # fmt: skip
BYTES = bytes(range(256))


def _add(
    session: Session, app_id: str, row: VersionRow, content: bytes = b"", name: str = "shop",
    **functions: str,
) -> None:  # fmt: skip
    session.run(lambda connection: deployments.add_version(
        connection, app_id, name, row, content, functions
    ))  # fmt: skip


def _asked(session: Session, query: Callable[..., T], *given: object) -> T:
    return session.run(lambda connection: query(connection, *given))


def compare(session: Session) -> None:
    """A database has the tables that are used, as they are used."""

    def look(connection: Connection) -> None:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, *_: name != _MARK_TABLE}
        )
        assert context.get_current_revision() == database.HEAD
        assert compare_metadata(context, metadata) == []

    session.run(look)


def test_a_new_database_has_what_the_migrations_make(session: Session):
    compare(session)


def test_versions_follow_each_other(session: Session):
    second = replace(FIRST, version=2, commit_id=None, branch=None, dirty=None)
    _add(session, "ap-1", FIRST, BYTES, f="fu-1")
    _add(session, "ap-1", second, b"two", f="fu-1", g="fu-2")
    [app] = _asked(session, deployments.deployed)
    assert (app.app_id, app.name, app.created_at) == ("ap-1", "shop", 10.25)
    assert (app.served, app.description) == (second, b"two")
    assert app.function_ids == {"f": "fu-1", "g": "fu-2"}
    assert _asked(session, deployments.history, "ap-1") == [second, FIRST]
    assert _asked(session, deployments.description_of, "ap-1", 1) == BYTES
    assert _asked(session, deployments.description_of, "ap-1", 3) is None
    assert sorted(_asked(session, deployments.kept)) == [
        ("ap-1", 1, "main"), ("ap-1", 2, "main"),
    ]  # fmt: skip


def test_one_name_is_one_app_until_it_is_stopped(session: Session):
    _add(session, "ap-1", FIRST)
    with pytest.raises(IntegrityError):
        _add(session, "ap-2", FIRST)
    assert [app.app_id for app in _asked(session, deployments.deployed)] == ["ap-1"]
    _asked(session, deployments.stop, "ap-1", 20.0)
    _add(session, "ap-2", FIRST)
    assert [app.app_id for app in _asked(session, deployments.deployed)] == ["ap-2"]
    assert _asked(session, deployments.stopped, "shop") == "ap-1"
    assert _asked(session, deployments.stopped, "other") is None
    assert _asked(session, deployments.history, "ap-1") == [FIRST]


def test_the_oldest_versions_are_dropped(session: Session, monkeypatch):
    monkeypatch.setattr(deployments, "VERSIONS_KEPT", 2)
    for version in (1, 2, 3):
        _add(session, "ap-1", replace(FIRST, version=version))
    assert [row.version for row in _asked(session, deployments.history, "ap-1")] == [3, 2]


def test_the_longest_that_clients_may_send_is_kept(session: Session):
    """PostgreSQL holds lengths of columns; SQLite does not."""
    longest = replace(
        FIRST, tag="t" * 64, deployed_by="ä" * 64, commit_id="c" * 64, branch="b" * 256
    )
    _add(session, "ap-1", longest, name="n" * 64, **{"f" * 500: "fu-1"})
    [app] = _asked(session, deployments.deployed)
    assert (app.served, app.function_ids) == (longest, {"f" * 500: "fu-1"})


def _written(session: Session, *rows: tuple[Kind, dict[str, Any]]) -> None:
    for kind, row in rows:
        session.run(lambda connection: kind.apply(connection, [row]))  # noqa: B023  # at once


def test_a_standing_takes_the_place_of_the_one_before(session: Session):
    _add(session, "ap-1", FIRST)
    for name, standing in (("f", b"one"), ("g", b"other"), ("f", BYTES)):
        row = {"app_id": "ap-1", "name": name, "standing": standing}
        _written(session, (schedules.CHANGE, row))
    assert _asked(session, schedules.load) == {("ap-1", "f"): BYTES, ("ap-1", "g"): b"other"}
    _written(session, (schedules.CHANGE, {"app_id": "ap-1", "name": "f", "standing": None}))
    assert _asked(session, schedules.load) == {("ap-1", "g"): b"other"}


def test_what_fails_in_the_middle_leaves_nothing(session: Session):
    def half(connection: Connection) -> None:
        deployments.add_version(connection, "ap-1", "shop", FIRST, b"", {})
        raise KeyError("half")

    with pytest.raises(KeyError, match="half"):
        session.run(half)
    assert _asked(session, deployments.deployed) == []


def test_what_was_written_is_there_when_it_is_opened_again(
    session: Session, opened: Callable[..., Session]
):
    _add(session, "ap-1", FIRST)
    again = opened(database.bring_up_to_date)
    assert [app.app_id for app in _asked(again, deployments.deployed)] == ["ap-1"]
