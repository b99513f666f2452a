"""Maps: many inputs through one call, in a window, with results in order or as they come.

    inputs ──pull──► pickle ──chunk──► SUBMIT frames ──► hub
                                                          │
    caller ◄──yield── reorder buffer ◄── RESULT frames ◄──┘

Memory stays flat whatever the number of inputs: at most `WINDOW` inputs are between the one
that is pulled and the one that is yielded. `MapState` does no I/O and knows no thread; the
blocking and the asyncio driver below feed it. Every input is kept until its result is here, so
that a lost connection resubmits exactly what is missing.
"""

from __future__ import annotations

import os
from collections import deque

from volant.channel.waiter import Waiter
from volant.channel.waiters import decode_item
from volant.sdk.calls.calling import dump_arguments
from volant.wire import frames
from volant.wire.frames import HAS_FD, LAST, OPEN, RETAIN, SUBMIT
from volant.wire.payloads import close_sent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from volant.sdk.calls.calling import Binding

#: Inputs between the oldest result not yet yielded and the newest input sent.
WINDOW = 8192
#: The window of a map whose results nobody has seen yet; it grows with every result.
WINDOW_FIRST = 256
#: Bytes that the results in the window may be expected to have.
WINDOW_RESULT_BYTES = 64 << 20
#: Bytes of inputs kept for resubmission beyond which no more are pulled.
WINDOW_BYTES = 32 << 20
#: Mapped files of inputs kept at the same time.
WINDOW_FILES = 16
#: Inputs of one frame while they come fast.
CHUNK = 256
#: Bytes of inputs that close a chunk early.
CHUNK_BYTES = 1 << 20


class Chunk:
    """Inputs that were sent in one frame, kept until each has its result."""

    __slots__ = ("bytes", "count", "done", "fd", "first", "items", "left")

    def __init__(self, first: int, items: list[tuple[int, bytes]], fd: int | None) -> None:
        self.first = first
        self.items = items
        self.count = self.left = len(items)
        self.done = bytearray(self.count)
        self.fd = fd
        self.bytes = sum(len(payload) for _, payload in items)

    def settle(self, first: int, count: int) -> bool:
        """Mark results as here; False if any of them was before."""
        start = first - self.first
        if any(self.done[start : start + count]):
            return False
        self.done[start : start + count] = b"\1" * count
        self.left -= count
        return True

    def missing(self) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
        """Runs of inputs without a result, as (first index, items)."""
        at = 0
        while at < self.count:
            if self.done[at]:
                at += 1
                continue
            end = at
            while end < self.count and not self.done[end]:
                end += 1
            yield self.first + at, self.items[at:end]
            at = end


class MapState:
    """The books of one map: what was sent, what is back, what may be yielded next."""

    def __init__(self, binding: Binding, *, ordered: bool, retain: bool) -> None:
        self.binding = binding
        self.number = binding.channel.next_number()
        self.ordered = ordered
        self.sent = 0  # inputs handed to the connection
        self.pulled = 0
        self.yielded = 0
        self.exhausted = False
        self.closed = False
        self.results: deque[tuple[bool, Any]] = deque()
        self._open_flag = OPEN | (RETAIN if retain else 0)
        # What the hub keeps inputs of may outlive this process's interest in them.
        self._pool = None if retain else binding.pool
        self._unsent: list[tuple[int, bytes]] = []
        self._unsent_bytes = 0
        self._chunks: dict[int, Chunk] = {}
        self._kept_bytes = 0
        self._kept_files = 0
        self._window = WINDOW_FIRST
        #: Inputs sent whose results are not here.
        self.in_flight = 0
        self._early: dict[int, tuple[int, bytes, int | None]] = {}
        self._next = 0  # index of the first result that is not in `results`

    # -- inputs

    @property
    def idle(self) -> bool:
        """True when nothing sent is without its result."""
        return not self._chunks

    def wants_input(self) -> bool:
        """True while another input fits into the window."""
        return (
            not self.exhausted
            and self.pulled - self.yielded < self._window
            and self._kept_bytes < WINDOW_BYTES
            and self._kept_files < WINDOW_FILES
        )

    def add(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[bytes, int | None]]:
        """Take one input; returns the frames that became due."""
        kind, payload, fd = dump_arguments(self.binding.name, args, kwargs, self._pool, self.pulled)
        self.pulled += 1
        if fd is not None:
            due = self.flush()
            self._unsent.append((kind, payload))
            return due + self.flush(fd)
        self._unsent.append((kind, payload))
        self._unsent_bytes += len(payload)
        if len(self._unsent) >= CHUNK or self._unsent_bytes > CHUNK_BYTES:
            return self.flush()
        return []

    def flush(self, fd: int | None = None) -> list[tuple[bytes, int | None]]:
        """The frame for inputs that wait to be sent, if any."""
        if not self._unsent:
            return []
        chunk = Chunk(self.sent, self._unsent, fd)
        self._chunks[chunk.first] = chunk
        self._kept_bytes += chunk.bytes
        self._kept_files += fd is not None
        self.in_flight += chunk.count
        self.sent += chunk.count
        self._unsent, self._unsent_bytes = [], 0
        return [(self._frame(chunk.first, chunk.items, fd), fd)]

    def _frame(self, first: int, items: list[tuple[int, bytes]], fd: int | None) -> bytes:
        flags = self._open_flag | (HAS_FD if fd is not None else 0)
        self._open_flag &= ~OPEN
        section = frames.items_section(items)
        return frames.hot(
            SUBMIT, flags, self.number, first, len(items), self.binding.number, section
        )

    def finish_inputs(self) -> list[tuple[bytes, int | None]]:
        """The frames that end the call's inputs."""
        self.exhausted = True
        return [*self.flush(), (self._last_frame(), None)]

    def _last_frame(self) -> bytes:
        flags = self._open_flag | LAST
        self._open_flag &= ~OPEN
        return frames.hot(SUBMIT, flags, self.number, self.sent, 0, self.binding.number, b"")

    def resubmission(self, start: int = 0) -> list[tuple[bytes, int | None]]:
        """Frames for everything without a result, for a hub that knows nothing of this call.

        Args:
            start: index of the first input that is sent; the beginning of a frame.
        """
        self._open_flag |= OPEN
        again = []
        for chunk in self._chunks.values():
            if chunk.first < start:
                continue
            for first, items in chunk.missing():
                again.append((self._frame(first, items, chunk.fd), chunk.fd))
        if self.exhausted:
            again.append((self._last_frame(), None))
        return again

    # -- results

    def take(self, first: int, count: int, section: bytes, fd: int | None) -> None:
        """Book one RESULT frame; what may be yielded moves to `results`."""
        if not self._settle(first, count):
            if fd is not None:
                os.close(fd)
            return
        size = max(1, len(section) if fd is None else os.fstat(fd).st_size)
        fitting = WINDOW_RESULT_BYTES * count // size
        self._window = max(1, min(self._window + count, WINDOW, fitting))
        if not self.ordered:
            self._decode(section, count, fd)
        elif first == self._next:
            self._decode(section, count, fd)
            self._next += count
            while self._next in self._early:
                count, section, fd = self._early.pop(self._next)
                self._decode(section, count, fd)
                self._next += count
        else:
            self._early[first] = (count, section, fd)

    def _settle(self, first: int, count: int) -> bool:
        chunk = self._chunks.get(first)
        if chunk is None or count > chunk.count:
            chunk = self._chunk_of(first, count)
            if chunk is None:
                return False
        if not chunk.settle(first, count):
            return False
        self.in_flight -= count
        if not chunk.left:
            del self._chunks[chunk.first]
            self._kept_bytes -= chunk.bytes
            if chunk.fd is not None:
                close_sent(chunk.fd, reusable=True)
                self._kept_files -= 1
        return True

    def _chunk_of(self, first: int, count: int) -> Chunk | None:
        for chunk in self._chunks.values():
            if chunk.first <= first and first + count <= chunk.first + chunk.count:
                return chunk
        return None

    def _decode(self, section: bytes, count: int, fd: int | None) -> None:
        local_path = self.binding.local_path
        results = self.results
        for kind, payload in frames.split_items(section, count):
            results.append(decode_item(kind, payload, fd, local_path))
            fd = None  # it belongs to the first

    @property
    def finished(self) -> bool:
        """True when every input was pulled and every result yielded."""
        return self.exhausted and not self._chunks and not self.results and not self._unsent

    def release(self) -> None:
        """Close the descriptors of inputs that never got their result."""
        for chunk in self._chunks.values():
            if chunk.fd is not None:
                close_sent(chunk.fd, reusable=False)
        for _, _, fd in self._early.values():
            if fd is not None:
                os.close(fd)
        self._chunks.clear()
        self._early.clear()


class MapWaiter(Waiter):
    """Collects the RESULT frames of a map until its caller books them.

    Frames arrive on whichever thread reads the channel; the books are touched by the caller only.
    """

    __slots__ = ("answered", "inbox", "lost", "refusal", "state")

    def __init__(self, state: MapState) -> None:
        super().__init__()
        self.state = state
        self.inbox: deque[tuple[int, int, bytes, int | None]] = deque()
        #: The hub has said that it has all inputs.
        self.answered = False
        #: There was no room from an input on: its index, and what the hub said.
        self.refusal: tuple[int, BaseException] | None = None
        #: The hub was lost, and another one is there that knows nothing of this map.
        self.lost = False

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        self.inbox.append((head[1], head[2], section, fd))
        self.ready = True

    def on_reply(self, reply: dict[str, Any]) -> None:
        if "fault" in reply:
            from volant.wire.faults import decode_fault

            error = decode_fault(reply["fault"])
            if "from" in reply:
                self.refusal = int(reply["from"]), error
                self.ready = True
            else:
                self.fail(error)
        else:
            self.answered = True
            self.ready = True

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        self.lost = True  # for the caller to see: its next `book` gives the frames
        self.ready = True
        return []

    def book(self) -> list[tuple[bytes, int | None]]:
        """Move what has arrived into the books of the map; returns frames that became due."""
        self.ready = self.error is not None
        while self.inbox:
            self.state.take(*self.inbox.popleft())
        if not self.lost:
            return []
        self.lost = False
        return self.state.resubmission()

    def release(self) -> None:
        """Close the files of results that nobody books."""
        while self.inbox:
            fd = self.inbox.popleft()[3]
            if fd is not None:
                os.close(fd)
