"""Large values of dicts: sent in pieces, one file each, removed when no entry has them any more.

    dict_upload, piece by piece ─► file, fsynced ─► named by an entry ─► removed with it
                                     └ its session closes first: removed

Each file has a name of its own: 32 characters of chance, which is also what allows reading it, and
32 of its hash, by which backups check it. A value that no entry has any more stays for a while, for
whoever reads it or makes a backup: `LEAVING_S`, or until there are too many bytes of such.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from volant.errors import NotFoundError, ResourceExhaustedError
from volantd import syncing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from volantd.hub.session import Session

    Done = Callable[[OSError | None], object]

#: Largest value.
VALUE_BYTES_MAX = 100 << 20
#: What a reader gets at once.
PIECE_BYTES_MAX = 4 << 20
#: What one session may be about to send: values, and bytes of them together.
ARRIVING_MAX = 10_000
ARRIVING_BYTES_MAX = 1 << 30
#: How long a value that no entry has may be read, and how many bytes of such are kept.
LEAVING_S = 600.0
LEAVING_BYTES_MAX = 1 << 30
_CHANCE_BYTES = 16
_NAME_CHARS = 64
#: How the names of files begin that are being written.
_UNFINISHED = "new-"
_HEX = frozenset("0123456789abcdef")


class Arriving:
    """A value that a session is sending."""

    __slots__ = ("digest", "have", "is_busy", "name", "size")

    def __init__(self, size: int) -> None:
        self.name = _UNFINISHED + secrets.token_hex(_CHANCE_BYTES)
        self.digest = hashlib.sha256()
        self.size = size
        self.have = 0
        #: Whether a piece of it is being written.
        self.is_busy = False


class ValueFiles:
    """The files of one daemon home.

    Args:
        directory: made on first use; 0600 files, below two digits each.
    """

    def __init__(self, directory: str, loop: asyncio.AbstractEventLoop) -> None:
        self._directory = Path(directory)
        self._loop = loop
        self._arriving: dict[Session, dict[str, Arriving]] = {}
        self._leaving: deque[tuple[float, str, int]] = deque()
        self._leaving_bytes = 0
        self._lock = threading.Lock()
        self._is_made = False

    # -- arriving

    def arriving(self, session: Session, upload: str, size: int) -> Arriving:
        """A value that a session begins or goes on to send.

        Raises:
            ValueError: for another size than it began with.
            ResourceExhaustedError: when it sends too much.
        """
        sent = self._arriving.setdefault(session, {})
        found = sent.get(upload)
        if found is None:
            total = size + sum(one.size for one in sent.values())
            if len(sent) >= ARRIVING_MAX or total > ARRIVING_BYTES_MAX:
                raise ResourceExhaustedError(
                    f"one client sends values of {total} bytes at once, "
                    f"at most {ARRIVING_BYTES_MAX}"
                )
            found = sent[upload] = Arriving(size)
        if found.size != size:
            raise ValueError("a value that is sent in pieces changed its size")
        return found

    def write(
        self, arriving: Arriving, data: bytes, done: Callable[[OSError | None], object]
    ) -> None:
        """Write the next piece; the last one is on the disk when `done` is told."""
        arriving.is_busy = True
        ends = arriving.have + len(data) == arriving.size
        future = self._loop.run_in_executor(None, self._write, arriving, data, ends)

        def written(ended: asyncio.Future[None]) -> None:
            arriving.is_busy = False
            error = ended.exception()
            if error is None:
                arriving.have += len(data)
            done(error if isinstance(error, OSError) else None)

        future.add_done_callback(written)

    def _write(self, arriving: Arriving, data: bytes, ends: bool) -> None:
        self._make()
        path = self._directory / arriving.name
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.write(fd, memoryview(data)[written:])
            arriving.digest.update(data)
            if ends:
                os.fsync(fd)
        finally:
            os.close(fd)
        if ends:
            chance = arriving.name.removeprefix(_UNFINISHED)
            arriving.name = chance + arriving.digest.hexdigest()[: len(chance)]
            place = self._path(arriving.name)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            path.rename(place)
            for directory in (place.parent, self._directory):
                syncing.sync(directory)

    def _make(self) -> None:
        with self._lock:
            if not self._is_made:
                syncing.make_directory(self._directory)
                self._is_made = True

    def arrived(self, session: Session, uploads: Sequence[str]) -> dict[str, Arriving] | None:
        """Take values that have arrived whole; None if one has not, as over another connection."""
        sent = self._arriving.get(session, {})
        if any(name not in sent or sent[name].have != sent[name].size for name in uploads):
            return None
        return {name: sent.pop(name) for name in set(uploads)}

    def session_closed(self, session: Session) -> None:
        """Remove what a session has begun to send."""
        names = [one.name for one in self._arriving.pop(session, {}).values()]
        self.remove(names)

    # -- there

    def read(self, name: str, offset: int) -> bytes:
        """A piece of a value; blocks.

        Raises:
            NotFoundError: when it is not there any more.
        """
        try:
            with self._path(name).open("rb") as file:
                file.seek(offset)
                return file.read(PIECE_BYTES_MAX)
        except FileNotFoundError:
            raise NotFoundError("this value is not there any more") from None

    # -- leaving

    def leave(self, name: str, size: int) -> None:
        """Remove a value after a while in which it may be read."""
        self._leaving.append((self._loop.time() + LEAVING_S, name, size))
        self._leaving_bytes += size
        self._loop.call_later(LEAVING_S, self._let_go)
        self._let_go()

    def _let_go(self) -> None:
        now = self._loop.time()
        names = []
        while self._leaving and (
            self._leaving[0][0] <= now or self._leaving_bytes > LEAVING_BYTES_MAX
        ):
            _, name, size = self._leaving.popleft()
            self._leaving_bytes -= size
            names.append(name)
        self.remove(names)

    def remove(self, names: Iterable[str]) -> None:
        """Remove values that no entry has; off the event loop."""
        paths = [
            self._directory / name if name.startswith(_UNFINISHED) else self._path(name)
            for name in names
        ]
        if paths:
            self._loop.run_in_executor(None, _unlink, paths)

    def remove_later_all_but(self, kept: set[str]) -> None:
        """Remove those that a dead daemon left, after a while in which they may be read."""
        if not self._directory.is_dir():
            return
        for below in self._directory.iterdir():
            if not below.is_dir():
                below.unlink()  # it was never finished
                continue
            for path in below.iterdir():
                if path.name not in kept:
                    self._loop.call_soon_threadsafe(self.leave, path.name, path.stat().st_size)

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._directory / name[:2] / name


def check_name(name: str) -> None:
    """Make sure that this may be the file of a value.

    Raises:
        ValueError: if not.
    """
    if len(name) != _NAME_CHARS or not _HEX.issuperset(name):
        raise ValueError("this cannot be the file of a value")


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
