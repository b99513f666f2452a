"""What volumes consist of, in a backup and put back from it.

    <path>/volumes/small.db              small contents, one moment of them
    <path>/volumes/large/<2 digits>/<digest>

It is copied after the database, so all that this names is there; contents never change. Put back,
they join those of the home: what nothing names there does no harm, and is swept some time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from typing import TYPE_CHECKING

from volant.errors import DataLossError
from volant.wire import chunks
from volantd.backups import layout
from volantd.blobs.contents import LARGE, SMALL, Contents
from volantd.volumes.laying import copy_sparse
from volantd.volumes.service import CONTENTS_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from volantd.backups.layout import Report

VOLUMES = "volumes"
#: Small contents that are put back in one transaction.
ROWS = 1000


def back_up(home: Path, directory: Path, report: Report) -> None:
    """Have all contents of volumes in a backup; nothing where there are none."""
    source, target = home / CONTENTS_DIR, directory / VOLUMES
    if not (source / SMALL).exists():
        return
    target.mkdir(mode=0o700)
    with (
        contextlib.closing(sqlite3.connect(source / SMALL, isolation_level=None)) as read,
        contextlib.closing(sqlite3.connect(target / SMALL, isolation_level=None)) as written,
    ):
        (target / SMALL).chmod(0o600)
        read.backup(written)
        written.execute("PRAGMA journal_mode=DELETE")
    with (target / SMALL).open("rb") as file:
        os.fsync(file.fileno())
    found = list(layout.blobs_below(source / LARGE))
    for index, one in enumerate(found):
        with contextlib.suppress(FileNotFoundError):  # nothing names it any more
            layout.link_or_copy(one, target / LARGE / one.parent.name / one.name)
        report("volumes", index + 1, len(found))


def check(path: Path, report: Report) -> None:
    """Look at every byte of what a backup has of volumes.

    Raises:
        DataLossError: when some of it is damaged.
    """
    for rows in _rows(path):
        for digest, data in rows:
            if hashlib.sha256(data).hexdigest() != digest:
                raise DataLossError(f"a content of a volume is damaged in {path}: {digest}")
    found = list(layout.blobs_below(path / VOLUMES / LARGE))
    for index, one in enumerate(found):
        with one.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if chunks.digest_of_file(file.fileno(), size)[0] != one.name:
                raise DataLossError(f"{one} is damaged", hint="use another backup")
        report("checked", index + 1, len(found))


def place(path: Path, home: Path, report: Report) -> None:
    """Have the contents of volumes of a backup in a home of which no daemon runs."""
    contents = Contents(str(home / CONTENTS_DIR))
    try:
        for rows in _rows(path):
            contents.put(rows)
        found = list(layout.blobs_below(path / VOLUMES / LARGE))
        for index, one in enumerate(found):
            fd, unfinished = contents.unfinished()
            os.close(fd)
            os.unlink(unfinished)
            # No link: who lays it out changes its attributes, and a backup stays as it is.
            with one.open("rb") as read, open(unfinished, "xb") as written:
                copy_sparse(read.fileno(), written.fileno(), os.fstat(read.fileno()).st_size)
            contents.finish(unfinished, one.name)
            report("volumes", index + 1, len(found))
    finally:
        contents.close()


def _rows(path: Path) -> Iterator[list[tuple[str, bytes]]]:
    """The small contents of a backup, some at a time."""
    small = path / VOLUMES / SMALL
    if not small.exists():
        return
    with contextlib.closing(sqlite3.connect(f"file:{small}?mode=ro", uri=True)) as read:
        found = read.execute("SELECT digest, data FROM contents")
        while rows := found.fetchmany(ROWS):
            yield [(digest.hex(), data) for digest, data in rows]
