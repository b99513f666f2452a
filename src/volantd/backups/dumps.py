"""What PostgreSQL's own tools do in backups: `pg_dump` writes a schema, `pg_restore` puts it back.

Both get the address without its password, which other users could see in the list of processes; it
is in a file of our own meanwhile. What is put back takes the place of what was there in one
transaction.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volant.errors import DataLossError, InvalidError, NotFoundError, ServiceError
from volantd.store.engines import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

#: Where Debian has its versions side by side.
INSTALLED = Path("/usr/lib/postgresql")
#: Of what a tool prints when it fails, what is told.
SAID_CHARS_MAX = 500
#: How a list of a dump names a table: `215; 1259 16386 TABLE public apps volant`.
_TABLE = re.compile(r"^\d+; \d+ \d+ TABLE \S+ (\S+) ", re.MULTILINE)


def find(name: str) -> str:
    """One of PostgreSQL's tools: that of the command line, else the newest that is installed.

    Raises:
        NotFoundError: when there is none.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    known = [one for one in INSTALLED.glob(f"*/bin/{name}") if one.parts[-3].isdecimal()]
    if not known:
        raise NotFoundError(
            f"the database is in PostgreSQL, and its tool `{name}` is not installed here",
            hint="install PostgreSQL's client, such as Debian's `postgresql-client`, in the "
            "version of the server or a later one",
        )
    return str(max(known, key=lambda path: int(path.parts[-3])))


@contextlib.contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A connection that sees one moment of the database.

    Raises:
        ServiceError: when its server is away.
        NotFoundError: when nothing was ever kept there.
    """
    from sqlalchemy.exc import OperationalError

    engine = postgres.open_engine(url)
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise postgres.unreachable(url, error) from error
    try:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            if not is_used(connection):
                raise NotFoundError(
                    f"nothing is kept in {postgres.place_of(url)}",
                    hint="it is made with the first thing that is kept",
                )
            yield connection
    finally:
        connection.close()


def is_used(connection: Connection) -> bool:
    """Whether there is a database of ours."""
    from sqlalchemy import inspect

    return inspect(connection).has_table("alembic_version")


def namespace_of(connection: Connection) -> str:
    """The schema that it is in."""
    from sqlalchemy import text

    return str(connection.execute(text("SELECT current_schema()")).scalar_one())


def dump(url: str, connection: Connection, path: Path) -> None:
    """Write what a connection sees to a file.

    Raises:
        ServiceError: when the tool fails.
    """
    from sqlalchemy import text

    snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
    _run(
        "pg_dump", url, "--format=custom", f"--file={path}", f"--snapshot={snapshot}",
        f"--schema={_quoted(namespace_of(connection))}", "--no-owner", "--no-privileges",
    )  # fmt: skip


def restore(url: str, path: Path, namespace: str, *, force: bool) -> None:
    """Put what was dumped in the place of what is there: all of it, or nothing changes.

    Args:
        url: of a database that no daemon uses.
        path: of the dump.
        namespace: the schema that it was in.
        force: whether what is there gives way.

    Raises:
        AlreadyExistsError: when there is something, and no `force`.
        InvalidError: when it would go into another schema than it was in.
        ServiceError: when a daemon uses it, it is away, or the tool fails.
    """
    from volant.errors import AlreadyExistsError

    find("pg_restore")
    there = postgres.PostgresSession(url, _nothing)  # which has the lock as long as it is open
    try:
        here, used = there.run(lambda one: (namespace_of(one), is_used(one)))
        if used and not force:
            raise AlreadyExistsError(
                f"there is something in {postgres.place_of(url)}",
                hint="--force has the backup take its place",
            )
        if here != namespace:
            raise InvalidError(
                f"the backup is of the schema {namespace!r}, and `database_url` leads to {here!r}",
                hint="name the schema by `?options=-csearch_path%3D...`, and make it if need be",
            )
        listed = _run("pg_restore", None, "--list", str(path))
        _run(
            "pg_restore", url, f"--schema={namespace}", "--clean", "--if-exists", "--no-owner",
            "--no-privileges", "--single-transaction", "--exit-on-error", str(path),
        )  # fmt: skip
        there.run(lambda one: _drop_later(one, set(_TABLE.findall(listed))))
    finally:
        there.close()


def _nothing(connection: Connection) -> None:
    """Leave the schema as it is."""


def _drop_later(connection: Connection, dumped: set[str]) -> None:
    """Remove tables of a later release than the backup's, which its upgrade will make again."""
    from volantd.store.schema import metadata

    later = [table for table in metadata.sorted_tables if table.name not in dumped]
    metadata.drop_all(connection, tables=later)


def check(path: Path) -> None:
    """Make sure that a file is a dump that can be put back.

    Raises:
        DataLossError: when it is none.
    """
    try:
        _run("pg_restore", None, "--list", str(path))
    except ServiceError as error:
        raise DataLossError(f"{path} is damaged: {error.message}") from error


def _quoted(name: str) -> str:
    """A name as a pattern that means it alone."""
    return '"' + name.replace('"', '""') + '"'


def _run(name: str, url: str | None, *arguments: str) -> str:
    """What a tool prints; with a database, or with none.

    Raises:
        ServiceError: when it fails.
    """
    with tempfile.NamedTemporaryFile("w", prefix="volant-") as secret:  # 0600
        where = [] if url is None else [f"--dbname={_address(url, secret.name)}", "--no-password"]
        if url is not None:
            secret.write(_password_line(url))
            secret.flush()
        done = subprocess.run(
            [find(name), *where, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", check=False,
        )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip()[-SAID_CHARS_MAX:]
        raise ServiceError(
            f"`{name}` failed: {said or f'status {done.returncode}'}",
            hint="a tool of the server's version or a later one is needed",
        )
    return done.stdout


def _address(url: str, password_file: str) -> str:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    told: dict[str, Any] = {**conninfo_to_dict(url)}
    if told.pop("password", None) is not None:
        told["passfile"] = password_file
    return make_conninfo(**told)


def _password_line(url: str) -> str:
    """The line of a file of passwords; empty where the address has none."""
    from psycopg.conninfo import conninfo_to_dict

    password = conninfo_to_dict(url).get("password")
    if password is None:
        return ""
    return "*:*:*:*:" + re.sub(r"([\\:])", r"\\\1", str(password)) + "\n"
