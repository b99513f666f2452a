"""Requests about what was printed: by one function or class, in an app, while a call ran.

`printed` answers all of them, each by the same optional fields:

    tail, since, until, source      which entries of those that are kept
    after, wait_s                   a stream: those after a moment, or the next one when it comes

An answer in a stream has the time of its last entry as `last`, from which the next question goes
on, and `ended` when nothing more comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volantd.hub import checks
from volantd.hub.pools import autoscaler

if TYPE_CHECKING:
    from typing import Self

    from volantd.hub.session import Session

SOURCES = ("stdout", "stderr", "system")
#: The latest time that can be asked for, in seconds of Unix time.
TIME_MAX = 1e11
#: Entries of one answer in a stream, and how long one is waited for.
STREAM_ENTRIES_MAX = 256
WAIT_S_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries of an app's log somebody wants.

    Attributes:
        part: a container, or a durable call, that printed them; empty for all.
        function: that printed them; None for all.
        source: one of `SOURCES`; None for all.
    """

    app_id: str
    part: str = ""
    function: str | None = None
    source: str | None = None
    since: float = 0.0
    until: float = TIME_MAX

    @classmethod
    def of(
        cls, message: dict[str, Any], app_id: str, *, part: str = "", function: str | None = None
    ) -> Self:
        """What a request wants of what was printed there.

        Raises:
            ValueError: for fields that make no sense.
        """
        given = {"since": 0.0, "until": TIME_MAX, "source": None, **message}
        checks.optional(checks.text, given, "source")
        if given["source"] not in (*SOURCES, None):
            raise ValueError("containers print to nothing of that name")
        return cls(
            app_id=app_id, part=part, function=function, source=given["source"],
            since=checks.number(given, "since", 0, TIME_MAX),
            until=checks.number(given, "until", 0, TIME_MAX),
        )  # fmt: skip

    def has(self, entry: dict[str, Any]) -> bool:
        """Whether an entry of the app is one of them, whatever part of the app it is of."""
        is_its = self.function in (None, entry["function"])
        is_from_there = self.source in (None, entry["stream"])
        return bool(is_its and is_from_there and self.since <= entry["time"] <= self.until)


def is_meant(wanted: str, entry: dict[str, Any]) -> bool:
    """Whether an entry is of a container or a durable call; of any when `wanted` is empty."""
    return wanted in ("", entry["container_id"]) or wanted in entry.get("calls", ())


def printed(
    session: Session, message: dict[str, Any], wanted: Wanted, *, goes_on: bool, **ids: object
) -> dict[str, Any] | None:
    """The answer to a request about what was printed; None when it comes later.

    Args:
        wanted: which entries.
        goes_on: whether more may come.
        ids: further fields of the answer.
    """
    logs = session.hub.services.logs
    if message.get("after") is None:
        tail = None if message.get("tail") is None else checks.whole(message, "tail")
        entries = logs.read(wanted.app_id, tail=tail, wanted=wanted.part, where=wanted.has)
        return {**ids, "entries": entries}
    after = checks.number(message, "after", -1, TIME_MAX)
    wait_s = checks.number(message, "wait_s", 0, WAIT_S_MAX)
    if after < 0:
        return {**ids, "entries": [], "last": logs.now(), "ended": not goes_on}
    entries = logs.read(
        wanted.app_id, tail=None, wanted=wanted.part, where=wanted.has, after=after,
        count_max=STREAM_ENTRIES_MAX,
    )  # fmt: skip
    if entries or not goes_on or not wait_s:
        last = entries[-1]["time"] if entries else after
        ended = not entries and not goes_on
        return {**ids, "entries": entries, "last": last, "ended": ended}
    session.hub.streams.wait(session, message["id"], wanted, {**ids, "last": after}, wait_s)
    return None


def function_logs(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """What its containers printed, running or not, as far as the app's log reaches back."""
    function = autoscaler.find(session, message)
    wanted = Wanted.of(message, function.app.app_id, function=function.name)
    goes_on = function.app.state != "stopped"
    return printed(session, message, wanted, goes_on=goes_on, function_id=function.object_id)
