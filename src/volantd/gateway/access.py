"""What became of requests: the access log, a line of JSON for each, and counts for each route.

The file is bounded: beyond its limit it becomes `….1`, in place of the one before. It is written a
few times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from json.encoder import encode_basestring_ascii
from math import ceil, log
from time import time

#: Between two writes, and entries that wait for one at most: beyond, they are counted and lost.
FLUSH_S = 0.25
ENTRIES_MAX = 20_000
#: Characters of what a client sent that are kept.
TEXT_CHARS_MAX = 500

#: Client, host, label, method, target, status, bytes in and out, seconds, container.
Entry = tuple[str, bytes, str, bytes, bytes, int, int, int, float, float, str]


#: The first step of durations, and by how much each is longer than the one before; 120 reach days.
STEP_S, STEP_RATIO, STEPS = 1e-4, 1.2, 120


class Tally:
    """How requests of one route ended, and how long they took."""

    __slots__ = ("since", "statuses", "steps")

    def __init__(self) -> None:
        self.since = time()
        self.statuses: dict[int, int] = {}
        #: Requests by how long they took: those of each step are not longer than it.
        self.steps = [0] * STEPS

    def note(self, status: int, took_s: float) -> None:
        """Count one."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        step = ceil(log(took_s / STEP_S, STEP_RATIO)) if took_s > STEP_S else 0
        self.steps[min(step, STEPS - 1)] += 1

    def quantile_s(self, part: float) -> float:
        """What so large a part of all took at most, up to one step; 0 where there are none."""
        left = part * sum(self.steps)
        for step, number in enumerate(self.steps):
            left -= number
            if number and left <= 0:
                return float(STEP_S * STEP_RATIO**step)
        return 0.0


class AccessLog:
    """The file, and what is about to be written to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, bytes_max: int) -> None:
        self._loop = loop
        self._path = path
        self._bytes_max = bytes_max
        self._entries: list[tuple[float, Entry | str]] = []
        self._lost = 0
        self._is_due = False
        #: How requests of each route went.
        self.tallies: dict[str, Tally] = {}

    def note(self, entry: Entry) -> None:
        """Take one request down."""
        tally = self.tallies.get(entry[2])
        if tally is not None:
            tally.note(entry[5], entry[9])
        if len(self._entries) >= ENTRIES_MAX:
            self._lost += 1
            return
        self._entries.append((time(), entry))
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(FLUSH_S, self.flush)

    def note_event(self, text: str) -> None:
        """Take down what happened beside a request's end."""
        self._entries.append((time(), text))
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what was taken down; a full disk loses it, and no request."""
        self._is_due = False
        entries, self._entries = self._entries, []
        lines = [
            _event(at, entry) if isinstance(entry, str) else _line(at, entry)
            for at, entry in entries
        ]
        if self._lost:
            lines.append(_event(time(), f"{self._lost} requests are not in this log"))
            self._lost = 0
        with contextlib.suppress(OSError):
            self._write("".join(lines).encode())

    def _write(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            os.write(file, data)
            size = os.fstat(file).st_size
        finally:
            os.close(file)
        if size > self._bytes_max:
            os.replace(self._path, f"{self._path}.1")


def _line(at: float, entry: Entry) -> str:
    """One request as a line; formatted by hand, for this is a good part of what a request costs."""
    client, host, label, method, target, status, received, sent, wait_s, took_s, container = entry
    # Behind the question mark may be what is nobody's business.
    path = target.partition(b"?")[0][:TEXT_CHARS_MAX]
    return (
        f'{{"time": {at:.6f}, "client": "{client}", "host": {_quoted(host)}, "route": "{label}", '
        f'"method": {_quoted(method)}, "path": {_quoted(path)}, "status": {status}, '
        f'"received_bytes": {received}, "sent_bytes": {sent}, "wait_ms": {wait_s * 1e3:.3f}, '
        f'"duration_ms": {took_s * 1e3:.3f}, "container": "{container}"}}\n'
    )


def _quoted(raw: bytes) -> str:
    return encode_basestring_ascii(raw.decode("latin-1"))


def _event(at: float, text: str) -> str:
    return f'{{"time": {at:.6f}, "event": {encode_basestring_ascii(text)}}}\n'
