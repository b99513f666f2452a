"""The timetable: the schedules of all apps that run, and one timer for them.

    timer or change ──► look at what is due ──► policy: run, skip, missed ──► errand
                                                      └──► log of the app, book of standings

Due times are of the wall clock, which may be set or stand still while the machine sleeps; the
loop's timers know nothing of that. So the timer fires every `RECHECK_S` at the latest. What is to
be done is decided by `volantd.schedules.policy`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.wire import frames
from volant.wire.faults import text_of_fault
from volantd.hub.schedules.book import Book, MemoryBook
from volantd.hub.schedules.errand import Errands
from volantd.schedules import policy
from volantd.schedules.policy import Verdict
from volantd.schedules.times import rule_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from volantd.hub.hub import Hub
    from volantd.hub.records import App, Call, Function
    from volantd.schedules.policy import Standing
    from volantd.schedules.times import Rule

log = logging.getLogger(__name__)

#: How late a due time may be noticed after the wall clock was set or the machine slept.
RECHECK_S = 30.0

#: How the origin of a call begins that is a run of a schedule; its key follows.
ORIGIN = "schedule:"


class Entry:
    """One schedule of an app that runs."""

    __slots__ = ("book", "call", "function", "key", "rule", "standing")

    def __init__(
        self, function: Function, key: str, rule: Rule, standing: Standing, book: Book
    ) -> None:
        self.function = function
        self.key = key
        self.rule = rule
        self.standing = standing
        self.book = book
        #: the run that has not ended
        self.call: Call | None = None

    def keep(self, standing: Standing) -> None:
        """Take a new standing, and see that it is kept."""
        if standing != self.standing:
            self.standing = standing
            self.book.save(self.key, standing)

    def row(self) -> dict[str, Any]:
        """The schedule as lists show it."""
        function, standing = self.function, self.standing
        return {
            "function_id": function.function_id, "app": function.app.name,
            "app_id": function.app.app_id, "name": function.name, "schedule": self.rule.text,
            "next_due": standing.next_due, "paused": standing.is_paused,
            "running": None if self.call is None else f"fc-{self.call.call_id}",
            "runs": standing.runs, "failures": standing.failures, "skipped": standing.skipped,
            "missed": standing.missed, "last_run_at": standing.last_run_at,
            "last_ok": standing.last_ok,
        }  # fmt: skip


class Timetable:
    """The schedules of the apps that run."""

    def __init__(self, hub: Hub, wall: Callable[[], float] = time) -> None:
        """Begin without any.

        Args:
            wall: the wall clock, in seconds since the epoch.
        """
        self._hub = hub
        self._wall = wall
        self._errands = Errands(hub)
        #: Where the standings of deployed apps are kept, and of those that end with their client.
        self.durable: Book = MemoryBook()
        self.memory: Book = MemoryBook()
        #: by the key of each
        self.entries: dict[str, Entry] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- apps

    def add(self, app: App) -> None:
        """Take the schedules of an app that runs from now on, or is deployed."""
        self._take(app)
        self.look()

    def replace(self, app: App) -> None:
        """Take the schedules of an app whose functions are of a later version.

        What runs goes on, and counts as a run of the later version. What is no more is forgotten.
        """
        before = {key: one for key, one in self.entries.items() if one.function.app is app}
        for key in before:
            del self.entries[key]
        self._take(app)
        for key, one in before.items():
            if key in self.entries:
                self.entries[key].call = one.call
            else:
                one.book.remove(key)
        self.look()

    def _take(self, app: App) -> None:
        if app.state == "pinned" or app.replays:
            return  # an earlier version of an app: its times are those of the present one
        now = self._wall()
        since = app.deployed_at or now
        book = self.durable if app.deployed_at else self.memory
        for function in app.functions.values():
            described = function.options["schedule"]
            if described is not None:
                rule = rule_of(described, since)
                key = f"{app.app_id}/{function.name}"
                standing = policy.begin(rule, since, now, book.load(key))
                self.entries[key] = Entry(function, key, rule, standing, book)
                book.save(key, standing)

    def remove(self, app: App) -> None:
        """Let the schedules of an app rest that has ended; of a deployed one they are kept."""
        for key, entry in list(self.entries.items()):
            if entry.function.app is app:
                del self.entries[key]
                if entry.book is self.memory:
                    self.memory.remove(key)

    def forget(self, app: App) -> None:
        """Keep nothing of a deployed app that is stopped for good."""
        for key, entry in self.entries.items():
            if entry.function.app is app:
                entry.book.remove(key)

    # -- time

    def look(self) -> None:
        """Deal with all that is due, and arm the timer for what comes next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._hub.unfinished.opened.done():
            return  # it is not known yet what runs already
        now = self._wall()
        for entry in list(self.entries.values()):
            if self.entries.get(entry.key) is entry:  # a call may end an app
                self._look_at(entry, now)
        coming = [
            entry.standing.next_due
            for entry in self.entries.values()
            if entry.standing.next_due is not None
        ]
        if coming:
            delay_s = min(max(0.0, min(coming) - self._wall()), RECHECK_S)
            self._timer = self._hub.loop.call_later(delay_s, self.look)

    def _look_at(self, entry: Entry, now: float) -> None:
        before = entry.standing
        standing, verdict = policy.look(before, entry.rule, now, busy=entry.call is not None)
        entry.keep(standing)
        missed = standing.missed - before.missed
        if verdict is Verdict.TOO_OLD:
            self._say(entry, f"missed every time it was due since {_text(before.passed)}, and the "
                             "last is too long ago to be made up for")  # fmt: skip
        elif missed:
            self._say(entry, f"missed {missed} of the times it was due, and is run once for all")
        if verdict is Verdict.SKIP:
            running = "" if entry.call is None else f" fc-{entry.call.call_id}"
            self._say(entry, f"skipped: it was due at {_text(standing.passed)}, and its last run"
                             f"{running} still runs")  # fmt: skip
        elif verdict is Verdict.RUN:
            self._run(entry)

    # -- runs

    def _run(self, entry: Entry) -> Call:
        function = entry.function
        call = self._errands.send(function, ORIGIN + entry.key, self._when_ended(entry.key))
        if not call.finished:
            entry.call = call
        fields = {"app_id": function.app.app_id, "function": function.name, "call": call.call_id}
        log.info("schedule_fired", extra={"fields": fields})
        return call

    def _when_ended(self, key: str) -> Callable[[Call], None]:
        return lambda call: self._ended(key, call)

    def adopt(self, origin: str, call: Call) -> None:
        """Take a run over that the last daemon has begun, if it is one of a schedule."""
        key = origin.removeprefix(ORIGIN)
        entry = self.entries.get(key)
        if key != origin and entry is not None:
            entry.call, call.on_end = call, self._when_ended(key)

    def _ended(self, key: str, call: Call) -> None:
        entry = self.entries.get(key)
        if entry is None:
            return  # its app has ended, and the run with it
        entry.call = None
        _, payload, _ = call.results.get(0, (frames.FAULT, b"", None))
        ok = not call.kept.faults
        entry.keep(policy.ended(entry.standing, ok=ok))
        if not ok:
            self._say(entry, f"run fc-{call.call_id} failed\n{text_of_fault(payload)}")

    def _say(self, entry: Entry, text: str) -> None:
        self._hub.services.logs.note(entry.function, f"schedule of `{entry.function.name}`: {text}")

    # -- people

    def pause(self, entry: Entry) -> None:
        """Let nothing be due until it is resumed."""
        entry.keep(policy.paused(entry.standing))

    def resume(self, entry: Entry) -> None:
        """Let times be due again."""
        entry.keep(policy.resumed(entry.standing, entry.rule, self._wall()))
        self.look()

    def run(self, entry: Entry) -> Call:
        """Run a schedule's function now, whenever it is due; a pause does not matter.

        Raises:
            InvalidError: while the last run still runs.
        """
        if entry.call is not None:
            raise InvalidError(
                f"`{entry.function.name}` still runs as fc-{entry.call.call_id}, and a schedule "
                "never runs twice at once"
            )
        entry.keep(policy.started(entry.standing, self._wall()))
        return self._run(entry)


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
