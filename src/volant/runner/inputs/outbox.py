"""Results on their way out: those that come fast travel together."""

from __future__ import annotations

import os
import sys
from _socket import MSG_DONTWAIT
from time import perf_counter_ns

from volant.ids import SESSION_CHARS
from volant.wire import frames, payloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.runner.loop import Batch, Runner

#: Finished results wait at most this long for company before they are sent.
FLUSH_NS = 1_000_000
#: Results of one frame stay below this, so that one frame never grows without limit.
FLUSH_BYTES = 1 << 20


class Outbox:
    """Results of one batch on their way out, coalesced while they come fast."""

    __slots__ = ("all_ok", "batch", "begun_ns", "bytes", "exec_ns", "items", "runner", "sent")

    def __init__(self, runner: Runner, batch: Batch) -> None:
        self.runner = runner
        self.batch = batch
        self.items: list[tuple[int, bytes]] = []
        self.all_ok = True
        self.sent = 0
        self.bytes = 0
        self.exec_ns = 0
        self.begun_ns = perf_counter_ns()

    def add(self, kind: int, payload: bytes, fd: int | None = None) -> None:
        """Add the result of the current input; one with a descriptor travels alone."""
        if fd is not None:
            self._send(last=False)
            self.items.append((kind, payload))
            self.sent_with_fd(fd)
            return
        self.items.append((kind, payload))
        self.bytes += len(payload)

    def add_fault(self, exc: BaseException) -> None:
        """Add an exception as the result of the current input."""
        self.all_ok = False
        self.add(frames.FAULT, self.runner.fault(exc))

    def settle(self, *, last: bool) -> None:
        """Send what is there when it is time; called after each input."""
        if last or self.bytes > FLUSH_BYTES:
            self._send(last=last)
        elif perf_counter_ns() - self.begun_ns > FLUSH_NS:
            self._send(last=False)

    def flush(self) -> None:
        """Send what is there although another input runs."""
        self._send(last=False)

    def stream_item(self, kind: int, payload: bytes, fd: int | None, sequence: int) -> None:
        """Send one value of a generator at once; it is no result of its own."""
        flush_output()
        flags = frames.HAS_FD if fd is not None else 0
        section = frames.items_section([(kind, payload)])
        body = frames.hot(frames.OUTCOME, flags, self.batch.key, sequence, 1, 0, section)
        self.runner.send(body, fd)
        if fd is not None:
            payloads.close_sent(fd, reusable=True)

    def sent_with_fd(self, fd: int) -> None:
        """Send the one item that is there, with its descriptor, and close that."""
        self._send(last=False, fd=fd)
        payloads.close_sent(fd, reusable=True)

    def _send(self, *, last: bool, fd: int | None = None) -> None:
        if not self.items and not last:
            return
        if os.getpid() != self.runner.pid:
            os._exit(0)  # user code forked and its child came back here: not ours to answer
        if self.runner.is_preempted:
            self.runner.leave(0)  # without an outcome, so that the input is run again
        flush_output()
        now = perf_counter_ns()
        flags = frames.ALL_OK if self.all_ok else 0
        flags |= frames.END if last else 0
        flags |= frames.HAS_FD if fd is not None else 0
        count = len(self.items)
        exec_us = min(self.exec_ns // 1000, 0xFFFFFFFF)
        section = frames.items_section(self.items)
        if self.batch.express and self.all_ok and count == 1 and fd is None:
            flags |= self._send_express(exec_us, section)
        first = self.batch.first + self.sent
        body = frames.hot(frames.OUTCOME, flags, self.batch.key, first, count, exec_us, section)
        self.runner.send(body, fd)
        self.sent += count
        self.items, self.all_ok, self.bytes, self.exec_ns = [], True, 0, 0
        self.begun_ns = now

    def _send_express(self, exec_us: int, section: bytes) -> int:
        """Send the result of a single call straight to its client; the flag if that worked."""
        lane = self.runner.express
        if lane is None or not may_express(section):
            return 0
        frame = express_frame(self.batch, exec_us, section)
        try:
            lane.send(self.runner.express_token + frame, MSG_DONTWAIT)
        except OSError:
            return 0  # no room, or nobody there any more: the hub delivers
        return frames.EXPRESS


def may_express(section: bytes) -> bool:
    """Whether the one item of a section is small and plain enough for the express lane."""
    return len(section) <= frames.EXPRESS_BYTES_MAX and section[3] >> 4 == frames.PICKLE


def express_frame(batch: Batch, exec_us: int, section: bytes) -> bytes:
    """The frame that tells the client of a single call its result."""
    number = int(batch.call_id[SESSION_CHARS:], 16)
    return frames.hot(frames.RESULT, 0, number, 0, 1, exec_us, section)


def flush_output() -> None:
    """Push what user code printed, so that it reaches the client before the result does."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # user code closed or replaced them: its own affair
