"""Contents as files named by their hash: each appears whole, and is on the disk before it is named.

<home>/blobs/<first two digits>/<sha256>        0600, never changed
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Content = bytes | mmap.mmap

#: Contents that are larger are mapped instead of read.
READ_BYTES_MAX = 4 << 20
_DIGEST_CHARS = 64
#: How the names of files begin that are being written.
_UNFINISHED = "new-"


class BlobFiles:
    """The contents in one directory. Its methods block, and may run on any thread."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        #: Guards the two below, and what is removed against them.
        self._lock = threading.Lock()
        #: What stays because somebody has asked for it since, and files that are being written.
        self._wanted: set[str] = set()
        self._writing: set[str] = set()

    def has(self, digest: str) -> bool:
        """Whether a content is here; one that is stays."""
        with self._lock:
            found = self._path(digest).exists()
            if found:
                self._wanted.add(digest)
            return found

    def get(self, digest: str) -> Content | None:
        """A content, None if it is not here."""
        try:
            with self._path(digest).open("rb") as file:
                if os.fstat(file.fileno()).st_size <= READ_BYTES_MAX:
                    return file.read()
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            return None

    def put(self, digest: str, content: Content) -> None:
        """Keep a content whose hash was checked; when this returns, a power cut leaves it here.

        Raises:
            OSError: when it cannot be written; then nothing of it stays.
        """
        path = self._path(digest)
        with self._lock:
            self._wanted.add(digest)
            if path.exists():
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
            self._writing.add(os.path.basename(name))
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        finally:
            self._writing.discard(os.path.basename(name))
        for directory in (path.parent, self._directory):
            _sync(directory)

    def remove_all_but(self, digests: Iterable[str]) -> int:
        """Remove what nothing names any more, and what was never finished; how many that were.

        What was put or asked for since this object was made stays: it may be about to be named.
        """
        kept = set(digests)
        count = 0
        for path in self._files():
            if path.name in kept:
                continue
            with self._lock:
                if path.name not in self._wanted and path.name not in self._writing:
                    path.unlink(missing_ok=True)
                    count += 1
        return count

    def _files(self) -> Iterator[Path]:
        if self._directory.is_dir():
            for below in self._directory.iterdir():
                if below.is_dir():
                    yield from below.iterdir()

    def _path(self, digest: str) -> Path:
        assert len(digest) == _DIGEST_CHARS and digest.isalnum(), digest
        return self._directory / digest[:2] / digest


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
