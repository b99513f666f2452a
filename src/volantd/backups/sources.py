"""The database of a home as what is backed up: a file, or a schema of a server.

`copied` copies one moment of it and gives a connection that sees this very moment, so that what it
names can be looked for beside it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Protocol

from volant.errors import NotFoundError
from volantd.backups import dumps, layout
from volantd.store.database import FILE_NAME as DATABASE
from volantd.store.engines import sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection

    from volantd.backups.layout import Report

#: Pages of a file that are copied between two reports.
PAGES_AT_ONCE = 4096


class Source(Protocol):
    """Where a database is."""

    #: what its copy is called in a backup
    file_name: str

    def check(self) -> None:
        """Make sure that there is one.

        Raises:
            NotFoundError: when there is none.
        """

    def copied(self, directory: Path, report: Report) -> AbstractContextManager[Connection]:
        """Copy it, and see what was copied.

        Raises:
            DataLossError: when it is damaged.
            ServiceError: when it cannot be read.
        """

    def namespace(self, connection: Connection) -> str:
        """The schema of the server that it is in; "" for a file."""


class FileSource:
    """A file of the home."""

    file_name = DATABASE

    def __init__(self, home: Path) -> None:
        self._path = home / DATABASE

    def check(self) -> None:
        """See `Source`."""
        if not self._path.exists():
            raise NotFoundError(
                f"there is no database in {self._path.parent}",
                hint="it is made with the first thing that is kept",
            )

    @contextlib.contextmanager
    def copied(self, directory: Path, report: Report) -> Iterator[Connection]:
        """See `Source`."""
        target = directory / DATABASE
        _copy(self._path, target, report)
        layout.schema_of(target)
        engine = sqlite.open_engine(str(target), None)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def namespace(self, connection: Connection) -> str:
        """See `Source`."""
        return ""


class ServerSource:
    """A schema of a server, which PostgreSQL's own tool copies."""

    file_name = layout.DUMP

    def __init__(self, url: str) -> None:
        self._url = url

    def check(self) -> None:
        """See `Source`."""
        dumps.find("pg_dump")

    @contextlib.contextmanager
    def copied(self, directory: Path, report: Report) -> Iterator[Connection]:
        """See `Source`."""
        with dumps.reading(self._url) as connection:
            report("database", 0, 1)
            dumps.dump(self._url, connection, directory / self.file_name)
            report("database", 1, 1)
            yield connection

    def namespace(self, connection: Connection) -> str:
        """See `Source`."""
        return dumps.namespace_of(connection)


def of(home: Path, url: str) -> Source:
    """The database of a home whose `database_url` is that."""
    return ServerSource(url) if url else FileSource(home)


def _copy(source: Path, target: Path, report: Report) -> None:
    """Copy one moment of a database to which others write meanwhile."""
    try:
        _copy_moment(source, target, report)
    except sqlite3.Error as error:
        is_damage = error.sqlite_errorcode & 0xFF in sqlite.DAMAGE
        meaning = sqlite.explained(error, str(source if is_damage else target))
        if meaning is None:
            raise
        raise meaning from error


def _copy_moment(source: Path, target: Path, report: Report) -> None:
    with (
        contextlib.closing(sqlite3.connect(source, isolation_level=None)) as read,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as written,
    ):
        target.chmod(0o600)
        # As long as we are reading, the moment is ours: the copy never has to begin anew.
        read.execute("BEGIN")
        read.execute("SELECT count(*) FROM sqlite_master").fetchone()
        read.backup(
            written, pages=PAGES_AT_ONCE,
            progress=lambda _, left, pages: report("database", pages - left, pages),
        )  # fmt: skip
        read.execute("COMMIT")
        written.execute("PRAGMA journal_mode=DELETE")  # one file, with all that is in it
    layout.sync_file(target)
