"""Contents by their hash, many small ones in one file and each large one as a file of its own.

    <directory>/small.db                      SQLite: what is here, and the small ones' data
    <directory>/large/<two digits>/<digest>   sparse where the content is

Ten thousand small files are one transaction and one fsync. A large content is a whole file, so that
whoever uses it can link to it. Both are on the disk before anybody names them.

What nothing names any more is swept. A content that is put, or asked for, gets the generation of
now, and a sweep leaves alone what has one since it began: so whoever found a content here may name
it, although nothing else does.

Its methods block, and may run on any thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
from typing import TYPE_CHECKING

from volantd import syncing

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

_SCHEMA = """
CREATE TABLE IF NOT EXISTS contents (digest BLOB PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS marks (
    digest BLOB NOT NULL, is_large INTEGER NOT NULL, generation INTEGER NOT NULL,
    PRIMARY KEY (digest, is_large)
) WITHOUT ROWID;
"""
#: The file of small contents, and the directory of large ones.
SMALL, LARGE = "small.db", "large"
#: How the names of files begin that are being written.
_UNFINISHED = "new-"
#: Pages that several small files fit into; and how many are written before they are moved from the
#: log to their places.
_PAGE_BYTES = 32 << 10
_CHECKPOINT_PAGES = 512
#: How long one thread waits for another that writes.
BUSY_TIMEOUT_S = 60.0
#: Rows that a sweep removes in one transaction, between which others get their turn.
SWEEP_ROWS = 2000
#: Values in one statement.
_VALUES = 500


class Contents:
    """The contents in one directory, made on first use."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._large = os.path.join(directory, LARGE)
        self._local = threading.local()
        self._generation = 1
        self._lock = threading.Lock()
        self._large_lock = threading.Lock()
        self._is_made = False
        self._connections: list[sqlite3.Connection] = []

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return os.path.exists(os.path.join(self._directory, SMALL))

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            self._make()
            path = os.path.join(self._directory, SMALL)
            found = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            found.execute("PRAGMA synchronous=FULL")
            found.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            self._local.connection = found
            with self._lock:
                self._connections.append(found)
        return found

    def _make(self) -> None:
        with self._lock:
            if self._is_made:
                return
            syncing.make_directory(self._large)
            path = os.path.join(self._directory, SMALL)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            syncing.sync_database(path)
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)
            (latest,) = connection.execute("SELECT max(generation) FROM marks").fetchone()
            self._generation = latest or 1
            connection.close()
            self._is_made = True

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    # -- small ones

    def put(self, contents: Iterable[tuple[str, bytes]]) -> None:
        """Keep small contents whose hashes were checked; a power cut leaves them here then.

        Raises:
            sqlite3.Error: when they cannot be written; none of them stays then.
        """
        rows = [(bytes.fromhex(digest), data) for digest, data in contents]
        if not rows:
            return
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?)", rows)
            self._mark(connection, [digest for digest, _ in rows], is_large=False)

    def _mark(
        self, connection: sqlite3.Connection, digests: list[bytes], *, is_large: bool
    ) -> None:
        now = self._generation
        connection.executemany(
            "INSERT INTO marks VALUES (?, ?, ?) ON CONFLICT (digest, is_large) DO UPDATE SET "
            "generation = excluded.generation WHERE generation < excluded.generation",
            [(digest, is_large, now) for digest in digests],
        )

    def get(self, digest: str) -> bytes | None:
        """A small content, None if it is not here."""
        row = (
            self._connection()
            .execute("SELECT data FROM contents WHERE digest = ?", (bytes.fromhex(digest),))
            .fetchone()
        )
        return None if row is None else row[0]

    def claim(self, digests: Iterable[str], *, is_large: bool = False) -> set[str]:
        """Those of some contents that are here; no sweep that has not begun takes them."""
        wanted = [bytes.fromhex(digest) for digest in set(digests)]
        if not wanted or not self.exists:
            return set()
        now = self._generation
        connection = self._connection()
        found = _marked(connection, wanted, is_large=is_large)
        earlier = [digest for digest, generation in found.items() if generation < now]
        if earlier:
            with self._transaction():
                # Some may have been swept a moment ago, but none of this generation.
                left = _marked(connection, earlier, is_large=is_large)
                self._mark(connection, list(left), is_large=is_large)
            found = {one: now for one in found if one in left or found[one] >= now}
        return {digest.hex() for digest in found}

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    # -- large ones

    def path(self, digest: str) -> str:
        """Where a large content lies, if it is here."""
        assert len(digest) == 64 and digest.isalnum(), digest
        return os.path.join(self._large, digest[:2], digest)

    def unfinished(self) -> tuple[int, str]:
        """A new file for a large content: a descriptor, and its path, for `finish` or `discard`."""
        self._connection()
        return tempfile.mkstemp(prefix=_UNFINISHED, dir=self._large)

    def finish(self, path: str, digest: str) -> None:
        """Keep what was written to a file as a content whose hash was checked.

        Raises:
            OSError: when it cannot be kept; the file is still there then.
        """
        target = self.path(digest)
        directory = os.path.dirname(target)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        syncing.sync(path)
        with self._large_lock:  # no sweep removes the file of a row that is about to come
            os.rename(path, target)
            for one in (directory, self._large):
                syncing.sync(one)
            with self._transaction() as connection:
                self._mark(connection, [bytes.fromhex(digest)], is_large=True)

    @staticmethod
    def discard(path: str) -> None:
        """Remove a file that was not finished."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    # -- what nothing names

    def begin_sweep(self) -> int:
        """Begin a generation: what is put or claimed from now on stays; for `sweep`."""
        with self._lock:
            self._generation += 1
            return self._generation

    def sweep(self, before: int, named: Container[str]) -> int:
        """Remove contents of earlier generations that are not among those named.

        Args:
            before: what `begin_sweep` returned, ahead of finding out what is named.
            named: hashes.

        Returns:
            how many were removed.
        """
        connection = self._connection()
        count, last = 0, b""
        while True:
            rows = connection.execute(
                "SELECT DISTINCT digest FROM marks WHERE digest > ? AND generation < ? "
                "ORDER BY digest LIMIT ?",
                (last, before, SWEEP_ROWS),
            ).fetchall()
            if not rows:
                return count
            last = rows[-1][0]
            doomed = [row[0] for row in rows if row[0].hex() not in named]
            count += self._remove(doomed, before)

    def _remove(self, doomed: list[bytes], before: int) -> int:
        count = 0
        with self._large_lock:
            files = []
            with self._transaction() as connection:
                for digest in doomed:
                    removed = connection.execute(
                        "DELETE FROM marks WHERE digest = ? AND generation < ? RETURNING is_large",
                        (digest, before),
                    ).fetchall()  # it may have been claimed a moment ago
                    count += len(removed)
                    files += [digest for (is_large,) in removed if is_large]
                    if not all(is_large for (is_large,) in removed):
                        connection.execute("DELETE FROM contents WHERE digest = ?", (digest,))
            for digest in files:
                self.discard(self.path(digest.hex()))
        return count

    def clean(self) -> None:
        """Remove what a daemon that was killed did not finish; ahead of all else."""
        if not self.exists:
            return
        rows = self._connection().execute("SELECT digest FROM marks WHERE is_large")
        known = {row[0].hex() for row in rows}
        for entry in os.scandir(self._large):
            if not entry.is_dir(follow_symlinks=False):
                self.discard(entry.path)
                continue
            for file in os.scandir(entry):
                if file.name not in known:
                    self.discard(file.path)


def _marked(
    connection: sqlite3.Connection, digests: list[bytes], *, is_large: bool
) -> dict[bytes, int]:
    """Those of some contents that are here, with their generations."""
    found: dict[bytes, int] = {}
    for first in range(0, len(digests), _VALUES):
        some = digests[first : first + _VALUES]
        marks = ",".join("?" * len(some))
        which = f"is_large = ? AND digest IN ({marks})"
        query = f"SELECT digest, generation FROM marks WHERE {which}"  # noqa: S608
        found.update(connection.execute(query, (is_large, *some)).fetchall())
    return found
