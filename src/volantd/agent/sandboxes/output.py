"""What the program of a sandbox prints: kept in a ring on the disk, read by clients from anywhere.

    pipe of the program ──► ring (the last OUTPUT_BYTES_MAX bytes) ──► whoever asks for an offset
                       └──► the log of the app, up to a rate

A client that has begun to read and does not go on stops the pipe, and so the program, before what
it has not read would be overwritten: never the hub. Without such a client the oldest goes.
A log holds less than what a program can print in a second, and takes more time than all the rest:
who prints faster than logs are to take it is not slowed down, and the log says what it lacks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

from volantd.images.redaction import Redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.logs import LogStore
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.hub.session import Session

log = logging.getLogger(__name__)

#: What is kept of one stream.
OUTPUT_BYTES_MAX = 8 << 20
#: Bytes of one read from a pipe, and of one answer to a client.
READ_BYTES, ANSWER_BYTES_MAX = 256 << 10, 2 << 20
#: What is taken when a program has ended: more than a pipe holds.
DRAIN_BYTES_MAX = 1 << 20
#: How long the beginning is kept for a first reader, who may have made the sandbox a moment ago.
FIRST_READER_S = 1.0
#: How long a pipe is left alone whose reader lags.
PAUSE_S = 0.02
#: What who hears may miss of a stream is told this fast, with so much at once, and so often.
HEARD_BYTES_PER_S, HEARD_BYTES_AT_ONCE, HEAR_EVERY_S = 4 << 20, 2 << 20, 0.05


class Output:
    """One stream of a program."""

    def __init__(
        self, fd: int, directory: str, hears: Callable[[bytes], None],
        hears_end: Callable[[], None] = lambda: None,
        is_congested: Callable[[], bool] = lambda: False,
        misses: Callable[[int], None] | None = None,
        is_whole: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """Begin to read.

        Args:
            fd: of a pipe or a terminal; closed at its end.
            directory: where the ring may lie.
            hears: told what was printed.
            hears_end: told that this was all.
            is_congested: whether who hears is behind; nothing is read meanwhile.
            misses: told how many bytes who hears will never be told; None where nothing may miss.
            is_whole: whether nothing may miss just now.
        """
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._directory = directory
        self._hears = hears
        self._hears_end = hears_end
        self._is_congested = is_congested
        self._misses = misses
        self._is_whole = is_whole
        #: up to where who hears was told; what may be told now, and when that was reckoned
        self._told, self._allowed, self._reckoned_at = 0, float(HEARD_BYTES_AT_ONCE), 0.0
        self._telling: asyncio.TimerHandle | None = None
        self._ring = -1
        #: offsets of the first byte that is kept, and behind the last
        self._begin = self._end = 0
        self._readers: dict[Session, int] = {}
        self._first_reader_until: float | None = self._loop.time() + FIRST_READER_S
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
        if self._is_ahead() or self._is_congested():
            self._loop.remove_reader(self._fd)
            self._loop.call_later(PAUSE_S, self._go_on)
            return
        self._take()

    def _is_ahead(self) -> bool:
        """Whether what somebody is about to read would be overwritten."""
        if self._end + READ_BYTES <= OUTPUT_BYTES_MAX:
            return False
        if self._first_reader_until is not None:
            if not self._readers and self._loop.time() < self._first_reader_until:
                return True
            self._first_reader_until = None
        waited = (at for session, at in self._readers.items() if not session.peer.closed)
        return self._end + READ_BYTES - min(waited, default=self._end) > OUTPUT_BYTES_MAX

    def _go_on(self) -> None:
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._on_readable)

    def _take(self) -> int:
        """Read once; how many bytes, 0 when there is nothing to be read now."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:  # how Linux says that nobody has a terminal open any more
            data = b""
        if not data:
            self.close()
            return 0
        self._keep(data)
        self._pass_on(data)
        self._tell()
        return len(data)

    def drain(self) -> None:
        """Take what is there, and no more than a pipe holds: the program has ended.

        What it has left running may fill the pipe faster than it is read.
        """
        left = DRAIN_BYTES_MAX
        while left > 0 and self._fd >= 0:
            taken = self._take()
            left = left - taken if taken else 0

    def close(self) -> None:
        """Read no more; what is kept can be read on."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._pass_on(b"")
            self._tell()

    def forget(self) -> None:
        """Keep nothing any more."""
        self.close()
        self._told = self._begin = self._end
        if self._telling is not None:
            self._telling.cancel()
            self._hears_end()
        if self._ring >= 0:
            os.close(self._ring)
            self._ring = -1

    # -- who hears

    def _pass_on(self, data: bytes) -> None:
        """Tell who hears what was just kept, or as much as is to be told now; the rest later."""
        if self._telling is not None and not self._must_be_whole():
            return
        if data and self._told + len(data) == self._end and self._may_tell(len(data)):
            self._told = self._end
            self._hears(data)
        else:
            self._catch_up()
        if self._fd < 0 and self._telling is None:
            self._hears_end()

    def _must_be_whole(self) -> bool:
        return self._misses is None or self._is_whole()

    def _may_tell(self, size: int) -> bool:
        if self._must_be_whole():
            return True
        now = self._loop.time()
        more = (now - self._reckoned_at) * HEARD_BYTES_PER_S
        self._allowed = min(HEARD_BYTES_AT_ONCE, self._allowed + more)
        self._reckoned_at = now
        if self._allowed < size:
            return False
        self._allowed -= size
        return True

    def _catch_up(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        while self._told < self._end:
            if self._told < self._begin:
                if self._misses is not None:
                    self._misses(self._begin - self._told)
                self._told = self._begin
            size = min(READ_BYTES, self._end - self._told)
            if not self._may_tell(size):
                self._telling = self._loop.call_later(HEAR_EVERY_S, self._pass_on_later)
                return
            data = self._kept(self._told, size)
            self._told += size
            self._hears(data)

    def _pass_on_later(self) -> None:
        self._telling = None
        self._pass_on(b"")

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


def logged_output(
    fd: int, stream: str, directory: str, sandbox: Sandbox, logs: LogStore,
    is_congested: Callable[[], bool], hidden: tuple[str, ...],
) -> Output:  # fmt: skip
    """An output that the log of its app hears of.

    Args:
        fd: the pipe of the program, which becomes the output's.
        stream: `stdout` or `stderr`.
        directory: where the ring is kept.
        sandbox: whose program it is.
        logs: where it is logged.
        is_congested: whether who is shown it is behind; nothing is read meanwhile.
        hidden: values that the log does not get.
    """
    of = sandbox.function, sandbox.container_id, stream
    hears: Any = partial(logs.append, *of, is_shown=sandbox.verbose)
    if hidden:  # what is not told could be half of what is hidden
        redacted = Redacted(hears, hidden)
        return Output(fd, directory, redacted, redacted.end, is_congested)

    def misses(count: int) -> None:
        logs.note(sandbox.function, f"{count} bytes of {stream} came too fast for this log")

    return Output(
        fd, directory, hears, is_congested=is_congested, misses=misses,
        is_whole=partial(logs.is_followed, sandbox.app),
    )  # fmt: skip
