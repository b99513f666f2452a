"""What containers printed, one entry for each line: `server.logs.tail()`, `.fetch(since=...)`."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.calls.autoscaler import Record, _Form
from volant.sdk.planned import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from volant.sdk.calls.calling import Binding

SOURCES = ("stdout", "stderr", "system")
ENTRIES_DEFAULT, ENTRIES_MAX = 100, 10_000
#: Later than everything.
_END = 1e11


class LogEntry(Record):
    """A line that a container printed, or that was said about one."""

    __slots__ = ("context_ids", "message", "object_id", "source", "timestamp")

    def __init__(
        self, message: str, timestamp: datetime, source: str, object_id: str,
        context_ids: tuple[str, ...],
    ) -> None:  # fmt: skip
        #: Without its end.
        self.message = message
        #: When it was read from the container, in UTC.
        self.timestamp = timestamp
        #: `stdout`, `stderr`, or `system` for what Volant says.
        self.source = source
        #: Of the function or class.
        self.object_id = object_id
        #: Of its app, and of its container if it has one.
        self.context_ids = context_ids


class TailLogs(_Form):
    """`logs.tail(...)` and its `.aio`: the last lines, the oldest first."""

    __slots__ = ()

    def __call__(
        self, entries: int = ENTRIES_DEFAULT, *, source: str | None = None
    ) -> list[LogEntry]:
        """The last lines.

        Args:
            entries: how many at most.
            source: only those of `stdout`, `stderr` or `system`.

        Raises:
            InvalidError: for values that make no sense.
        """
        fields = _fields(source, tail=entries)
        return _read(self._ask("function_logs", "logs.tail", fields))[-entries:]

    async def aio(
        self, entries: int = ENTRIES_DEFAULT, *, source: str | None = None
    ) -> list[LogEntry]:
        fields = _fields(source, tail=entries)
        return _read(await self._ask_async("function_logs", fields))[-entries:]


class FetchLogs(_Form):
    """`logs.fetch(...)` and its `.aio`: the lines of a time, the oldest first."""

    __slots__ = ()

    def __call__(
        self, *, since: datetime | float, until: datetime | float | None = None,
        source: str | None = None, search_text: str = "",
    ) -> list[LogEntry]:  # fmt: skip
        """The lines of a time, as far as they are kept.

        Args:
            since: the first moment, as a datetime or in seconds of Unix time.
            until: the last; None for now.
            source: only those of `stdout`, `stderr` or `system`.
            search_text: only lines with this in them.

        Raises:
            InvalidError: for values that make no sense.
        """
        fields = _fields(source, since=_moment("since", since), until=_until(until))
        found = _read(self._ask("function_logs", "logs.fetch", fields))
        return [entry for entry in found if search_text in entry.message]

    async def aio(
        self, *, since: datetime | float, until: datetime | float | None = None,
        source: str | None = None, search_text: str = "",
    ) -> list[LogEntry]:  # fmt: skip
        fields = _fields(source, since=_moment("since", since), until=_until(until))
        found = _read(await self._ask_async("function_logs", fields))
        return [entry for entry in found if search_text in entry.message]


class Logs:
    """What the containers of a function or class printed."""

    __slots__ = ("fetch", "tail")

    stream = Planned("logs.stream")

    def __init__(self, name: str, bound: Callable[[], Binding]) -> None:
        """`bound`: gives where the hub finds it."""
        self.tail = TailLogs(name, bound)
        self.fetch = FetchLogs(name, bound)


def _fields(
    source: object, *, tail: object = None, since: float = 0.0, until: float = _END
) -> dict[str, object]:
    if source is not None and source not in SOURCES:
        raise InvalidError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    if tail is not None and (type(tail) is not int or not 1 <= tail <= ENTRIES_MAX):
        raise InvalidError(f"entries must be from 1 to {ENTRIES_MAX}, got {tail!r}")
    return {"source": source, "tail": tail, "since": since, "until": until}


def _until(value: datetime | float | None) -> float:
    return _END if value is None else _moment("until", value)


def _moment(name: str, value: datetime | float) -> float:
    timestamp = getattr(value, "timestamp", None)
    seconds: Any = value if timestamp is None else timestamp()
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= _END:
        raise InvalidError(f"{name} must be a datetime or seconds of Unix time, got {value!r}")
    return float(seconds)


def _read(reply: dict[str, Any]) -> list[LogEntry]:
    """The lines of the hub's entries; one that came in pieces is one, from its first moment."""
    from datetime import datetime, timezone

    begun: dict[tuple[str, str], list[bytes]] = {}
    lines: list[tuple[dict[str, Any], list[bytes]]] = []
    for entry in reply["entries"]:
        pipe = entry["container_id"], entry["stream"]
        for piece in entry["data"].splitlines(keepends=True):
            if pipe not in begun:
                begun[pipe] = []
                lines.append((entry, begun[pipe]))
            begun[pipe].append(piece)
            if piece.endswith(b"\n"):
                del begun[pipe]
    return [
        LogEntry(
            b"".join(pieces).decode("utf-8", "replace").rstrip("\r\n"),
            datetime.fromtimestamp(entry["time"], timezone.utc), entry["stream"],
            reply["function_id"],
            tuple(one for one in (entry["app_id"], entry["container_id"]) if one),
        )
        for entry, pieces in lines
    ]  # fmt: skip
