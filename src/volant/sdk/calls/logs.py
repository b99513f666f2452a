"""What containers printed, an entry for each line: `f.logs.tail()`, `.fetch(...)`, `.stream()`.

The same for a function, a server, an app and a call; each says which request asks the hub for it,
and with which fields.
"""

from __future__ import annotations

from time import monotonic

from volant import _context
from volant.errors import ExecutionError, InvalidError
from volant.sdk.calls.autoscaler import Record
from volant.sdk.objects.asking import Value, ask, both, both_iter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import Any

    from volant.sdk.calls.calling import Binding
    from volant.sdk.objects.asking import Question, Steps, Values

SOURCES = ("stdout", "stderr", "system")
ENTRIES_DEFAULT, ENTRIES_MAX = 100, 10_000
#: How long the hub waits for something to be printed before it is asked again.
WAIT_S = 30.0
#: Later than everything; and where a stream begins: with what is printed next, or with all.
_END = 1e11
_FROM_NOW, _FROM_THE_BEGIN = -1.0, 0.0


class LogEntry(Record):
    """A line that a container printed, or that was said about one."""

    __slots__ = ("context_ids", "message", "object_id", "source", "timestamp")

    def __init__(
        self, message: str, timestamp: datetime | None, source: str, object_id: str,
        context_ids: tuple[str, ...],
    ) -> None:  # fmt: skip
        #: Without its end.
        self.message = message
        #: When it was read from the container, in UTC; of an image, when its step was built, None
        #: when that is not known.
        self.timestamp = timestamp
        #: `stdout`, `stderr`, or `system` for what Volant says.
        self.source = source
        #: Of the function or class, the app or the call that was asked; of the image up to a step.
        self.object_id = object_id
        #: Of its app, and of its container if it has one; of an image, its own.
        self.context_ids = context_ids


class Logs:
    """What was printed by one function, in one app, or while one call ran.

    Args:
        kind: what is asked, as the reply names its id: `function`, `app` or `call`.
        fields: gives what says which one is meant.
        begin: where a stream begins.
    """

    __slots__ = ("_begin", "_fields", "_kind")

    def __init__(
        self, kind: str, fields: Callable[[], dict[str, object]], begin: float = _FROM_NOW
    ) -> None:
        self._kind = kind
        self._fields = fields
        self._begin = begin

    @both
    def tail(
        self, entries: int = ENTRIES_DEFAULT, *, source: str | None = None
    ) -> Steps[list[LogEntry]]:
        """The last lines, the oldest first.

        Args:
            entries: how many at most.
            source: only those of `stdout`, `stderr` or `system`.

        Raises:
            InvalidError: for values that make no sense.
            ExecutionError: for what does not run; in a container.
        """
        if type(entries) is not int or not 1 <= entries <= ENTRIES_MAX:
            raise InvalidError(f"entries must be from 1 to {ENTRIES_MAX}, got {entries!r}")
        reply = yield self._ask("tail", source=_source(source), tail=entries)
        return self._read(reply)[-entries:]

    @both
    def fetch(
        self, *, since: datetime | float, until: datetime | float | None = None,
        source: str | None = None, search_text: str = "",
    ) -> Steps[list[LogEntry]]:  # fmt: skip
        """The lines of a time, the oldest first, as far as they are kept.

        Args:
            since: the first moment, as a datetime or in seconds of Unix time.
            until: the last; None for now.
            source: only those of `stdout`, `stderr` or `system`.
            search_text: only lines with this in them.

        Raises:
            InvalidError: for values that make no sense.
            ExecutionError: for what does not run; in a container.
        """
        last = _END if until is None else _moment("until", until)
        reply = yield self._ask(
            "fetch", source=_source(source), since=_moment("since", since), until=last
        )
        return [entry for entry in self._read(reply) if search_text in entry.message]

    @both_iter
    def stream(self, timeout: float | None = None) -> Values[LogEntry]:
        """The lines that are printed from now on, each when it is complete; of a call, all.

        It ends with the app, or with the call.

        Args:
            timeout: end after so many seconds in any case.

        Raises:
            InvalidError: for a time that makes no sense.
            ExecutionError: for what does not run; in a container.
        """
        if timeout is not None and not timeout >= 0:
            raise InvalidError(f"timeout={timeout!r}: seconds from 0 on, or None")
        end = None if timeout is None else monotonic() + timeout
        lines, after, is_over = Lines(), self._begin, False
        while not is_over:
            left_s = WAIT_S if end is None else min(WAIT_S, max(0.0, end - monotonic()))
            reply = yield self._ask("stream", after=after, wait_s=left_s)
            after = reply["last"]
            is_over = reply["ended"] or not left_s
            lines.add(reply["entries"])
            for line in lines.taken(rest=is_over):
                yield Value(self._entry(reply, *line))

    def _ask(self, form: str, **wanted: object) -> Question:
        if _context.in_container():
            raise ExecutionError(
                f"logs.{form} does not work in a container: logs belong to the machine's user",
                hint="call it on the machine, in a local entrypoint or a script",
            )
        return ask(f"{self._kind}_logs", **self._fields(), **{"tail": None, **wanted})

    def _read(self, reply: dict[str, Any]) -> list[LogEntry]:
        lines = Lines()
        lines.add(reply["entries"])
        return [self._entry(reply, *line) for line in lines.taken(rest=True)]

    def _entry(self, reply: dict[str, Any], entry: dict[str, Any], text: bytes) -> LogEntry:
        from datetime import datetime, timezone

        return LogEntry(
            text.decode("utf-8", "replace").rstrip("\r\n"),
            datetime.fromtimestamp(entry["time"], timezone.utc), entry["stream"],
            reply[f"{self._kind}_id"],
            tuple(one for one in (entry["app_id"], entry["container_id"]) if one),
        )  # fmt: skip


class Lines:
    """Lines of the hub's entries; one that came in pieces is one, from its first moment."""

    __slots__ = ("_begun", "_lines")

    def __init__(self) -> None:
        self._lines: list[tuple[dict[str, Any], list[bytes]]] = []
        #: pipe -> pieces of the line that has not ended there
        self._begun: dict[tuple[str, str], list[bytes]] = {}

    def add(self, entries: list[dict[str, Any]]) -> None:
        """Take what was printed next."""
        for entry in entries:
            pipe = entry["container_id"], entry["stream"]
            for piece in entry["data"].splitlines(keepends=True):
                if pipe not in self._begun:
                    self._begun[pipe] = []
                    self._lines.append((entry, self._begun[pipe]))
                self._begun[pipe].append(piece)
                if piece.endswith(b"\n"):
                    del self._begun[pipe]

    def taken(self, *, rest: bool) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Each complete line once, with its first entry; with `rest` those that never end, too."""
        lines, self._lines = self._lines, []
        for entry, pieces in lines:
            if rest or pieces[-1].endswith(b"\n"):
                yield entry, b"".join(pieces)
            else:
                self._lines.append((entry, pieces))


def function_logs(bound: Callable[[], Binding]) -> Logs:
    """Of a function, class or server; `bound` gives where the hub finds it."""
    from volant.wire.frames import FUNCTION_MASK

    return Logs("function", lambda: {"number": bound().number & FUNCTION_MASK})


def app_logs(app_id: str | None, name: str) -> Logs:
    """Of an app that runs, or was looked up."""

    def fields() -> dict[str, object]:
        if app_id is None:
            raise ExecutionError(
                f"app {name!r} does not run", hint="use app.run(), or App.lookup(name)"
            )
        return {"app": app_id}

    return Logs("app", fields)


def call_logs(call_id: str) -> Logs:
    """Of a spawned call: what containers printed while they ran its inputs."""
    return Logs("call", lambda: {"call": call_id}, _FROM_THE_BEGIN)


def _source(source: object) -> object:
    if source is not None and source not in SOURCES:
        raise InvalidError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    return source


def _moment(name: str, value: datetime | float) -> float:
    timestamp = getattr(value, "timestamp", None)
    seconds: Any = value if timestamp is None else timestamp()
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= _END:
        raise InvalidError(f"{name} must be a datetime or seconds of Unix time, got {value!r}")
    return float(seconds)
