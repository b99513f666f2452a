"""What becomes of a due time: it is run, or passed over, and counted; pure.

    due ──┬─ paused ──────────────────────► passed over, uncounted
          ├─ the last run still runs ─────► skipped, counted
          ├─ several at once (downtime) ──► the latest is run, those before it were missed
          └─ all older than a day ────────► missed, none is run

A due time is dealt with once: what was noted as passed does not come again, also not when the
clock is set back by less than `SET_BACK_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volantd.schedules.times import Rule

#: How old the latest of the missed due times may be to be run all the same.
CATCH_UP_S = 24 * 3600.0
#: A clock that is set back further shows another time than before: due times come from then on.
SET_BACK_S = 3 * 3600.0


class Verdict(Enum):
    """What is to be done."""

    #: Nothing came.
    WAIT = auto()
    #: The function is to be called.
    RUN = auto()
    #: The function was to be called, and still runs.
    SKIP = auto()
    #: All that came is too old.
    TOO_OLD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is kept of one schedule; moments are seconds since the epoch."""

    #: The rule as it is shown: another one begins anew.
    rule: str
    #: From when on a period counts: when the app was started or deployed.
    since: float
    #: Due times until then are dealt with.
    passed: float
    next_due: float | None
    is_paused: bool = False
    runs: int = 0
    failures: int = 0
    #: Due times at which the run before still ran.
    skipped: int = 0
    #: Due times at which nobody looked, or at least so many.
    missed: int = 0
    last_run_at: float | None = None
    #: How the last run ended; None before that.
    last_ok: bool | None = None


def begin(rule: Rule, since: float, now: float, kept: Standing | None = None) -> Standing:
    """The standing of a schedule whose app starts, is deployed, or is found deployed.

    Args:
        kept: what is known of it from before. Its counts stay, and so does a pause.
    """
    if kept is None:
        return Standing(rule=rule.text, since=since, passed=since, next_due=rule.after(since))
    if kept.since == since and kept.rule == rule.text:
        return kept
    passed = max(since, now) if kept.rule != rule.text else since
    due = None if kept.is_paused else rule.after(passed)
    return replace(kept, rule=rule.text, since=since, passed=passed, next_due=due)


def look(standing: Standing, rule: Rule, now: float, *, busy: bool) -> tuple[Standing, Verdict]:
    """Deal with what is due.

    Args:
        busy: the last run still runs.
    """
    if standing.is_paused:
        return standing, Verdict.WAIT
    if now < standing.passed - SET_BACK_S:
        return replace(standing, passed=now, next_due=rule.after(now)), Verdict.WAIT
    if standing.next_due is None or now < standing.next_due:
        return standing, Verdict.WAIT
    count, last = rule.between(max(standing.passed, now - CATCH_UP_S), now)
    passed = last if count else now
    standing = replace(standing, passed=passed, next_due=rule.after(passed))
    if not count:
        return replace(standing, missed=standing.missed + 1), Verdict.TOO_OLD
    standing = replace(standing, missed=standing.missed + count - 1)
    if busy:
        return replace(standing, skipped=standing.skipped + 1), Verdict.SKIP
    return started(standing, now), Verdict.RUN


def started(standing: Standing, now: float) -> Standing:
    """A run begins: one that was due, or that somebody asked for."""
    return replace(standing, runs=standing.runs + 1, last_run_at=now, last_ok=None)


def ended(standing: Standing, *, ok: bool) -> Standing:
    """The run has ended."""
    return replace(standing, failures=standing.failures + (not ok), last_ok=ok)


def paused(standing: Standing) -> Standing:
    """Nothing is due until it is resumed."""
    return replace(standing, is_paused=True, next_due=None)


def resumed(standing: Standing, rule: Rule, now: float) -> Standing:
    """Due times come again, from now on; none of the pause is made up for."""
    if not standing.is_paused:
        return standing
    passed = max(now, standing.passed)
    return replace(standing, is_paused=False, passed=passed, next_due=rule.after(passed))
