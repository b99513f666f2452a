"""A backup is made beside its place, while the daemon goes on, and appears there whole.

    blobs ──► database, one moment of it ──► blobs that came meanwhile ──► checked ──► renamed

Contents never change, so those that the database named at its moment are the ones that are there,
before or after. What is broken off leaves a hidden directory, which the next attempt removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from volant.errors import (
    AlreadyExistsError,
    ConflictError,
    DataLossError,
    InvalidError,
)
from volant.version import VERSION
from volantd.backups import layout, named, sources, volumes
from volantd.backups.layout import BESIDE, FORMAT, Manifest
from volantd.images.kept.books import wall_clock
from volantd.sealing import anew
from volantd.sealing.keyring import FILE_NAME as SEALING_KEY, Keyring
from volantd.store.database import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from volantd.backups.layout import Report
    from volantd.backups.sources import Source


class KeysChangedError(DataLossError):
    """The database that was copied needs other keys than were."""


#: How often it is made anew because contents that it needs have vanished meanwhile.
ATTEMPTS_MAX = 3


def back_up(
    home: Path, path: Path, report: Report, *, url: str = "", with_key: bool = True
) -> Manifest:
    """Make a backup of a home, at a path where nothing is yet.

    Args:
        home: of a daemon.
        path: of the new directory.
        report: told how far it is.
        url: of its database; empty for a file in the home.
        with_key: whether the keys go along with which descriptions and secrets can be read.

    Raises:
        NotFoundError: when there is nothing to back up.
        AlreadyExistsError: when there is something at `path`.
        ConflictError: when another backup is being made there.
        DataLossError: when the database is damaged, or its keys are not there.
        ServiceError: when it cannot be read.
        OSError: when it cannot be written; nothing of it stays.
    """
    source = sources.of(home, url)
    source.check()
    with _unfinished(path) as directory:
        for attempt in range(ATTEMPTS_MAX):
            layout.empty(directory)
            try:
                manifest = _write(home, source, directory, report)
            except KeysChangedError:
                if attempt == ATTEMPTS_MAX - 1:
                    raise
                continue
            if not manifest.missing or attempt == ATTEMPTS_MAX - 1:
                break
        if not with_key and manifest.files.pop(SEALING_KEY, ""):
            (directory / SEALING_KEY).unlink()
        manifest.write(directory)
        layout.sync_tree(directory)
        directory.rename(path)
        layout.sync_directory(path.parent)
    return manifest


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """A directory beside `path` that is ours; removed unless it was renamed."""
    if not path.parent.is_dir():
        raise InvalidError(f"there is no directory {path.parent}", hint="make it first")
    if os.path.lexists(path):
        raise AlreadyExistsError(f"there is something at {path}", hint="choose another path")
    directory = path.with_name(f".{path.name}.unfinished")
    directory.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(fd), directory.stat())
        except OSError:
            is_ours = False
        if not is_ours:
            raise ConflictError(f"another backup to {path} is just being made")
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(fd)


def _write(home: Path, source: Source, directory: Path, report: Report) -> Manifest:
    files = [source.file_name, *_copy_beside(home, directory)]
    linked = _link_blobs(home, directory, report)
    missing, keys = [], set()
    with source.copied(directory, report) as connection:
        schema, namespace = _schema_of(connection), source.namespace(connection)
        linked |= _link_blobs(home, directory, report)
        volumes.back_up(home, directory, report)
        if schema == HEAD:
            keyring, keys = Keyring(str(directory)), anew.keys_in_use(connection)
            _check_keys(keys, keyring)
            missing = sorted(named.named_by(connection, keyring) - linked)
    layout.sync_file(directory / source.file_name)
    return Manifest(
        format=FORMAT, version=VERSION, schema=schema, created_at=wall_clock(), blobs=len(linked),
        blob_bytes=sum(one.stat().st_size for one in layout.contents_below(directory)),
        database_bytes=(directory / source.file_name).stat().st_size,
        files={name: layout.hash_of(directory / name) for name in files}, missing=missing,
        namespace=namespace, keys=sorted(keys),
    )  # fmt: skip


def _schema_of(connection: Connection) -> str:
    from sqlalchemy import text

    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _copy_beside(home: Path, directory: Path) -> list[str]:
    """Copy what belongs to the database; the names of the files that were there."""
    copied = []
    for name in BESIDE:
        with contextlib.suppress(FileNotFoundError):
            layout.copy(home / name, directory / name)
            copied.append(name)
    return copied


def _check_keys(keys: set[str], keyring: Keyring) -> None:
    """Make sure that keys were not changed between their copy and that of the database."""
    lacking = keys - {key.key_id for key in keyring.all()}
    if lacking:
        raise KeysChangedError(
            f"what is kept was sealed with the key {min(lacking)}, which is not in the home",
            hint="put the file sealing.key back that belongs to this database",
        )


def _link_blobs(home: Path, directory: Path, report: Report) -> set[str]:
    """Have all contents in the backup that are in the home; their hashes."""
    found = list(layout.contents_below(home))
    linked = set()
    for index, source in enumerate(found):
        target = directory / source.relative_to(home)
        with contextlib.suppress(FileNotFoundError):  # nothing names it any more
            if not target.exists():
                layout.link_or_copy(source, target)
            linked.add(source.name)
        report("blobs", index + 1, len(found))
    return linked
