"""What containers print: to the client that runs the app, to followers, and to a file an app.

    pipe of a container ──► LogStore.append ──► logs/<app id>.jsonl (bounded)
                                  └──► EVENT log ──► the owner's session, followers

A file is cut to its newer half when it exceeds `log_bytes_max`.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections import OrderedDict
from functools import partial
from math import inf, nextafter
from time import time
from typing import TYPE_CHECKING, Any, BinaryIO

from volantd.hub.pools.printed import is_meant
from volantd.images.redaction import Redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volantd.hub.records import App, Function
    from volantd.hub.session import Session

log = logging.getLogger(__name__)

#: Log files kept; those of the apps that began first go first.
FILES_MAX = 200
#: Log files kept open.
FILES_OPEN_MAX = 32
#: Containers whose app is remembered for `container logs`.
CONTAINERS_MAX = 10_000
#: Bytes of one read from a pipe.
READ_BYTES = 64 << 10
#: What a pipe may hold, its usual size being less.
PIPE_BYTES_MAX = 1 << 20
#: How long a pipe is left alone when the client cannot keep up; the container blocks meanwhile.
PAUSE_S = 0.02
#: Entries of one answer.
ENTRIES_MAX = 10_000


class LogStore:
    """The logs of all apps of this machine.

    Args:
        home: the directory of the daemon.
        bytes_max: of one file.
        on_entry: hears each entry, and its bytes, when it is written.
    """

    def __init__(
        self, home: str, bytes_max: float, on_entry: Callable[[dict[str, Any], bytes], object]
    ) -> None:
        self._directory = os.path.join(home, "logs")
        self._bytes_max = int(bytes_max)
        #: app id -> descriptor, the one written to last at the end
        self._files: OrderedDict[str, int] = OrderedDict()
        self._containers: OrderedDict[str, str] = OrderedDict()
        self._followers: list[tuple[Session, str, str]] = []
        self._on_entry = on_entry
        self._last_time = 0.0
        os.makedirs(self._directory, mode=0o700, exist_ok=True)

    # -- writing

    def append(
        self, function: Function, container_id: str, stream: str, data: bytes,
        calls: Sequence[str] = (), is_shown: bool = True,
    ) -> None:  # fmt: skip
        """Take what a container printed.

        Args:
            function: whose container it is.
            container_id: its id.
            stream: `stdout` or `stderr`.
            data: what it printed.
            calls: durable ones that it ran meanwhile.
            is_shown: whether the client that runs its app shows it, if that shows anything.
        """
        self._containers[container_id] = function.app.app_id
        while len(self._containers) > CONTAINERS_MAX:
            self._containers.popitem(last=False)
        self._add(function, container_id, stream, data, calls, is_shown=is_shown)

    def note(self, function: Function, text: str) -> None:
        """Take what the daemon has to say about a function: lines of stream `system`."""
        self._add(function, "", "system", text.encode("utf-8", "replace") + b"\n")

    def _add(
        self, function: Function, container_id: str, stream: str, data: bytes,
        calls: Sequence[str] = (), is_shown: bool = True,
    ) -> None:  # fmt: skip
        app = function.app
        entry: dict[str, Any] = {
            "time": self.now(), "app_id": app.app_id, "container_id": container_id,
            "function": function.name, "stream": stream,
        }  # fmt: skip
        if calls:
            entry["calls"] = list(calls)
        if is_shown and app.output and app.session is not None:
            app.session.event("log", **entry, data=data)
        for session, app_id, wanted in self._followers:
            if app_id == app.app_id and is_meant(wanted, entry):
                session.event("log", **entry, data=data)
        text = data.decode("utf-8", "surrogateescape")
        self._write(app, json.dumps({**entry, "text": text}).encode() + b"\n")
        self._on_entry(entry, data)

    def now(self) -> float:
        """The time of an entry, in seconds since 1970: each is later than the one before."""
        self._last_time = max(time(), nextafter(self._last_time, inf))
        return self._last_time

    def _write(self, app: App, line: bytes) -> None:
        try:
            fd = self._open(app)
            os.write(fd, line)
            if os.lseek(fd, 0, os.SEEK_CUR) > self._bytes_max:
                self._cut(app.app_id)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            log.warning("log_lost", extra={"fields": {"app_id": app.app_id, "why": "disk full"}})

    def _open(self, app: App) -> int:
        fd = self._files.get(app.app_id)
        if fd is not None:
            self._files.move_to_end(app.app_id)
            return fd
        while len(self._files) >= FILES_OPEN_MAX:
            os.close(self._files.popitem(last=False)[1])
        self._remove_oldest()
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        fd = self._files[app.app_id] = os.open(self._path(app.app_id), flags, 0o600)
        if not os.lseek(fd, 0, os.SEEK_END):
            head = {"time": app.created_at, "app_id": app.app_id, "name": app.name,
                    "environment": app.environment.environment_id, "tags": app.tags,
                    "functions": sorted(app.functions)}  # fmt: skip
            os.write(fd, json.dumps(head).encode() + b"\n")
        return fd

    def _path(self, app_id: str) -> str:
        return os.path.join(self._directory, f"{app_id}.jsonl")

    def _cut(self, app_id: str) -> None:
        path = self._path(app_id)
        with open(path, "rb") as file, open(path + ".new", "wb", buffering=0) as cut:
            cut.write(file.readline())
            file.seek(self._bytes_max // 2)
            file.readline()
            at = file.tell()
            while copied := os.sendfile(cut.fileno(), file.fileno(), at, self._bytes_max):
                at += copied
        os.replace(path + ".new", path)
        os.close(self._files.pop(app_id))
        self._files[app_id] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def _remove_oldest(self) -> None:
        files = sorted(
            (entry for entry in os.scandir(self._directory) if entry.name.endswith(".jsonl")),
            key=lambda entry: entry.stat().st_mtime,
        )
        for entry in files[: max(0, len(files) - FILES_MAX + 1)]:
            os.unlink(entry.path)

    def close(self) -> None:
        """Close all files; one that is written to again is opened again."""
        while self._files:
            os.close(self._files.popitem()[1])

    # -- reading

    def read(
        self, app_id: str, *, tail: int | None, wanted: str = "",
        where: Callable[[dict[str, Any]], bool] = lambda row: True, after: float = 0.0,
        count_max: int | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """The entries that hold the last `tail` lines of an app.

        Args:
            app_id: the app.
            tail: how many lines; None for all.
            wanted: one of its containers or durable calls, whose entries are meant alone.
            where: which of those, all by default.
            after: only what was printed later, in seconds since 1970.
            count_max: how many entries, the first of them; None for the last `ENTRIES_MAX`.
        """
        entries: list[dict[str, Any]] = []
        for row in self._rows(app_id, after):
            if "text" in row and is_meant(wanted, row) and where(row):
                row["data"] = row.pop("text").encode("utf-8", "surrogateescape")
                entries.append(row)
                if len(entries) == count_max:
                    return entries
        entries = entries[-ENTRIES_MAX:]
        return entries if tail is None else last_lines(entries, tail)

    def _rows(self, app_id: str, after: float = 0.0) -> list[dict[str, Any]]:
        try:
            with open(self._path(app_id), "rb") as file:
                if after:
                    _seek_after(file, after)
                rows = [_row(line) for line in file]
        except FileNotFoundError:
            return []
        return [row for row in rows if row and (not after or row["time"] > after)]

    def past_apps(self, known: set[str], names: dict[str, str]) -> list[dict[str, Any]]:
        """Apps beside the known ones that have ended and left a log; `names`: of environments."""
        rows = []
        for entry in os.scandir(self._directory):
            app_id = entry.name.removesuffix(".jsonl")
            if app_id not in known and entry.name.endswith(".jsonl"):
                head = self._head(app_id)
                if head:
                    rows.append({
                        "app_id": app_id, "name": head["name"],
                        "environment": names.get(head.get("environment", "main"), ""),
                        "tags": head.get("tags", {}),
                        "state": "stopped", "created_at": head["time"],
                        "functions": head["functions"], "version": 0, "containers": 0, "calls": 0,
                    })  # fmt: skip
        return sorted(rows, key=lambda row: -row["created_at"])

    def _head(self, app_id: str) -> dict[str, Any]:
        try:
            with open(self._path(app_id), "rb") as file:
                head: dict[str, Any] = json.loads(file.readline())
                return head if "name" in head else {}
        except (OSError, ValueError):
            return {}

    def app_of_container(self, container_id: str) -> str | None:
        """The app that a container belongs or belonged to."""
        return self._containers.get(container_id)

    def container_ids(self) -> list[str]:
        """Containers whose logs can be asked for."""
        return list(self._containers)

    def know(self, container_id: str, app_id: str) -> None:
        """Remember a container that has printed nothing yet."""
        self._containers[container_id] = app_id

    def is_followed(self, app: App) -> bool:
        """Whether anybody is sent what an app prints."""
        if app.output and app.session is not None:
            return True
        return any(of == app.app_id and not one.peer.closed for one, of, _ in self._followers)

    def follow(self, session: Session, *, app_id: str, wanted: str = "") -> None:
        """Send a session what is printed from now on; `wanted` as for `read`."""
        self._followers = [row for row in self._followers if not row[0].peer.closed]
        self._followers.append((session, app_id, wanted))


def _row(line: bytes) -> dict[str, Any]:
    """What a line of a file says; nothing for the last one of a daemon that was killed."""
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return row


def _seek_after(file: BinaryIO, after: float) -> None:
    """Go to a line before all that was printed after a moment, from the end of a file backwards."""
    start = file.seek(0, os.SEEK_END)
    while start:
        start = max(0, start - READ_BYTES)
        file.seek(start)
        if start:
            file.readline()  # the rest of one that begins before
        here = file.tell()
        row = _row(file.readline())
        if row and row["time"] <= after:
            file.seek(here)
            return
    file.seek(0)


def last_lines(entries: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """What entries hold of their last `count` lines, in the same order.

    An entry is what one read of a pipe gave: many lines, or a part of one. A line that goes on in
    the next entry of its pipe counts once and is kept whole.
    """
    kept: list[dict[str, Any]] = []
    begun: set[tuple[str, str]] = set()  # pipes whose first kept line may begin in an earlier entry
    for entry in reversed(entries):
        pipe = entry["container_id"], entry["stream"]
        lines = _lines(entry["data"])
        first = len(lines)
        if pipe in begun and not lines[-1].endswith(b"\n"):
            first -= 1  # the rest of it is counted
        taken = min(count, first)
        count -= taken
        first -= taken
        if first < len(lines):
            kept.append({**entry, "data": b"".join(lines[first:])})
        begun.discard(pipe)
        if not first:
            begun.add(pipe)
        if not count and not begun:
            break
    return kept[::-1]


def _lines(data: bytes) -> list[bytes]:
    r"""Lines with their ends; a lone `\r`, as of progress bars, ends none."""
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


class PipeReader:
    """Reads one output pipe of a container.

    Args:
        fd: of the pipe.
        stream: stdout or stderr.
        sink: hears what is printed.
        hidden: values that it does not hear; mostly there are none.
    """

    __slots__ = ("_fd", "_loop", "_redacted", "_sink", "stream")

    def __init__(self, fd: int, stream: str, sink: Any, hidden: Sequence[str] = ()) -> None:
        self._fd = fd
        self._sink = sink
        self._redacted = Redacted(partial(sink.on_output, stream), hidden) if hidden else None
        self._loop = asyncio.get_running_loop()
        self.stream = stream
        self._loop.add_reader(fd, self._on_readable)

    def _on_readable(self) -> None:
        if self._sink.is_congested():
            self._loop.remove_reader(self._fd)
            self._loop.call_later(PAUSE_S, self._resume)
            return
        self.drain()
        self._sink.after_events()

    def drain(self) -> None:
        """Take what is there, and no more than a pipe holds: it may be filled faster than read."""
        for _ in range(PIPE_BYTES_MAX // READ_BYTES):
            if self._fd < 0:
                return
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.close()
                return
            if self._redacted is None:
                self._sink.on_output(self.stream, data)
            else:
                self._redacted(data)
            if len(data) < READ_BYTES:
                return

    def tell_all(self, *, is_news: bool) -> None:
        """Have told what was printed, also an end that may be the beginning of a hidden value.

        Args:
            is_news: whether there is anything to be read.
        """
        if is_news:
            self.drain()
        if self._redacted is not None:
            self._redacted.end()

    def _resume(self) -> None:
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._on_readable)

    def close(self) -> None:
        """Stop reading."""
        if self._redacted is not None:
            self._redacted.end()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._sink.on_pipe_closed(self._fd)
            os.close(self._fd)
            self._fd = -1
