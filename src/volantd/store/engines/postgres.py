"""PostgreSQL: one session for each thread, found again when it was lost, and what errors mean.

    work ──► transaction ──► its mark is set ──► COMMIT ──► done
                │ lost                             │ lost
                └─► connect again, all anew        └─► connect again: is the mark there?
                                                         yes: done    no: all anew

The session that writes holds the lock of the hub. Who has lost the session has lost the lock, and
can write nothing before it has both again; so there is never a second daemon that writes, not even
for a moment. The mark is a number of each transaction, in a table of one row: it tells whether a
COMMIT whose answer was lost has happened, also after a crash of the server.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from volant.config import without_password
from volant.errors import (
    DataLossError,
    InvalidError,
    ResourceExhaustedError,
    ServiceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from volant.errors import Error

T = TypeVar("T")

#: How long work waits for a server that was there and is gone.
PATIENCE_S = 15.0
#: How often the same work is begun: it may be what brings the server down.
ATTEMPTS_MAX = 10
#: Between two attempts to connect: at first, and at most.
PAUSE_MIN_S = 0.05
PAUSE_MAX_S = 1.0
#: What libpq is told, unless the address says otherwise: how soon a dead server is noticed.
_CONNECT_ARGUMENTS = {
    "connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}  # fmt: skip
#: How soon the server notices a dead daemon, and lets go of its lock; and that commits are kept.
_SETTINGS = (
    "SET tcp_keepalives_idle = 10", "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'",
)  # fmt: skip
#: First half of the number of the lock; the second one is of the schema, as tables are.
_LOCK = 0x766F6C61
_MARK_TABLE = "volant_mark"
_SET_MARK = (
    f"UPDATE {_MARK_TABLE} SET mark = :mark"  # noqa: S608  # a constant
    " WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
)
_HOLDER = (
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.classid = :lock AND l.granted"
    " AND l.objid::bigint = hashtext(current_schema())::bigint & 4294967295"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_DISK_FULL, _DAMAGED = ("53100",), ("XX001", "XX002")


class PostgresSession:
    """One session of a server.

    Args:
        url: `postgresql://...`.
        prepare: brings the schema up to date; None for a session that only reads.

    Attributes:
        doubt: why it is not known whether a COMMIT has happened, while that has taken longer than
            `PATIENCE_S`: nothing else can be done meanwhile. None otherwise.
    """

    def __init__(self, url: str, prepare: Callable[[Connection], object] | None) -> None:
        self._url = url
        self._prepare = prepare
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._was_connected = False
        self._lost_at = 0.0
        self._next_attempt_at = 0.0
        self._refusal = ServiceError()
        self.doubt: ServiceError | None = None
        self._closing = threading.Event()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction; it is done again if the server is lost meanwhile.

        If the server went during a COMMIT, this waits until it can tell whether that has happened.

        Raises:
            ServiceError: when the server is away for longer than `PATIENCE_S`, or was away ever
                since; nothing is changed.
            sqlalchemy.exc.SQLAlchemyError: when it cannot be done; nothing is changed.
        """
        for _ in range(ATTEMPTS_MAX):
            connection = self._connected()
            mark = secrets.randbits(63)
            try:
                result, is_kept = self._attempt(connection, work, mark)
            except BaseException:
                if not connection.invalidated:
                    raise
                self._lose()
                continue
            if is_kept or self._is_marked(mark):
                return result
        raise ServiceError(
            f"{place_of(self._url)} was lost {ATTEMPTS_MAX} times in the middle of the same work",
            hint="see to the server, and to what its log says",
        )

    def _attempt(
        self, connection: Connection, work: Callable[[Connection], T], mark: int
    ) -> tuple[T, bool]:
        """The result of `work`, and False when nobody knows whether its transaction is kept."""
        from sqlalchemy import text

        transaction = connection.begin()
        try:
            result = work(connection)
            if self._prepare is not None:
                connection.execute(text(_SET_MARK), {"mark": mark})
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to be told
                transaction.rollback()
            raise
        try:
            transaction.commit()
        except Exception:
            if not connection.invalidated:
                raise
            self._lose()
            return result, self._prepare is None
        return result, True

    def _is_marked(self, mark: int) -> bool:
        """Whether a COMMIT whose answer was lost has happened, however long it takes to learn."""
        try:
            while True:
                try:
                    return self._has_mark(self._connected(), mark)
                except ServiceError as error:
                    if self._closing.wait(PAUSE_MAX_S):
                        raise
                    self.doubt = error
                except Exception:
                    if self._connection is None or not self._connection.invalidated:
                        raise
                    self._lose()
        finally:
            self.doubt = None

    @staticmethod
    def _has_mark(connection: Connection, mark: int) -> bool:
        from sqlalchemy import text

        with connection.begin():
            query = text(f"SELECT mark FROM {_MARK_TABLE}")  # noqa: S608  # a constant
            found = connection.execute(query).scalar()
        return bool(found == mark)

    # -- connecting

    def _connected(self) -> Connection:
        if self._connection is not None:
            return self._connection
        if monotonic() < self._next_attempt_at:
            raise ServiceError(self._refusal.message, hint=self._refusal.hint)
        deadline = self._lost_at + PATIENCE_S if self._was_connected else 0.0
        pause = PAUSE_MIN_S
        while True:
            try:
                self._connection = self._connect()
            except ServiceError as error:
                if monotonic() + pause > deadline or self._closing.wait(pause):
                    self._refusal = error
                    self._next_attempt_at = monotonic() + PAUSE_MAX_S
                    raise
                pause = min(pause * 2, PAUSE_MAX_S)
            else:
                self._was_connected = True
                return self._connection

    def _connect(self) -> Connection:
        from sqlalchemy import text
        from sqlalchemy.exc import OperationalError

        if self._engine is None:
            self._engine = open_engine(self._url)
        connection = None
        try:
            connection = self._engine.connect()
            with connection.begin():
                for setting in _SETTINGS:
                    connection.exec_driver_sql(setting)
            if self._prepare is not None:
                self._lock(connection)
                with connection.begin():
                    self._prepare(connection)
                    connection.execute(text(
                        f"CREATE TABLE IF NOT EXISTS {_MARK_TABLE} (mark bigint NOT NULL)"
                    ))  # fmt: skip
                    connection.execute(text(
                        f"INSERT INTO {_MARK_TABLE} SELECT 0"  # noqa: S608
                        f" WHERE NOT EXISTS (SELECT FROM {_MARK_TABLE})"
                    ))  # fmt: skip
        except OperationalError as error:
            _discard(connection)
            raise unreachable(self._url, error) from error
        except BaseException:
            _discard(connection)
            raise
        return connection

    def _lock(self, connection: Connection) -> None:
        """Have this session be the one that writes."""
        from sqlalchemy import text

        taken = text("SELECT pg_try_advisory_lock(:lock, hashtext(current_schema()))")
        with connection.begin():
            if connection.execute(taken, {"lock": _LOCK}).scalar():
                return
            holder = connection.execute(text(_HOLDER), {"lock": _LOCK}).scalar()
        raise ServiceError(
            f"another daemon uses {place_of(self._url)}: {holder or 'it is just ending'}",
            hint="one daemon has one database: stop the other one, or give this one a database, "
            "or a schema, of its own",
        )

    def _lose(self) -> None:
        _discard(self._connection)
        self._connection = None
        self._lost_at = monotonic()

    def probe(self, connection: Connection) -> None:
        """Have a row written that changes nothing, to see whether that is possible."""
        connection.exec_driver_sql(f"UPDATE {_MARK_TABLE} SET mark = mark")  # noqa: S608

    def stop_writing(self) -> None:
        """Nothing: the server itself refuses what cannot be written any more."""

    def end_waiting(self) -> None:
        """Have no work wait for the server any more; may be called on any thread."""
        self._closing.set()

    def close(self) -> None:
        """Let go of the session, and with it of the lock."""
        _discard(self._connection)
        self._connection = None


def _discard(connection: Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(Exception):  # what is broken need not be closed well
            connection.close()


def open_engine(url: str) -> Engine:
    """An engine on a server, which keeps no connection.

    Raises:
        InvalidError: for what is no address, or without psycopg.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise InvalidError(
            "`database_url` is no address of a database",
            hint="postgresql://user@host:5432/database; special characters of a password as %XX",
        ) from None
    arguments: dict[str, Any] = {
        "application_name": f"volantd {os.getpid()} on {socket.gethostname()}",
        **_CONNECT_ARGUMENTS,
    }
    given = {name: value for name, value in arguments.items() if name not in parsed.query}
    try:
        return create_engine(
            parsed, poolclass=NullPool, hide_parameters=True, connect_args=given
        )  # fmt: skip
    except ImportError as error:
        raise InvalidError(
            f"`database_url` needs psycopg: {error}",
            hint="python -m pip install 'volant[postgres]', in the environment of the daemon",
        ) from error


def explained(error: Exception, url: str) -> Error | None:
    """What an error of a session means, None for what is no trouble of the database as a whole."""
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    if code in _DISK_FULL:
        return ResourceExhaustedError(
            f"the disk of the server of {place_of(url)} is full: {_first_line(error)}",
            hint="make room there; the daemon goes on by itself as soon as there is some",
        )
    if code in _DAMAGED:
        return DataLossError(
            f"{place_of(url)} is damaged: {_first_line(error)}",
            hint="restore it from a dump, as the manual of PostgreSQL says",
        )
    return None


def place_of(url: str) -> str:
    """A database in words, without its password."""
    return f"the database {without_password(url)}"


def unreachable(url: str, error: Exception) -> ServiceError:
    """What is said of a server that does not let us in."""
    return ServiceError(
        f"{place_of(url)} cannot be reached: {_first_line(error)}",
        hint="see to the server; the daemon goes on by itself as soon as it is there",
    )


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().partition("\n")[0]
