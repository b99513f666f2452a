"""PostgreSQL that dies and comes back, or is another's: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from tests.contract.store.relay import Relay
from tests.postgres import PASSWORD, QUOTED
from tests.support import eventually
from volant.errors import InvalidError, ServiceError
from volantd.store import database as module
from volantd.store.database import Database
from volantd.store.engines import postgres as engine
from volantd.store.schema import apps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from tests.postgres import PostgresServer

_numbers = itertools.count()


def _place(postgres: PostgresServer) -> str:
    return postgres.schema(f"lost{os.getpid()}_{next(_numbers)}")


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    made: list[Database] = []

    def make(url: str) -> Database:
        made.append(Database(str(tmp_path), url))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def relay(postgres: PostgresServer) -> Iterator[Relay]:
    with tempfile.TemporaryDirectory() as directory:  # a socket's address holds 107 bytes
        made = Relay(postgres.directory, Path(directory))
        yield made
        made.close()


def _add(name: str) -> Callable[[Connection], None]:
    def add(connection: Connection) -> None:
        connection.execute(apps.insert().values(
            app_id=name, name=name, state="deployed", version=1, created_at=0.0
        ))  # fmt: skip

    return add


def _names(connection: Connection) -> list[str]:
    return list(connection.execute(select(apps.c.name).order_by(apps.c.name)).scalars())


def test_what_a_kill_interrupts_is_done_when_the_server_is_back(
    postgres: PostgresServer, open_database: Callable[[str], Database]
):
    database = open_database(_place(postgres))
    database.submit(_add("a")).result()
    is_inside, is_dead = threading.Event(), threading.Event()

    def interrupted(connection: Connection) -> None:
        _add("b")(connection)
        is_inside.set()
        is_dead.wait()
        _add("c")(connection)

    future = database.submit(interrupted)
    is_inside.wait()
    postgres.kill()
    is_dead.set()
    postgres.start()
    future.result()
    assert database.submit(_names).result() == ["a", "b", "c"]
    assert database.read(_names).result() == ["a", "b", "c"]


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_commit_that_was_lost_is_neither_forgotten_nor_done_twice(
    lost: str, postgres: PostgresServer, relay: Relay, open_database: Callable[[str], Database]
):
    """Doing it twice would be refused, since ids are unique."""
    url = _place(postgres).replace(str(postgres.directory), str(relay.directory))
    database = open_database(url)
    database.submit(_add("a")).result()
    relay.lose = lost
    database.submit(_add("b")).result()
    assert relay.lose == ""
    assert database.submit(_names).result() == ["a", "b"]


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_server_that_is_lost_again_is_asked_again_whether_a_commit_has_happened(
    lost: str, postgres: PostgresServer, relay: Relay, open_database: Callable[[str], Database]
):
    url = _place(postgres).replace(str(postgres.directory), str(relay.directory))
    database = open_database(url)
    database.submit(_add("a")).result()
    relay.loses_look, relay.lose = True, lost
    database.submit(_add("b")).result()
    assert not relay.loses_look
    assert database.submit(_names).result() == ["a", "b"]


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_commit_in_doubt_is_answered_when_it_is_known_and_the_rest_is_refused_until_then(
    lost: str, postgres: PostgresServer, relay: Relay, open_database: Callable[[str], Database],
    monkeypatch,
):  # fmt: skip
    monkeypatch.setattr(engine, "PATIENCE_S", 0.1)
    monkeypatch.setattr(engine, "PAUSE_MAX_S", 0.05)
    url = _place(postgres).replace(str(postgres.directory), str(relay.directory))
    database = open_database(url)
    database.submit(_add("a")).result()
    relay.is_away, relay.lose = True, lost
    doubtful = database.submit(_add("b"))
    refused = eventually(lambda: _refusal(database), 20.0)
    assert "cannot be reached" in refused
    assert database.row()["trouble"] == refused
    assert not doubtful.done()
    relay.is_away = False
    doubtful.result(20)
    assert database.submit(_names).result() == ["a", "b"]
    assert database.trouble is None


def _refusal(database: Database) -> str:
    """Why nothing can be done at present; empty while that waits as well."""
    asked = database.submit(_names)
    return str(asked.exception().message) if asked.done() else ""  # type: ignore[union-attr]


def test_kills_at_any_instant_lose_nothing_that_was_acknowledged(
    postgres: PostgresServer, open_database: Callable[[str], Database]
):
    database = open_database(_place(postgres))
    chance = random.Random(6)
    acknowledged: list[str] = []
    is_over = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            name = f"app-{number:06}"
            database.submit(_add(name)).result()
            acknowledged.append(name)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(8):
        before = len(acknowledged)
        more = chance.randrange(1, 60)
        eventually(lambda: len(acknowledged) > before + more, 60.0, 0.001)  # noqa: B023
        postgres.kill()
        postgres.start()
    is_over.set()
    writer.join()
    assert database.submit(_names).result() == acknowledged


def test_a_server_that_stays_away_is_told_of_and_tried_again(
    postgres: PostgresServer, open_database: Callable[[str], Database], monkeypatch
):
    monkeypatch.setattr(engine, "PATIENCE_S", 0.1)
    monkeypatch.setattr(module, "TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(engine, "PAUSE_MAX_S", 0.05)

    async def use() -> None:
        database = open_database(_place(postgres))
        database.watch(asyncio.get_running_loop())
        await database.run(_add("a"))
        postgres.kill()
        with pytest.raises(ServiceError, match="cannot be reached") as caught:
            await database.run(_add("b"))
        assert database.trouble is not None
        assert database.row()["trouble"] == database.trouble.message
        for text_ in (str(caught.value), str(caught.value.__cause__), str(database.row())):
            assert PASSWORD not in text_
            assert QUOTED not in text_
        postgres.start()
        await database.usable()
        assert database.trouble is None
        assert await database.run(_names) == ["a"]

    asyncio.run(use())


def test_a_server_that_is_away_at_first_is_told_of_at_once(
    open_database: Callable[[str], Database], tmp_path: Path
):
    database = open_database(f"postgresql://ada:{QUOTED}@/volant?host={tmp_path}")
    with pytest.raises(ServiceError, match="cannot be reached") as caught:
        database.submit(_names).result()
    assert QUOTED not in str(caught.value)
    assert caught.value.retryable


def test_a_wrong_password_is_told_without_it(
    postgres: PostgresServer, open_database: Callable[[str], Database]
):
    database = open_database(_place(postgres).replace(QUOTED, "wr0ng"))
    with pytest.raises(ServiceError, match="authentication failed") as caught:
        database.submit(_names).result()
    assert "wr0ng" not in str(caught.value)


def test_two_daemons_never_have_one_database(
    postgres: PostgresServer, open_database: Callable[[str], Database], monkeypatch
):
    """Who has lost the session that holds the lock can write nothing: another one may have it."""
    monkeypatch.setattr(engine, "PATIENCE_S", 0.1)
    url = _place(postgres)
    first, second = open_database(url), open_database(url)
    first.submit(_add("a")).result()
    with pytest.raises(ServiceError, match=f"another daemon uses .*volantd {os.getpid()} on "):
        second.submit(_names).result()
    with postgres.connect() as somebody:
        somebody.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'volantd%'"
        )
    monkeypatch.setattr(second._writer, "_next_attempt_at", 0.0)
    second.submit(_add("b")).result()
    with pytest.raises(ServiceError, match="another daemon"):
        first.submit(_add("c")).result()
    second.close()

    def names() -> list[str] | None:
        monkeypatch.setattr(first._writer, "_next_attempt_at", 0.0)
        try:
            return first.submit(_names).result()
        except ServiceError:  # the server has not seen yet that the other one is gone
            return None

    assert eventually(names, 20.0) == ["a", "b"]


def test_databases_in_schemas_of_one_server_do_not_know_each_other(
    postgres: PostgresServer, open_database: Callable[[str], Database]
):
    first, second = open_database(_place(postgres)), open_database(_place(postgres))
    first.submit(_add("a")).result()
    second.submit(_add("b")).result()
    assert first.submit(_names).result() == ["a"]


def test_commits_are_kept_although_the_server_is_set_otherwise(
    postgres: PostgresServer, open_database: Callable[[str], Database]
):
    url = _place(postgres) + "%20-csynchronous_commit%3Doff"
    database = open_database(url)
    query = text("SELECT current_setting('synchronous_commit')")
    assert database.submit(lambda one: one.execute(query).scalar()).result() == "on"


def test_what_is_no_address_is_refused_without_being_shown(
    open_database: Callable[[str], Database],
):
    database = open_database("postgresql://ada:s3cret@:::/")
    with pytest.raises(InvalidError, match="no address") as caught:
        database.submit(_names).result()
    assert "s3cret" not in str(caught.value)
