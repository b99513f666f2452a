"""Contents as files named by their hash: each appears whole, and is on the disk before it is named.

<home>/blobs/<first two digits>/<sha256>        0600, never changed
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from volantd import syncing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    Content = bytes | mmap.mmap

#: Contents that are larger are mapped instead of read.
READ_BYTES_MAX = 4 << 20
_COPY_BYTES = 1 << 20
_DIGEST_CHARS = 64
#: How the names of files begin that are being written.
_UNFINISHED = "new-"


class BlobFiles:
    """The contents in one directory. Its methods block, and may run on any thread."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._lock = threading.Lock()
        self._is_made = False

    def has(self, digest: str) -> bool:
        """Whether a content is here; one that is counts as new, so that it is not about to go."""
        return self._is_here(self._path(digest))

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
        self._make()
        if self._is_here(path):
            self._sync_names(path)  # whoever has put it may be about to, or was killed before
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with self._written(path.parent) as (file, name):
            file.write(content)
            self._publish(file, name, path)

    def put_file(self, fd: int) -> str:
        """Keep what an open file contains, whatever becomes of it meanwhile, as `put` does.

        Returns:
            The hash of what was kept: it is read once, so that no writer can be told another.

        Raises:
            OSError: when it cannot be read or written; then nothing of it stays.
        """
        self._make()
        digest, offset = hashlib.sha256(), 0
        with self._written(self._directory) as (file, name):
            while data := os.pread(fd, _COPY_BYTES, offset):
                digest.update(data)
                file.write(data)
                offset += len(data)
            path = self._path(digest.hexdigest())
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._publish(file, name, path)
        return path.name

    def _make(self) -> None:
        with self._lock:
            if not self._is_made:
                syncing.make_directory(self._directory)
                self._is_made = True

    @staticmethod
    @contextlib.contextmanager
    def _written(directory: Path) -> Iterator[tuple[BinaryIO, str]]:
        """A new file to be written and published; what was not, does not stay."""
        fd, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=directory)
        try:
            with os.fdopen(fd, "wb") as file:
                yield file, name
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _publish(self, file: BinaryIO, name: str, path: Path) -> None:
        file.flush()
        os.fsync(file.fileno())
        os.replace(name, path)
        self._sync_names(path)

    def _sync_names(self, path: Path) -> None:
        for directory in (path.parent, self._directory):
            syncing.sync(directory)

    def _is_here(self, path: Path) -> bool:
        with self._lock:
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            return True

    def remove_all_but(self, digests: Iterable[str], put_before: float) -> int:
        """Remove what nothing names, and what was never finished; how many that were.

        Args:
            digests: what is named.
            put_before: what was put later stays: who names it may not have said so yet. Seconds
                since 1970.
        """
        kept = set(digests)
        count = 0
        for path in self._files():
            if path.name not in kept:
                with self._lock, contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < put_before:
                        path.unlink()
                        count += 1
        return count

    def _files(self) -> Iterator[Path]:
        if self._directory.is_dir():
            for below in self._directory.iterdir():
                if below.is_dir():
                    yield from below.iterdir()
                else:
                    yield below  # one that was never finished

    def _path(self, digest: str) -> Path:
        assert len(digest) == _DIGEST_CHARS and digest.isalnum(), digest
        return self._directory / digest[:2] / digest
