"""Which lines of a log are shown, and with what before them: options of commands about logs."""

from __future__ import annotations

from datetime import datetime, timezone
from time import time
from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCES = ("stdout", "stderr", "system")
#: Entries that are looked through when not all of the last are shown.
LOOKED_THROUGH = 10_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Filter:
    """What is wanted of a log; without any wish, everything."""

    def __init__(
        self, *, since: str | None = None, until: str | None = None, search: str = "",
        source: str | None = None, timestamps: bool = False, function: str | None = None,
        function_call: str | None = None, of_container: str | None = None,
        show_function_id: bool = False, show_function_call_id: bool = False,
        show_container_id: bool = False,
    ) -> None:  # fmt: skip
        """Read the words of a command line.

        Raises:
            Refused: for a moment that is none.
        """
        self._since = 0.0 if since is None else moment("--since", since)
        self._until = float("inf") if until is None else moment("--until", until)
        self._search = search.encode()
        self._source = source
        self._wanted = {"function": function, "container_id": of_container}
        self._call = function_call
        self._timestamps = timestamps
        shown = {
            "function": show_function_id, "calls": show_function_call_id,
            "container_id": show_container_id,
        }  # fmt: skip
        self._shown = [key for key, is_shown in shown.items() if is_shown]

    @property
    def leaves_out(self) -> bool:
        """Whether it is not simply the last lines that are wanted."""
        given = [self._since, self._search, self._source, self._call, *self._wanted.values()]
        return any(given) or self._until != float("inf")

    @property
    def is_plain(self) -> bool:
        """Whether entries are shown as they come."""
        return not self.leaves_out and not self._timestamps and not self._shown

    def wants(self, entry: dict[str, Any]) -> bool:
        """Whether lines of an entry may be shown."""
        return (
            self._since <= entry["time"] <= self._until
            and self._source in {None, entry["stream"]}
            and (self._call is None or self._call in entry.get("calls", ()))
            and all(one in {None, entry.get(key)} for key, one in self._wanted.items())
        )

    def lines(self, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of an entry that are wanted, as entries."""
        if not self.wants(entry):
            return
        for line in entry["data"].splitlines(keepends=True):
            if self._search in line:
                yield {**entry, "data": line}

    def marked(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A line with what people want to see in front of it."""
        told = [entry.get(key) or "-" for key in self._shown]
        words = [one if isinstance(one, str) else ",".join(one) for one in told]
        front = b"".join(f"{word} ".encode() for word in words)
        if self._timestamps:
            front = stamp(entry["time"]) + front
        return {**entry, "data": front + entry["data"]}


def log_filters(command: Callable[..., Any], *, without: str = "") -> Callable[..., Any]:
    """Options that a `Filter` reads, without the one that the command itself decides."""
    options = (
        click.option("--timestamps", is_flag=True, help="Put the time in front of each line."),
        click.option("--show-container-id", is_flag=True, help="Put its container there."),
        click.option("--show-function-call-id", is_flag=True, help="Put its calls there."),
        click.option("--show-function-id", is_flag=True, help="Put its function there, by name."),
        click.option("--container", "of_container", metavar="ID", help="Only of this container."),
        click.option("--function-call", metavar="ID", help="Only while this call ran."),
        click.option("--function", metavar="NAME", help="Only of this function."),
        click.option("-s", "--source", type=click.Choice(SOURCES), help="Only of this stream."),
        click.option("--search", default="", metavar="TEXT", help="Only lines with TEXT in them."),
        click.option("--until", metavar="TIME", help="Only before: 2h ago, or 2026-01-31T12:00."),
        click.option("--since", metavar="TIME", help="Only from then on: 2h ago, or a moment."),
    )
    for option in options:
        command = option(command)
    if without:
        hidden: Any = command
        hidden.__click_params__ = [
            one for one in hidden.__click_params__ if without not in one.opts
        ]
    return command


def moment(option: str, text: str) -> float:
    """Seconds of Unix time for `30m`, `2h`, `1d` (that long ago) or a moment in ISO form.

    Raises:
        Refused: for anything else, naming the option.
    """
    words = text.strip().removesuffix(" ago").rstrip()
    if words[:-1].isdecimal() and words[-1:] in _UNITS:
        return time() - int(words[:-1]) * _UNITS[words[-1]]
    try:
        found = datetime.fromisoformat(words)
    except ValueError:
        raise Refused(
            f"`{option} {text}` is no moment",
            hint=f"write a number and one of {', '.join(_UNITS)}, such as 2h, or 2026-01-31T12:00",
        ) from None
    return found.timestamp()


def stamp(seconds: float) -> bytes:
    """A moment as it stands in front of a line."""
    shown = datetime.fromtimestamp(seconds, timezone.utc).astimezone()
    return f"{shown:%Y-%m-%d %H:%M:%S.%f}"[:-3].encode() + b" "


class Stamped:
    """Puts the time in front of each line of what programs print, in whatever parts it comes."""

    def __init__(self) -> None:
        self._within: set[tuple[str, str]] = set()

    def __call__(self, event: dict[str, Any]) -> bytes:
        """The data of an event, stamped."""
        pipe = str(event.get("container_id")), event["stream"]
        parts = []
        for line in event["data"].splitlines(keepends=True):
            parts.append(line if pipe in self._within else stamp(event["time"]) + line)
            (self._within.discard if line.endswith(b"\n") else self._within.add)(pipe)
        return b"".join(parts)
