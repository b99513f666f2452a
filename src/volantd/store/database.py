"""The database: brought to the present schema, used by one thread that writes and one that reads.

It may be out of order for a while: the disk is full, its server is away. Then what is asked for is
refused with an error that says so, and the database is tried again until it can be used.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from volant.config import without_password
from volant.errors import DataLossError, Error, ResourceExhaustedError, ServiceError
from volantd.sealing.keyring import Keyring
from volantd.sealing.sealer import Sealer
from volantd.store.engines import postgres, sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    Session = sqlite.SqliteSession | postgres.PostgresSession

T = TypeVar("T")
log = logging.getLogger(__name__)

FILE_NAME = "volant.db"
#: The latest migration, to which a database that is opened is brought.
HEAD = "0007"
#: How often a database that is out of order is tried again.
TRY_AGAIN_S = 1.0


class Database:
    """The daemon's database. SQLAlchemy is imported, and a file made, on first use.

    Args:
        home: the directory of the daemon.
        url: `postgresql://...`; empty for a file in `home`.

    Attributes:
        sealer: with the keys of `home`.
        trouble: why the database cannot be used as a whole, None while it can.
    """

    def __init__(self, home: str, url: str = "") -> None:
        self._path = os.path.join(home, FILE_NAME)
        self._url = url
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._reading_thread = ThreadPoolExecutor(1, thread_name_prefix="store-read")
        kind, place = (postgres.PostgresSession, url) if url else (sqlite.SqliteSession, self._path)
        self.sealer = Sealer(Keyring(home))
        self._writer: Session = kind(place, partial(bring_up_to_date, sealer=self.sealer))
        self._reader: Session = kind(place, None)
        self._is_prepared = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._usable = asyncio.Event()
        self._usable.set()
        self._is_closed = False
        self.trouble: Error | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept, as far as that is known without asking a server."""
        return bool(self._url) or os.path.exists(self._path)

    def row(self) -> dict[str, str | None]:
        """What the status says of it."""
        return {
            "kind": "postgresql" if self._url else "sqlite",
            "place": without_password(self._url) if self._url else self._path,
            "trouble": None if self.trouble is None else self.trouble.message,
        }

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction, off the event loop; kept when this returns.

        Args:
            work: may be called again, when the connection is lost meanwhile.

        Raises:
            ServiceError: when the database is away.
            ResourceExhaustedError: when its disk is full.
            DataLossError: when it is damaged.
            sqlalchemy.exc.SQLAlchemyError: for anything else. Nothing is changed in all cases.
        """
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """`run`, after all that was asked for before, for who does not wait in a coroutine."""
        doubt = self._writer.doubt
        if doubt is None:
            return self._thread.submit(self._run, work)
        self._note(doubt)
        refused: Future[T] = Future()
        refused.set_exception(ServiceError(doubt.message, hint=doubt.hint))
        return refused

    def read(self, work: Callable[[Connection], T]) -> Future[T]:
        """`submit` for what changes nothing: it sees all that was committed, and waits for none."""
        return self._reading_thread.submit(self._read, work)

    async def look(self, work: Callable[[Connection], T]) -> T:
        """`read`, for who waits in a coroutine; it does not see what is only being written."""
        return await asyncio.wrap_future(self.read(work))

    async def usable(self) -> None:
        """Return as soon as the database is not out of order, as far as is known."""
        await self._usable.wait()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look a file through, in the background, and try on whenever the database fails."""
        self._loop = loop
        if not self._url and self.exists:
            loop.run_in_executor(None, self._look_through)

    def close(self) -> None:
        """Finish what is being done, and let go of the database."""
        self._is_closed = True
        for session in (self._reader, self._writer):
            session.end_waiting()
        self._reading_thread.shutdown()
        self._thread.shutdown()
        for session in (self._reader, self._writer):
            session.close()

    # -- on the threads

    def _run(self, work: Callable[[Connection], T]) -> T:
        return self._told(self._writer, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        if not self._is_prepared:
            self._thread.submit(self._run, _nothing).result()  # it has the present schema
        return self._told(self._reader, work)

    def _told(self, session: Session, work: Callable[[Connection], T]) -> T:
        """The result of some work, or what its failure means."""
        try:
            result = session.run(work)
        except Exception as error:
            meaning = self._meaning(error)
            if meaning is None:
                raise
            if not (self._url and isinstance(meaning, DataLossError)):
                self._note(meaning)  # else its server tells what of it is damaged, each time
            raise meaning from error
        self._is_prepared = True
        if not isinstance(self.trouble, (ResourceExhaustedError, DataLossError)):
            self._note(None)
        return result

    def _meaning(self, error: Exception) -> Error | None:
        if isinstance(error, Error):
            return error
        if self._url:
            return postgres.explained(error, self._url)
        if isinstance(self.trouble, DataLossError) and sqlite.is_refused_write(error):
            return DataLossError(self.trouble.message, hint=self.trouble.hint)
        return sqlite.explained(error, self._path)

    def _note(self, trouble: Error | None) -> None:
        """Remember whether the database is out of order; what is damaged stays so."""
        before, self.trouble = self.trouble, trouble
        if trouble is None and before is not None:
            log.info("database_usable_again")
            self._on_loop(self._usable.set)
        elif trouble is not None and before is None:
            log.error("database_trouble", extra={"fields": {"error": trouble.message}})
            self._on_loop(self._usable.clear)
            self._on_loop(self._try_later)
        if isinstance(trouble, DataLossError):
            self._writer.stop_writing()

    def _on_loop(self, act: Callable[[], object]) -> None:
        if self._loop is not None and not self._is_closed:
            self._loop.call_soon_threadsafe(act)

    def _try_later(self) -> None:
        assert self._loop is not None
        self._loop.call_later(TRY_AGAIN_S, self._try_now)

    def _try_now(self) -> None:
        if not self._is_closed and not isinstance(self.trouble, DataLossError):
            self._thread.submit(self._try_again)

    def _try_again(self) -> None:
        try:
            self._told(self._writer, self._writer.probe)
            self._note(None)
        except Exception as error:
            if self._meaning(error) is None:
                log.exception("database_unusable")
            self._on_loop(self._try_later)

    def _look_through(self) -> None:
        """Find damage before somebody needs what is damaged."""
        try:
            self._thread.submit(self._run, _nothing).result()  # what a kill left is dealt with
            problem = sqlite.check(self._path)
        except (OSError, RuntimeError, sqlite3.Error, Error) as error:  # it is full, or we end
            log.warning("database_not_checked", extra={"fields": {"error": str(error)}})
            return
        if problem and not self._is_closed:
            self._thread.submit(self._note, sqlite.damaged(self._path, problem))
        log.info("database_checked", extra={"fields": {"problem": problem}})


def _nothing(connection: Connection) -> None:
    """Have the database opened."""


def bring_up_to_date(connection: Connection, sealer: Sealer | None = None) -> bool:
    """Bring a database to the present schema, in the transaction of `connection`.

    Args:
        connection: to it.
        sealer: seals what earlier releases kept in clear; None where there can be no such thing.

    Returns:
        Whether there was an earlier one, of which nothing is to be left where it can be read.

    Raises:
        alembic.util.CommandError: for a database of a later release than this.
    """
    revision = _revision(connection)
    if revision is None:
        _begin(connection)
    elif revision != HEAD:
        upgrade(connection, sealer=sealer)
        return True
    return False


def _revision(connection: Connection) -> str | None:
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _begin(connection: Connection) -> None:
    """Make the present schema, without importing what brings an earlier one to it."""
    from sqlalchemy import text

    from volantd.store.schema import metadata

    metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def upgrade(connection: Connection, revision: str = HEAD, *, sealer: Sealer | None = None) -> None:
    """Bring a database to a later schema; `sealer` as for `bring_up_to_date`.

    Raises:
        alembic.util.CommandError: for a database of a later release than this.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", os.path.join(os.path.dirname(__file__), "migrations"))
    config.attributes["connection"] = connection
    config.attributes["sealer"] = sealer
    with sqlite.erasing(connection):
        command.upgrade(config, revision)
