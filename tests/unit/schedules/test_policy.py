"""What becomes of due times: late, missed, overlapping, paused, and with a clock that is set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from volantd.schedules import policy
from volantd.schedules.policy import CATCH_UP_S, SET_BACK_S, Verdict
from volantd.schedules.times import CronRule, rule_of

if TYPE_CHECKING:
    from volantd.schedules.policy import Standing
    from volantd.schedules.times import Rule

HOUR, DAY = 3600.0, 86400.0
#: Midnight of some day.
START = 20_000 * DAY
HOURLY = CronRule("0 * * * *", "UTC")
MINUTELY = CronRule("* * * * *", "UTC")
DAILY = CronRule("0 9 * * *", "UTC")
PERIOD = {
    "kind": "period", "years": 0, "months": 0, "weeks": 0, "days": 0, "hours": 4, "minutes": 0,
    "seconds": 0,
}  # fmt: skip


def begun(rule: Rule = HOURLY) -> Standing:
    return policy.begin(rule, START, START)


def test_nothing_is_due_before_its_time_and_each_time_is_due_once():
    standing = begun()
    assert standing.next_due == START + HOUR
    assert policy.look(standing, HOURLY, START + HOUR - 0.001, busy=False) == (
        standing,
        Verdict.WAIT,
    )
    standing, verdict = policy.look(standing, HOURLY, START + HOUR, busy=False)
    assert verdict is Verdict.RUN
    assert (standing.runs, standing.next_due) == (1, START + 2 * HOUR)
    assert policy.look(standing, HOURLY, START + HOUR, busy=False)[1] is Verdict.WAIT


def test_what_was_missed_is_run_once_and_the_rest_is_counted():
    standing, verdict = policy.look(begun(), HOURLY, START + 5.5 * HOUR, busy=False)
    assert verdict is Verdict.RUN
    assert (standing.runs, standing.missed) == (1, 4)
    assert standing.next_due == START + 6 * HOUR


def test_what_was_missed_a_day_ago_is_still_run_and_what_is_older_is_not():
    daily = begun(DAILY)
    assert daily.next_due is not None
    weekly_rule = CronRule("0 9 * * 0", "UTC")
    weekly = begun(weekly_rule)
    assert weekly.next_due is not None
    on_time, late = weekly.next_due + CATCH_UP_S - 1, weekly.next_due + CATCH_UP_S + 1
    assert policy.look(weekly, weekly_rule, on_time, busy=False)[1] is Verdict.RUN
    standing, verdict = policy.look(weekly, weekly_rule, late, busy=False)
    assert verdict is Verdict.TOO_OLD
    assert (standing.runs, standing.missed) == (0, 1)
    assert standing.next_due == weekly.next_due + 7 * DAY


def test_a_year_of_missed_minutes_is_looked_at_in_no_time():
    standing, verdict = policy.look(begun(MINUTELY), MINUTELY, START + 365 * DAY, busy=False)
    assert verdict is Verdict.RUN
    assert standing.missed == 24 * 60 - 1  # of the last day: what is older is not counted
    assert standing.next_due == START + 365 * DAY + 60


def test_a_run_that_is_due_while_the_last_one_runs_is_skipped_and_counted():
    standing, verdict = policy.look(begun(), HOURLY, START + HOUR, busy=True)
    assert verdict is Verdict.SKIP
    assert (standing.runs, standing.skipped, standing.missed) == (0, 1, 0)
    assert standing.next_due == START + 2 * HOUR


def test_a_pause_leaves_out_and_does_not_make_up():
    standing = policy.paused(begun())
    assert standing.next_due is None
    assert policy.look(standing, HOURLY, START + 3 * HOUR, busy=False) == (standing, Verdict.WAIT)
    standing = policy.resumed(standing, HOURLY, START + 3.5 * HOUR)
    assert policy.look(standing, HOURLY, START + 3.5 * HOUR, busy=False)[1] is Verdict.WAIT
    assert (standing.next_due, standing.missed) == (START + 4 * HOUR, 0)
    assert policy.resumed(standing, HOURLY, START + 9 * HOUR) is standing


def test_a_clock_set_back_a_little_repeats_nothing_and_set_back_far_begins_anew():
    standing, _ = policy.look(begun(), HOURLY, START + 10 * HOUR, busy=False)
    little, verdict = policy.look(standing, HOURLY, START + 8 * HOUR, busy=False)
    assert (little, verdict) == (standing, Verdict.WAIT)
    assert little.next_due == START + 11 * HOUR
    back = START + 10 * HOUR - SET_BACK_S - 1
    far, verdict = policy.look(standing, HOURLY, back, busy=False)
    assert verdict is Verdict.WAIT
    assert far.next_due == START + 7 * HOUR


def test_a_period_counts_from_the_deployment_and_a_new_one_begins_anew():
    rule = rule_of(PERIOD, START + 60)
    standing = policy.begin(rule, START + 60, START + 60)
    assert standing.next_due == START + 60 + 4 * HOUR
    again = rule_of(PERIOD, START + 5 * HOUR)
    kept = policy.begin(again, START + 5 * HOUR, START + 5 * HOUR, replace(standing, runs=7))
    assert (kept.runs, kept.next_due) == (7, START + 9 * HOUR)


def test_a_daemon_that_comes_back_goes_on_where_it_was():
    standing = replace(begun(), runs=3)
    assert policy.begin(HOURLY, START, START + 9 * HOUR, standing) is standing


def test_a_pause_outlives_a_deployment_and_another_schedule_makes_up_for_nothing():
    paused = policy.paused(begun())
    kept = policy.begin(DAILY, START + HOUR, START + HOUR, paused)
    assert (kept.is_paused, kept.next_due) == (True, None)
    other = policy.begin(DAILY, START, START + 30 * HOUR, begun())
    assert other.next_due == START + 33 * HOUR


def test_how_runs_ended_is_counted():
    standing = policy.started(begun(), START + 5)
    assert (standing.last_run_at, standing.last_ok) == (START + 5, None)
    failed = policy.ended(standing, ok=False)
    assert (failed.runs, failed.failures, failed.last_ok) == (1, 1, False)
    assert policy.ended(failed, ok=True).last_ok is True


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kind": "never"}, "no schedule is of kind 'never'"),
        ({"hours": -1}, "`hours`"),
        ({"hours": 0}, "below a second"),
        ({"hours": 1.5}, "`hours`"),
        ({"seconds": float("inf")}, "`seconds`"),
        ({"weeks": 4_000_000_000, "years": 4_000_000_000}, "too long"),
        ({"years": 4_000_000_000}, "never comes"),
        ({"kind": "cron", "expression": "0 9 * *", "timezone": "UTC"}, "no cron expression"),
        ({"kind": "cron", "expression": "61 9 * * *", "timezone": "UTC"}, "Bad minute"),
        ({"kind": "cron", "expression": "0 0 * * *", "timezone": "../etc/passwd"}, "no schedule"),
        ({"kind": "cron", "expression": "0 0 * * *", "timezone": "Mars/Phobos"}, "Mars/Phobos"),
        ({"kind": "cron", "expression": "0 0 * * *", "timezone": 3}, "`timezone`"),
        ({"kind": "cron", "expression": "9" * 9000, "timezone": "UTC"}, "no cron expression"),
        (
            {"kind": "cron", "expression": "0 0 */31 2 MON#5", "timezone": "UTC"},
            "never comes",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(changed: dict[str, object], told: str):
    with pytest.raises(ValueError, match=told):
        rule_of({**PERIOD, **changed}, START)
