"""`Cron`, `Period` and `schedule=`: what makes no sense is refused where it is written."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant.errors import InvalidError
from volant.wire.payloads import NO_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("expression", "told", "hint"),
    [
        ("61 * * * *", "minute '61' has 61 where a number from 0 to 59", "`1-5`"),
        ("* 25 * * *", "hour '25'", "from 0 to 23"),
        ("* * 0 * *", "day of month '0'", "from 1 to 31"),
        ("* * * FOO *", "month 'FOO' has 'FOO' where a number is needed", "from 1 to 12"),
        ("* * * * 8", "day of week '8'", "from 0 to 7"),
        ("5-1 * * * *", "ends before it begins", ""),
        ("*/0 * * * *", "has 0 where a number from 1 on", ""),
        ("* * * *", "has 4 fields, and needs 5", ""),
        ("0 0 9 * * *", "has 6 fields", "Period(seconds=...)"),
        ("@daily", "has 1 fields", 'write Cron("0 0 * * *")'),
        ("0 0 30 2 *", "day of month '30' never comes in month '2'", ""),
        ("9" * 1000, "at most 200 characters", ""),
    ],
)
def test_a_wrong_expression_is_refused_naming_field_and_value(
    expression: str, told: str, hint: str
):
    with pytest.raises(InvalidError) as caught:
        volant.Cron(expression)
    assert told in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("zone", "hint"), [("Europe/Berln", "Europe/Berlin"), ("../../etc", ""), (3, "Europe/Berlin")]
)
def test_a_wrong_time_zone_is_refused_with_what_is_close(zone: Any, hint: str):
    with pytest.raises(InvalidError, match="there is no time zone") as caught:
        volant.Cron("0 9 * * *", timezone=zone)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "Period() must be from 1 second"),
        ({"seconds": 0.5}, "Period(seconds=0.5) must be"),
        ({"hours": 1.5}, "hours must be a whole number from 0 on, got 1.5"),
        ({"days": -1}, "days must be a whole number from 0 on, got -1"),
        ({"seconds": float("nan")}, "seconds must be a number"),
        ({"minutes": True}, "minutes must be"),
        ({"years": 101}, "to 100 years"),
    ],
)
def test_a_wrong_period_is_refused_naming_its_unit(given: dict[str, Any], told: str):
    with pytest.raises(InvalidError) as caught:
        volant.Period(**given)
    assert told in caught.value.message


def test_schedules_show_what_they_are():
    assert repr(volant.Cron("0 9 * * *")) == "Cron('0 9 * * *', timezone='UTC')"
    assert repr(volant.Period(hours=4, seconds=1.5)) == "Period(hours=4, seconds=1.5)"


def needing(value: int, *, other: str) -> None:
    """A function that nobody can call without arguments."""


def yielding() -> Any:
    yield 1


def plain(value: int = 1, *values: int, other: str = "") -> None:
    """A function that can be called with nothing."""


@pytest.mark.parametrize(
    ("raw", "told"),
    [(needing, "needs arguments that nobody gives it: value, other"), (yielding, "generator")],
)
def test_what_nobody_can_call_has_no_schedule(raw: Callable[..., Any], told: str):
    with pytest.raises(InvalidError, match=told):
        volant.App("a").function(schedule=volant.Period(days=1))(raw)


def test_a_schedule_is_part_of_what_the_daemon_is_told():
    made = volant.App("a").function(schedule=volant.Cron("0 9 * * *", "Asia/Tokyo"))(plain)
    assert made._options["schedule"] == {
        "kind": "cron", "expression": "0 9 * * *", "timezone": "Asia/Tokyo",
    }  # fmt: skip


@pytest.mark.parametrize("schedule", ["0 9 * * *", 60, volant.Cron])
def test_a_schedule_is_a_cron_or_a_period(schedule: Any):
    with pytest.raises(InvalidError, match=r"volant\.Cron or a volant\.Period, got"):
        volant.App("a").function(schedule=schedule)


def test_classes_have_no_schedule():
    settings: dict[str, Any] = {"schedule": volant.Period(days=1)}
    with pytest.raises(InvalidError, match="a class cannot have a schedule"):
        volant.App("a").cls(**settings)


def test_the_payload_of_a_call_without_arguments_is_what_it_says():
    assert pickle.loads(NO_ARGUMENTS) == ((), {})
