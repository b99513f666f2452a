"""The database: opened, brought to the present schema, and used by one thread at a time."""

from __future__ import annotations

import asyncio
import errno
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import OperationalError

T = TypeVar("T")

FILE_NAME = "volant.db"
#: The latest migration, to which a database that is opened is brought.
HEAD = "0003"
#: Of SQLite's extended codes, the part that is the code.
_PRIMARY_CODE = 0xFF
#: With less free, an error of input and output is one of a full disk: its files grow by so much.
_FULL_BYTES = 64 << 10


class Database:
    """The daemon's database. SQLAlchemy is imported, and the file made, on first use.

    Args:
        home: the directory of the daemon.
    """

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, FILE_NAME)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._engine: Engine | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return os.path.exists(self._path)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction, off the event loop; kept when this returns.

        Raises:
            OSError: when the disk is full; nothing is changed.
            sqlalchemy.exc.SQLAlchemyError: when the database cannot be used; nothing is changed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """`run`, after all that was asked for before, for who does not wait in a coroutine."""
        return self._thread.submit(self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        from sqlalchemy.exc import OperationalError

        try:
            if self._engine is None:
                self._engine = open_engine(self._path)
            with self._engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            if not self._is_full(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path) from error

    def _is_full(self, error: OperationalError) -> bool:
        """Whether a failure is one of a full disk; of the files beside it, SQLite does not say."""
        import sqlite3

        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if code == sqlite3.SQLITE_IOERR:
            disk = os.statvfs(os.path.dirname(self._path))
            return disk.f_bavail * disk.f_frsize < _FULL_BYTES
        return code == sqlite3.SQLITE_FULL

    def close(self) -> None:
        """Finish what is being done, and let go of the file."""
        self._thread.shutdown()
        if self._engine is not None:
            self._engine.dispose()


def open_engine(path: str) -> Engine:
    """An engine on a file that is made if need be, 0600, with the present schema."""
    from sqlalchemy import create_engine, event

    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    try:
        with engine.begin() as connection:
            revision = _revision(connection)
            if revision is None:
                _begin(connection)
            elif revision != HEAD:
                upgrade(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _on_connect(connection: Any, _record: object) -> None:
    """Settings of one connection: what is committed survives a power cut."""
    connection.isolation_level = None  # else changes of the schema are not part of transactions
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


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


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Bring a database to a later schema.

    Raises:
        alembic.util.CommandError: for a database of a later release than this.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", os.path.join(os.path.dirname(__file__), "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
