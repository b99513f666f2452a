"""SQLite: one file, one connection that writes and one that reads, and what its errors mean.

What is committed survives a power cut. A file in which damage was found is only read from then on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

from volant.errors import DataLossError, ResourceExhaustedError, ServiceError
from volantd import syncing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

    from volant.errors import Error

T = TypeVar("T")

#: Free space below which a file that cannot be written is taken for a full disk.
NO_ROOM_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: How large the journal becomes, which from then on is written over: SQLite writes it back into the
#: file every 1,000 pages. Free space below which it is left to grow by itself.
JOURNAL_BYTES = 4 << 20
JOURNAL_ROOM_BYTES = 256 << 20
#: What it says of a file that is not what it was.
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
#: What it says when a file cannot be written, whatever the reason.
_UNWRITABLE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class SqliteSession:
    """One connection to a file.

    Args:
        path: of the file; made when it is first written to.
        prepare: brings the schema up to date; None for a connection that only reads, which is
            used when another one has prepared the file.
    """

    #: A file tells at once whether a COMMIT has happened.
    doubt: ServiceError | None = None

    def __init__(self, path: str, prepare: Callable[[Connection], object] | None) -> None:
        self._path = path
        self._prepare = prepare
        self._engine: Engine | None = None
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: when it cannot be done; nothing is changed.
            sqlite3.Error: the same, of an `OftenUsed` statement.
            OSError: when the file cannot be made.
        """
        if self._engine is None:
            self._engine = open_engine(self._path, self._prepare)
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with self._connection.begin():
                return work(self._connection)
        except BaseException:
            self._let_go()  # whatever has become of it
            raise

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def probe(self, connection: Connection) -> None:
        """Have a page written that changes nothing, to see whether that is possible."""
        connection.exec_driver_sql("PRAGMA user_version=0")

    def stop_writing(self) -> None:
        """Change nothing from now on: whoever wants to is refused."""
        self.close()
        self._prepare = None

    def end_waiting(self) -> None:
        """Nobody waits for a file."""

    def close(self) -> None:
        """Let go of the file."""
        self._let_go()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def open_engine(path: str, prepare: Callable[[Connection], object] | None) -> Engine:
    """An engine on a file that is made if need be, 0600.

    Args:
        path: of the file.
        prepare: called in the first transaction; None for an engine that only reads. What it says
            is whether what was there before is not to be found in the journal either.
    """
    from sqlalchemy import create_engine, event

    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    if prepare is not None:
        syncing.sync_above(path)
        syncing.sync_database(path)
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    event.listen(engine, "connect", _on_connect)
    if prepare is None:
        event.listen(engine, "connect", _on_connect_reading)
        event.listen(engine, "begin", _on_begin_reading)
        return engine
    event.listen(engine, "begin", _on_begin)
    try:
        with engine.begin() as connection:
            has_erased = prepare(connection)
        if has_erased:
            with engine.connect() as connection:
                _empty_journal(connection)
        _lengthen_journal(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextlib.contextmanager
def erasing(connection: Connection) -> Iterator[None]:
    """Overwrite what is replaced or removed meanwhile, where the database is a file."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA secure_delete=ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete=OFF")


def _empty_journal(connection: Connection) -> None:
    """Have the file itself be what it is now, and nothing of before lie beside it."""
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _lengthen_journal(engine: Engine, path: str) -> None:
    """Have the journal be as long as it becomes, so that no commit has to make it longer.

    A commit takes twice as long if the file system has to write down that a file has grown. What
    does not fit into the memory of a transaction is written to the journal; one that is taken back
    leaves nothing behind but the length.
    """
    journal = f"{path}-wal"
    length = os.stat(journal).st_size if os.path.exists(journal) else 0
    if length >= JOURNAL_BYTES or _free_bytes(path) < JOURNAL_ROOM_BYTES:
        return
    with engine.connect() as connection, contextlib.suppress(sqlite3.Error):  # it grows by itself
        driver: Any = connection.connection.driver_connection
        [(cache,)] = driver.execute("PRAGMA cache_size").fetchall()
        driver.execute("PRAGMA cache_size=0")
        try:
            driver.execute("BEGIN IMMEDIATE")
            driver.execute("CREATE TABLE lengthening (zeros BLOB)")
            driver.execute("INSERT INTO lengthening VALUES (zeroblob(?))", [JOURNAL_BYTES])
        finally:
            driver.rollback()
            driver.execute(f"PRAGMA cache_size={cache}")


def _on_connect(connection: Any, _record: object) -> None:
    """Settings of one connection: what is committed survives a power cut."""
    connection.isolation_level = None  # else changes of the schema are not part of transactions
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}")


def _on_connect_reading(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only=ON")


def _on_begin(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE")


def _on_begin_reading(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN")


def is_refused_write(error: Exception) -> bool:
    """Whether an error is that of somebody who wanted to change what is only read."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_READONLY)


def explained(error: Exception, path: str) -> Error | None:
    """What an error of a session means, None for what is no trouble of the file as a whole."""
    original = getattr(error, "orig", error)
    if isinstance(original, OSError) and original.errno in _FULL:
        return _full(path)
    if not isinstance(original, sqlite3.Error):
        return None
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code in _UNWRITABLE and _free_bytes(path) < NO_ROOM_BYTES):
        return _full(path)
    if code in DAMAGE:
        return damaged(path, str(original))
    if code in _UNWRITABLE:
        return ServiceError(
            f"the database {path} cannot be used: {original}",
            hint="look at its file system and who may write there; it is tried again",
        )
    return None


def damaged(path: str, problem: str) -> DataLossError:
    """What is said of a file that is not what it was."""
    return DataLossError(
        f"the database {path} is damaged: {problem}",
        hint="nothing is written to it any more; stop the daemon, and "
        "`volant server restore PATH --force` puts a backup in its place",
    )


def check(path: str) -> str:
    """Look through a whole file for damage, beside whoever uses it.

    Returns:
        The first thing that is wrong, "" if nothing is.

    Raises:
        sqlite3.Error: when it cannot be read at all.
    """
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        [(found,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in DAMAGE:
            return str(error)
        raise
    finally:
        connection.close()
    return "" if found == "ok" else str(found)


def _full(path: str) -> ResourceExhaustedError:
    place = _mount_point(os.path.dirname(path))
    return ResourceExhaustedError(
        f"the file system at {place} is full ({_free_bytes(path) >> 20} MiB free), so nothing "
        f"can be kept in {path}",
        hint="make room there; the daemon goes on by itself as soon as there is some",
    )


def _free_bytes(path: str) -> int:
    status = os.statvfs(os.path.dirname(path))
    return status.f_bavail * status.f_frsize


def _mount_point(directory: str) -> str:
    device = os.stat(directory).st_dev
    while (above := os.path.dirname(directory)) != directory:
        if os.stat(above).st_dev != device:
            break
        directory = above
    return directory
