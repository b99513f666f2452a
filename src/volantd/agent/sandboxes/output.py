"""What the program of a sandbox prints: kept in a ring on the disk, read by clients from anywhere.

    pipe of the program ──► ring (the last OUTPUT_BYTES_MAX bytes) ──► whoever asks for an offset
                       └──► the log of the app

A client that has begun to read and does not go on stops the pipe, and so the program, before what
it has not read would be overwritten: never the hub. Without such a client the oldest goes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.session import Session

log = logging.getLogger(__name__)

#: What is kept of one stream.
OUTPUT_BYTES_MAX = 8 << 20
#: Bytes of one read from a pipe, and of one answer to a client.
READ_BYTES, ANSWER_BYTES_MAX = 64 << 10, 512 << 10
#: What is taken when a program has ended: more than a pipe holds.
DRAIN_BYTES_MAX = 1 << 20
#: How long a pipe is left alone whose reader lags.
PAUSE_S = 0.02


class Output:
    """One stream of a program."""

    def __init__(
        self, fd: int, directory: str, hears: Callable[[bytes], None],
        hears_end: Callable[[], None] = lambda: None,
        is_congested: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """Begin to read.

        Args:
            fd: of a pipe or a terminal; closed at its end.
            directory: where the ring may lie.
            hears: told what was printed.
            hears_end: told that this was all.
            is_congested: whether who hears is behind; nothing is read meanwhile.
        """
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._directory = directory
        self._hears = hears
        self._hears_end = hears_end
        self._is_congested = is_congested
        self._ring = -1
        #: offsets of the first byte that is kept, and behind the last
        self._begin = self._end = 0
        self._readers: dict[Session, int] = {}
        self._news: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._on_readable)

    async def read(self, session: Session, offset: int) -> tuple[int, bytes, bool]:
        """What comes next, as soon as there is something.

        Args:
            session: who asks; from now on it is waited for.
            offset: from which byte on; what is not kept any more is left out.

        Returns:
            Where the next read begins, bytes, and whether that was all; then there are none.
        """
        while not session.peer.closed:
            at = max(offset, self._begin)
            if at < self._end:
                data = self._kept(at, min(self._end - at, ANSWER_BYTES_MAX))
                self._readers[session] = at + len(data)
                return at + len(data), data, False
            if self._fd < 0:
                break
            self._readers[session] = at
            await asyncio.shield(self._news)
        self._readers.pop(session, None)
        return self._end, b"", True

    def _on_readable(self) -> None:
        slowest = min(
            (at for session, at in self._readers.items() if not session.peer.closed), default=None
        )
        is_ahead = slowest is not None and self._end + READ_BYTES - slowest > OUTPUT_BYTES_MAX
        if is_ahead or self._is_congested():
            self._loop.remove_reader(self._fd)
            self._loop.call_later(PAUSE_S, self._go_on)
            return
        self._take()

    def _go_on(self) -> None:
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._on_readable)

    def _take(self) -> bool:
        """Read once; False when there is nothing to be read now."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # how Linux says that nobody has a terminal open any more
            data = b""
        if not data:
            self.close()
            return False
        self._keep(data)
        self._hears(data)
        self._tell()
        return True

    def drain(self) -> None:
        """Take what is there, and no more than a pipe holds: the program has ended.

        What it has left running may fill the pipe faster than it is read.
        """
        for _ in range(DRAIN_BYTES_MAX // READ_BYTES):
            if self._fd < 0 or not self._take():
                return

    def close(self) -> None:
        """Read no more; what is kept can be read on."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._hears_end()
            self._tell()

    def forget(self) -> None:
        """Keep nothing any more."""
        self.close()
        self._begin = self._end
        if self._ring >= 0:
            os.close(self._ring)
            self._ring = -1

    def _tell(self) -> None:
        news, self._news = self._news, self._loop.create_future()
        news.set_result(None)

    # -- the ring

    def _keep(self, data: bytes) -> None:
        try:
            if self._ring < 0:
                self._ring, path = tempfile.mkstemp(dir=self._directory)
                os.unlink(path)
            at = self._end % OUTPUT_BYTES_MAX
            first = data[: OUTPUT_BYTES_MAX - at]
            os.pwrite(self._ring, first, at)
            os.pwrite(self._ring, data[len(first) :], 0)
        except OSError as error:  # a full disk: what is kept is not what was printed
            log.warning("output_lost", extra={"fields": {"error": str(error)}})
            self._begin = self._end + len(data)
        self._end += len(data)
        self._begin = max(self._begin, self._end - OUTPUT_BYTES_MAX)

    def _kept(self, at: int, size: int) -> bytes:
        place = at % OUTPUT_BYTES_MAX
        first = os.pread(self._ring, min(size, OUTPUT_BYTES_MAX - place), place)
        return first + os.pread(self._ring, size - len(first), 0)
