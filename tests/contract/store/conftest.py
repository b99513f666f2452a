"""A database of each kind, empty and of this test alone."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from volantd.store import database
from volantd.store.engines.postgres import PostgresSession
from volantd.store.engines.sqlite import SqliteSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.postgres import PostgresServer

    Session = PostgresSession | SqliteSession
    Prepare = Callable[[Connection], object]

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """What `database_url` is: empty for a file."""
    if request.param == "sqlite":
        return ""
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.schema(f"t{os.getpid()}_{next(_numbers)}")


@pytest.fixture
def opened(url: str, tmp_path: Path) -> Iterator[Callable[[Prepare], Session]]:
    """Opens sessions on one and the same database."""
    sessions: list[Session] = []

    def open_one(prepare: Prepare) -> Session:
        if sessions:
            sessions[-1].close()
        place = url or str(tmp_path / database.FILE_NAME)
        sessions.append((PostgresSession if url else SqliteSession)(place, prepare))
        return sessions[-1]

    yield open_one
    for session in sessions:
        session.close()


@pytest.fixture
def session(opened: Callable[[Prepare], Session]) -> Session:
    """A session that writes, over the present schema."""
    return opened(database.bring_up_to_date)
