"""Schedules against oracles that know nothing of how they are computed.

The oracle of a cron expression is the cron of Debian as a person would play it: look at the clock
on the wall once a minute. The clock of each zone comes from `zoneinfo`; ten years of its changes
are walked through, minute by minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, example, given, settings, strategies as st

from volant.errors import InvalidError
from volant.sdk.objects.schedule import FIELDS, Cron, Period, check_expression
from volantd.schedules.times import CronRule, PeriodRule, rule_of

MINUTE = timedelta(minutes=1)
#: Zones whose clocks do what others do not: half an hour, two hours, at midnight, by the moon,
#: several times a year, backwards in summer; some that gave it up; and many people's.
ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "America/Asuncion", "America/Havana", "America/New_York",
    "America/Nuuk", "America/Santiago", "America/Scoresbysund", "America/St_Johns",
    "America/Sao_Paulo", "Antarctica/Troll", "Asia/Amman", "Asia/Beirut", "Asia/Gaza",
    "Asia/Kolkata", "Asia/Tehran", "Atlantic/Azores", "Australia/Adelaide", "Australia/Lord_Howe",
    "Europe/Berlin", "Europe/Dublin", "Europe/London", "Pacific/Apia", "Pacific/Chatham",
    "Pacific/Easter", "Pacific/Norfolk",
)  # fmt: skip
FIRST, LAST = datetime(2019, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The moments at which a zone's clock is set, in ten years."""
    clock = ZoneInfo(zone)

    def offset(moment: datetime) -> timedelta | None:
        return moment.astimezone(clock).utcoffset()

    found = []
    day = FIRST
    while day < LAST:
        if offset(day) != offset(day + timedelta(days=1)):
            low, high = 0, 1440
            while high - low > 1:
                middle = (low + high) // 2
                if offset(day + middle * MINUTE) == offset(day):
                    low = middle
                else:
                    high = middle
            found.append(day + high * MINUTE)
        day += timedelta(days=1)
    return tuple(found)


@dataclass(frozen=True)
class Expression:
    """A cron expression of plain numbers and stars, and what it means."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def is_wild(self) -> bool:
        minute, hour = self.text.split()[:2]
        return minute[0] == "*" or hour[0] == "*"

    def shows(self, shown: datetime) -> bool:
        """True if it means what a clock shows."""
        parts = self.text.split()
        day = shown.day in self.days
        weekday = shown.isoweekday() % 7 in self.weekdays
        right_day = (day and weekday) if "*" in (parts[2][0], parts[4][0]) else (day or weekday)
        return (
            shown.minute in self.minutes and shown.hour in self.hours
            and shown.month in self.months and right_day
        )  # fmt: skip


def parsed(text: str) -> Expression:
    """Read an expression of numbers, lists, stars and `*/n`, by rules of its own."""
    sets = []
    for (_, low, high), part in zip(FIELDS, text.split(), strict=True):
        if part[0] == "*":
            sets.append(frozenset(range(low, high + 1, int(part[2:] or 1))))
        else:
            sets.append(frozenset(map(int, part.split(","))))
    weekdays = frozenset(day % 7 for day in sets[4])
    return Expression(text, *sets[:4], weekdays)


def played(expression: Expression, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """When it comes after `start` and until `end`: somebody looks at the clock each minute."""
    clock = ZoneInfo(zone)
    found = []
    latest = start.astimezone(clock).replace(tzinfo=None)
    # What the clock will show again it may have shown before the first look.
    before = start - timedelta(hours=30)
    while before < start:
        before += MINUTE
        latest = max(latest, before.astimezone(clock).replace(tzinfo=None))
    moment = start
    while moment < end:
        moment += MINUTE
        shown = moment.astimezone(clock).replace(tzinfo=None)
        if expression.is_wild:
            if expression.shows(shown):
                found.append(moment)
            continue
        passed = []
        while latest < shown:  # more than one where the clock was set forward
            latest += MINUTE
            passed.append(latest)
        if any(map(expression.shows, passed)):
            found.append(moment)
    return found


def computed(text: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    rule, found = CronRule(text, zone), []
    at = rule.after(start.timestamp())
    while at is not None and at <= end.timestamp():
        found.append(datetime.fromtimestamp(at, UTC))
        at = rule.after(at)
    return found


#: Around the hours at which clocks are set, in every manner.
TEXTS = (
    "30 2 * * *", "0 0 * * *", "15,45 0,1,2,3 * * *", "0 * * * *", "*/20 * * * *",
    "*/30 1 * * *", "5 0 * * 0", "59 23 * * *", "0 1,2 * * 6,7",
)  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_cron_keeps_to_the_clock_on_the_wall_over_ten_years_of_changes(zone: str) -> None:
    around = timedelta(hours=5)
    for change in changes(zone):
        for text in TEXTS:
            start, end = change - around, change + around
            wanted = played(parsed(text), zone, start, end)
            assert computed(text, zone, start, end) == wanted, (text, change)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    listed = st.lists(st.integers(low, high), min_size=1, max_size=4, unique=True)
    steps = st.integers(1, 40).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), steps, listed.map(lambda some: ",".join(map(str, some))))


def expressions() -> st.SearchStrategy[str]:
    fields = [numbers(low, high) for _, low, high in FIELDS]
    return st.tuples(*fields).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    text=expressions(), zone=st.sampled_from(ZONES), nth=st.integers(0, 100),
    minutes=st.integers(-2000, 600),
)  # fmt: skip
def test_any_cron_keeps_to_any_clock_from_any_moment_on(
    text: str, zone: str, nth: int, minutes: int
) -> None:
    moments = changes(zone) or (datetime(2024, 2, 29, tzinfo=UTC),)
    start = moments[nth % len(moments)] + minutes * MINUTE
    end = start + timedelta(hours=30)
    assume(_is_expression(text))
    assert computed(text, zone, start, end) == played(parsed(text), zone, start, end)


def _is_expression(text: str) -> bool:
    try:
        CronRule(text, "UTC")
    except ValueError:
        return False
    return True


PIECES = [
    "*", "0", "1", "5", "7", "12", "23", "31", "59", "60", "99", "-", ",", "/", "/0", "#", "L",
    "LW", "W", "MON", "sun", "Jan", "dec", "²", "\N{LATIN SMALL LETTER LONG S}", "+1", "",
]  # fmt: skip
TERMS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.one_of(TERMS, st.sampled_from(["*", "1", "*/2"])), min_size=4, max_size=6))
@example(["*", "*", "30", "2", "*"])
@example(["*", "*", "L/2", "*", "5L"])
@example(["*", "*", "30", "2", "MON#5"])
def test_the_sdk_takes_what_the_daemon_takes(parts: list[str]) -> None:
    text = " ".join(parts)
    try:
        CronSim(text, datetime(2024, 1, 1))  # noqa: DTZ001  # of any clock
        good = len(text.split()) == 5
    except CronSimError:
        good = False
    try:
        check_expression(text)
    except InvalidError:
        assert not good, text
    else:
        assert good, text


UNITS = st.fixed_dictionaries({
    "years": st.integers(0, 3), "months": st.integers(0, 30), "weeks": st.integers(0, 5),
    "days": st.integers(0, 40), "hours": st.integers(0, 30), "minutes": st.integers(0, 100),
    "seconds": st.one_of(st.integers(0, 100), st.floats(0, 100).map(lambda some: round(some, 3))),
})  # fmt: skip


def stepped(units: dict[str, int], since: datetime, index: int) -> datetime:
    """The calendar by hand: months first, at the last day where there is none, then the rest."""
    months = since.month - 1 + index * (12 * units["years"] + units["months"])
    year, month = since.year + months // 12, months % 12 + 1
    day = since.day
    while True:
        try:
            moved = since.replace(year=year, month=month, day=day)
            break
        except ValueError:
            day -= 1
    rest = {unit: units[unit] for unit in ("weeks", "days", "hours", "minutes", "seconds")}
    return moved + index * timedelta(**rest)


@settings(max_examples=300, deadline=None)
@given(
    units=UNITS,
    since=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001  # made UTC
    index=st.integers(1, 200),
)
def test_a_period_is_counted_from_its_beginning(
    units: dict[str, int], since: datetime, index: int
) -> None:
    since = since.replace(tzinfo=UTC, microsecond=0)
    try:
        described = Period(**units).to_wire()
    except InvalidError:
        assume(False)
    rule = PeriodRule(described, since.timestamp())
    before, at = stepped(units, since, index - 1), stepped(units, since, index)
    assume(at.year < 2200)  # later, seconds in a float know no microseconds
    assert rule.after(before.timestamp()) == pytest.approx(at.timestamp(), abs=2e-6)
    inside = (before + (at - before) / 2).timestamp()
    assert rule.after(inside) == pytest.approx(at.timestamp(), abs=2e-6)
    count, last = rule.between(since.timestamp(), at.timestamp() + 1e-3)
    assert (count, last) == (index, pytest.approx(at.timestamp(), abs=2e-6))


@settings(max_examples=100, deadline=None)
@given(zone=st.sampled_from(ZONES), text=st.sampled_from(TEXTS), day=st.integers(0, 3600))
def test_counting_between_two_moments_is_going_from_one_to_the_next(
    zone: str, text: str, day: int
) -> None:
    start = FIRST + timedelta(days=day)
    end = start + timedelta(days=2)
    rule = rule_of(Cron(text, zone).to_wire(), 0.0)
    found = computed(text, zone, start, end)
    last = found[-1].timestamp() if found else start.timestamp()
    assert rule.between(start.timestamp(), end.timestamp()) == (len(found), last)
