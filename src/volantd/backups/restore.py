"""A backup is checked, laid ready in the home, and put in place in one step.

    checked ──► restore-unfinished/ ──rename──► restored/ ──► its files take the places of the old
                                          ▲                        └ `finish`, also at a start
                              from here on it is the new state

Whatever breaks it off ahead of the renaming leaves the old state, and what comes after it is done
again until it is done. Nothing runs in the home meanwhile: we have its lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from volant.errors import (
    AlreadyExistsError,
    ConflictError,
    DataLossError,
    InvalidError,
    VersionError,
)
from volantd import home_lock
from volantd.backups import dumps, layout, named, volumes
from volantd.backups.settling import READY, settle
from volantd.sealing.keyring import FILE_NAME as SEALING_KEY, Keyring
from volantd.store.database import FILE_NAME as DATABASE, HEAD

if TYPE_CHECKING:
    from volantd.backups.layout import Manifest, Report

_UNFINISHED = "restore-unfinished"
#: How the names of contents begin that are being put in place; a daemon removes them at its start.
_NEW = "new-restored-"


def restore(home: Path, path: Path, report: Report, *, force: bool, url: str = "") -> Manifest:
    """Put a backup into a home.

    Of a database in PostgreSQL that is two steps: it is put back on the server, then what belongs
    to it into the home. What breaks that off in between is put right by doing it again.

    Args:
        home: of a daemon that does not run.
        path: of the backup.
        report: told how far it is.
        force: whether a database that is there gives way.
        url: of the database; empty for a file in the home.

    Raises:
        InvalidError: when there is no backup at `path`, or one of the other kind of database.
        ServiceError: when the server is away, or a daemon uses the database.
        ConflictError: when a daemon runs in the home.
        AlreadyExistsError: when there is a database, and no `force`.
        DataLossError: when the backup is damaged, or its key is nowhere.
        VersionError: when it is of a later release.
        OSError: when it cannot be written; the old state stays.
    """
    manifest = layout.read_manifest(path)
    is_dump = layout.DUMP in manifest.files
    if is_dump != bool(url):
        raise InvalidError(
            f"{path} is a backup of a database in {'PostgreSQL' if is_dump else 'a file'}, and "
            f"that of {home} is {'a file' if is_dump else 'in PostgreSQL'}",
            hint="the setting `database_url` says where it is",
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not home_lock.take(str(home), 0.0):
        raise ConflictError(
            f"a daemon runs in {home}", hint="`volant server stop` ends it, with all that runs"
        )
    settle(str(home))  # what an earlier one had to do yet
    if not is_dump and (home / DATABASE).exists() and not force:
        raise AlreadyExistsError(
            f"there is a database in {home}", hint="--force has the backup take its place"
        )
    _check(path, manifest, report, home)
    unfinished = home / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    for name in manifest.files:
        if name != layout.DUMP:
            layout.copy(path / name, unfinished / name)
    _place_blobs(path, home, report)
    volumes.place(path, home, report)
    layout.sync_tree(unfinished)
    if is_dump:
        dumps.restore(url, path / layout.DUMP, manifest.namespace, force=force)
    unfinished.rename(home / READY)
    layout.sync_directory(home)
    settle(str(home))
    return manifest


def _check(path: Path, manifest: Manifest, report: Report, home: Path) -> None:
    """Look at every byte of a backup."""
    for name, digest in manifest.files.items():
        try:
            found = layout.hash_of(path / name)
        except OSError as error:
            raise DataLossError(f"the backup lacks {name}: {error}") from error
        if found != digest:
            raise DataLossError(f"{path / name} is not what was backed up")
    is_dump = layout.DUMP in manifest.files
    if is_dump:
        dumps.check(path / layout.DUMP)
    schema = manifest.schema if is_dump else layout.schema_of(path / DATABASE)
    if schema > HEAD:
        raise VersionError(
            f"the backup is of Volant {manifest.version}, and its database of a later schema "
            f"({schema}) than this one has ({HEAD})",
            hint="upgrade, then restore",
        )
    there = set()
    blobs = list(layout.contents_below(path))
    for index, blob in enumerate(blobs):
        if not layout.is_whole(blob):
            raise DataLossError(
                f"{blob} is damaged", hint="use another backup, or take this file from one"
            )
        there.add(blob.name)
        report("checked", index + 1, len(blobs))
    volumes.check(path, report)
    if schema == HEAD:
        keyring = _keyring(path, manifest, home)
        if is_dump:
            return  # what it named and was not there was told when it was made
        with named.opened(path / DATABASE) as connection:
            lacking = named.named_by(connection, keyring) - there - set(manifest.missing)
        if lacking:
            raise DataLossError(
                f"the backup lacks {len(lacking)} contents that its database names, such as "
                f"{min(lacking)}"
            )


def _keyring(path: Path, manifest: Manifest, home: Path) -> Keyring:
    """The keys that a backup is restored with: its own, or those that the home has."""
    if SEALING_KEY in manifest.files:
        return Keyring(str(path), is_home=False)
    keyring = Keyring(str(home))
    lacking = set(manifest.keys) - {key.key_id for key in keyring.all()}
    if lacking:
        raise DataLossError(
            f"the backup was made without its key, and {keyring.path} does not have it "
            f"({min(lacking)})",
            hint=f"put the file {SEALING_KEY} of that time into {home} first",
        )
    return keyring


def _place_blobs(path: Path, home: Path, report: Report) -> None:
    """Have all contents of a backup in the home; those that nothing names do no harm there."""
    blobs = list(layout.contents_below(path))
    places = set()
    for index, blob in enumerate(blobs):
        place = (home / blob.relative_to(path)).parent
        fresh = place / f"{_NEW}{blob.name}"
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        layout.link_or_copy(blob, fresh)
        os.replace(fresh, place / blob.name)  # what was there may have been damaged
        places.add(place)
        report("blobs", index + 1, len(blobs))
    for place in places:
        layout.sync_directory(place)
    for above in {place.parent for place in places}:
        layout.sync_directory(above)
