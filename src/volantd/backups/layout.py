"""What a backup consists of, and what is done to its files.

<path>/
    backup.json          what it is, and hashes of the other files; written last
    volant.db            the database, whole, without a journal beside it; or instead of it
    volant.dump          what `pg_dump` has written of one in PostgreSQL
    tokens.json          as in the home, if there is one
    sealing.key          the same, unless it was to be left out
    blobs/<2 digits>/<sha256>
    dicts/<2 digits>/    large values, each named by chance and by the first half of its sha256
    volumes/             see `volumes.py`

A directory and no archive: contents are linked where that is possible, so that a backup of many
gigabytes takes no time and no room, and one file of it can be looked at without unpacking others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volant.errors import DataLossError, InvalidError
from volantd.hub.objects.dicts.dicts import DIRECTORY as DICTS
from volantd.hub.web.tokens import FILE_NAME as TOKENS
from volantd.sealing.keyring import FILE_NAME as SEALING_KEY
from volantd.store.database import FILE_NAME as DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Told how far something is: what, how much of it is done, of how much.
    Report = Callable[[str, int, int], object]

FORMAT = 1
MANIFEST = "backup.json"
DUMP = "volant.dump"
BLOBS = "blobs"
#: Where contents are, in a home and in a backup.
PLACES = (BLOBS, DICTS)
#: Files of a home that belong to what is kept, beside the database.
BESIDE = (TOKENS, SEALING_KEY)
#: A manifest that is longer is none of ours.
MANIFEST_BYTES_MAX = 16 << 20
_PIECE_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `backup.json` says.

    Attributes:
        missing: contents that the database names and that were not there.
        namespace: the schema of PostgreSQL that was dumped.
        keys: ids of the keys that values of the database are sealed with.
    """

    format: int
    version: str
    schema: str
    created_at: float
    blobs: int
    blob_bytes: int
    database_bytes: int
    #: name -> sha256, of the database and what is beside it
    files: dict[str, str]
    missing: list[str] = field(default_factory=list)
    namespace: str = ""
    keys: list[str] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        """Write it to the disk."""
        with (directory / MANIFEST).open("w") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())


def read_manifest(directory: Path) -> Manifest:
    """What a backup says of itself.

    Raises:
        InvalidError: when that is no backup, or one of a later release.
    """
    path = directory / MANIFEST
    refusal = f"{directory} is no backup"
    hint = "`volant server backup PATH` makes one; one that has no backup.json was not finished"
    try:
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            raise InvalidError(refusal, hint=hint)
        told: dict[str, Any] = json.loads(path.read_bytes())
        if told["format"] != FORMAT:
            raise InvalidError(
                f"{directory} is a backup of another release (format {told['format']!r})",
                hint="restore it with the release that made it, or a later one",
            )
        manifest = Manifest(**told)
        databases = {DATABASE, DUMP}.intersection(manifest.files)
        if len(databases) != 1 or not {*databases, *BESIDE}.issuperset(manifest.files):
            raise InvalidError(refusal, hint=hint)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidError(f"{refusal}: {error}", hint=hint) from error
    return manifest


def blobs_below(directory: Path) -> Iterator[Path]:
    """The contents in a directory of blobs; what is being written is none yet."""
    with contextlib.suppress(FileNotFoundError):
        for below in sorted(directory.iterdir()):
            if len(below.name) == 2 and below.is_dir():
                yield from sorted(one for one in below.iterdir() if _DIGEST.fullmatch(one.name))


def contents_below(directory: Path) -> Iterator[Path]:
    """All contents of a home or a backup."""
    for place in PLACES:
        yield from blobs_below(directory / place)


def is_whole(content: Path) -> bool:
    """Whether a content is what its name says."""
    digest = hash_of(content)
    if content.parent.parent.name == DICTS:
        half = len(digest) // 2
        return content.name[half:] == digest[:half]
    return content.name == digest


def hash_of(path: Path) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Have a file that never changes at another place too; on the disk when this returns."""
    target.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise  # it is gone
    except OSError:  # another file system, or one without links
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file that may be written to later, or elsewhere; on the disk when this returns."""
    with source.open("rb") as read, target.open("xb") as written:
        os.fchmod(written.fileno(), 0o600)
        shutil.copyfileobj(read, written, _PIECE_BYTES)
        written.flush()
        os.fsync(written.fileno())


def sync_file(path: Path) -> None:
    """Have what was written to a file on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_tree(directory: Path) -> None:
    """Have the names of all files below a directory on the disk."""
    for parent, _, _ in os.walk(directory, topdown=False):
        sync_directory(Path(parent))


def sync_directory(directory: Path) -> None:
    """Have the names of files in a directory on the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def empty(directory: Path) -> None:
    """Remove whatever is in a directory."""
    for entry in list(directory.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def schema_of(path: Path) -> str:
    """The schema of a database that nobody uses, looked through for damage.

    Raises:
        DataLossError: when it is damaged.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            [(found,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
            if found != "ok":
                raise DataLossError(f"{path} is damaged: {found}")
            [(schema,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except (sqlite3.Error, ValueError) as error:
        raise DataLossError(f"{path} is damaged: {error}") from error
    return str(schema)
