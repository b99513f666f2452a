"""The commands `volant server backup` and `volant server restore`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from volant.cli.backups.worker import run
from volant.cli.shared import show

#: The file with the keys to what is sealed.
KEY = "sealing.key"


@click.command(
    "backup", short_help="Back up what outlives the daemon, while it runs.",
    epilog="\b\nExamples:\n  volant server backup /backups/volant-today\n"
    "  volant server backup /backups/volant-today --json",
)  # fmt: skip
@click.argument("path", type=click.Path())
@click.option(
    "--without-key",
    is_flag=True,
    help="Leave out sealing.key, so that the backup alone tells nobody what it holds.",
)
@show.json_option
def backup(path: str, without_key: bool, as_json: bool) -> None:
    """Make a backup in the new directory PATH: the database with the contents that it names.

    The daemon may run meanwhile. On the same file system contents are linked, not copied. The key
    with which secrets can be read goes along, unless --without-key is given. With PostgreSQL its
    tool `pg_dump` has to be installed.
    """
    done = run("backup", os.path.abspath(path), *(["--without-key"] if without_key else []))
    if as_json:
        show.print_json(done)
        return
    print(f"backed up {done['home']} to {done['path']}: {_amounts(done)}")
    if KEY in done["files"]:
        print(f"it holds {KEY}, with which the secrets in it can be read: keep it as you keep them")
    else:
        print(f"it holds no {KEY}: it cannot be used without that file of the home, as it is now")
    _tell_missing(done)


@click.command(
    "restore", short_help="Put a backup in place, while no daemon runs.",
    epilog="\b\nExamples:\n  volant server stop\n"
    "  volant server restore /backups/volant-today --force",
)  # fmt: skip
@click.argument("path", type=click.Path())
@click.option("--force", is_flag=True, help="Have it take the place of a database that is there.")
@show.json_option
def restore(path: str, force: bool, as_json: bool) -> None:
    """Put the backup in directory PATH into the home, after every byte of it was checked.

    A database that gives way stays in the home as volant.db.replaced. With PostgreSQL its tool
    `pg_restore` has to be installed, and nothing stays of what gives way.
    """
    done = run("restore", os.path.abspath(path), *(["--force"] if force else []))
    if as_json:
        show.print_json(done)
        return
    print(f"restored {done['path']} to {done['home']}: {_amounts(done)}")
    _tell_missing(done)


def _amounts(done: dict[str, Any]) -> str:
    database, blobs = show.memory(done["database_bytes"]), show.memory(done["blob_bytes"])
    return f"database {database}, {done['blobs']} contents {blobs}"


def _tell_missing(done: dict[str, Any]) -> None:
    if done["missing"]:
        print(
            f"note: {len(done['missing'])} contents that the database names were not there, such "
            f"as {done['missing'][0]}", file=sys.stderr,
        )  # fmt: skip
