"""When a schedule comes next: wall clocks with their changes, and steps of the calendar.

Pure: moments are seconds since the epoch, and every answer follows from what is asked. (A time
zone is read from its file once, by `zoneinfo`.)

What a change of the clock does to a cron expression is what the cron of Debian does:

    both minute and hour are given   a time that is left out comes when the gap ends; one that comes
                                     twice counts at its first
    one of them begins with a star   what the clock shows counts: what is left out does not come,
                                     what comes twice comes twice
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.relativedelta import relativedelta

from volantd.fields import number, text, whole

#: Characters of an expression, and of the name of a time zone.
TEXT_CHARS_MAX = 200
#: Largest number of one unit of a period, and the shortest period.
UNITS_MAX = 4_000_000_000
PERIOD_S_MIN = 1.0
_UNITS = ("years", "months", "weeks", "days", "hours", "minutes")


class Rule(Protocol):
    """Says when a schedule comes."""

    @property
    def text(self) -> str:
        """The rule as people are shown it; two rules of one text are the same."""

    def after(self, moment: float) -> float | None:
        """The first time after a moment; None when none comes any more."""

    def between(self, after: float, until: float) -> tuple[int, float]:
        """How often it came after one moment and until another, that included; and the last time.

        The last is `after` when it did not come.
        """


class CronRule:
    """A schedule of wall clock times in one zone."""

    def __init__(self, expression: str, zone: str) -> None:
        """Read an expression of five fields.

        Raises:
            ValueError: for what is no expression or no zone, and for a time that never comes.
        """
        parts = expression.split()
        if len(parts) != 5 or len(expression) > TEXT_CHARS_MAX or len(zone) > TEXT_CHARS_MAX:
            raise ValueError(f"{expression[:TEXT_CHARS_MAX]!r} is no cron expression")
        self._expression = expression
        try:
            self._zone = ZoneInfo(zone)
            CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001  # of any clock
        except (OSError, KeyError, ValueError, CronSimError) as error:  # no zone is a KeyError
            raise ValueError(f"{expression!r} in {zone!r} is no schedule: {error}") from None
        self.text = f"cron {' '.join(parts)} ({zone})"
        self._is_wild = parts[0].startswith("*") or parts[1].startswith("*")

    def after(self, moment: float) -> float | None:
        """See `Rule`."""
        at = datetime.fromtimestamp(moment, UTC).astimezone(self._zone)
        first = self._wild_after(at) if self._is_wild else self._fixed_after(at)
        return None if first is None else first.timestamp()

    def between(self, after: float, until: float) -> tuple[int, float]:
        """See `Rule`."""
        count, last = 0, after
        coming = self.after(last)
        while coming is not None and coming <= until:
            count, last = count + 1, coming
            coming = self.after(last)
        return count, last

    def _fixed_after(self, at: datetime) -> datetime | None:
        for shown in CronSim(self._expression, at.replace(tzinfo=None)):
            moment = self._first(shown) or self._end_of_gap(shown)
            if moment > at.astimezone(UTC):  # else it was the first of a time that comes twice
                return moment
        return None

    def _wild_after(self, at: datetime) -> datetime | None:
        now = at.astimezone(UTC)
        # When the clock is about to be set back, what it shows again lies before what it shows.
        behind = self._offset(now) - self._offset(now + timedelta(hours=25))
        start = at.replace(tzinfo=None) - max(behind, timedelta(0))
        best: datetime | None = None
        for shown in CronSim(self._expression, start):
            first = self._first(shown)
            if first is None:
                continue
            second = shown.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
            for moment in (first, second):
                if moment > now and (best is None or moment < best):
                    best = moment
            if first > now:  # those of later matches are later
                return best
        return best

    def _offset(self, moment: datetime) -> timedelta:
        offset = moment.astimezone(self._zone).utcoffset()
        assert offset is not None, "a zone has one"
        return offset

    def _first(self, shown: datetime) -> datetime | None:
        """When the clock shows this for the first time; None for what it leaves out."""
        moment = shown.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        return moment if moment.astimezone(self._zone).replace(tzinfo=None) == shown else None

    def _end_of_gap(self, shown: datetime) -> datetime:
        """The moment at which the clock leaves `shown` out."""
        before = shown.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        after = shown.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        low, high = int(before.timestamp()), int(after.timestamp())
        offset = self._offset(before)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(datetime.fromtimestamp(middle, UTC)) == offset:
                low = middle
            else:
                high = middle
        return datetime.fromtimestamp(high, UTC)


class PeriodRule:
    """A schedule of equal steps from one moment on."""

    def __init__(self, fields: dict[str, Any], since: float) -> None:
        """Read the units of a period.

        Raises:
            ValueError: for units that are no numbers, or add up to less than a second.
        """
        units = {name: whole(fields, name, 0, UNITS_MAX) for name in _UNITS}
        seconds = number(fields, "seconds", 0, UNITS_MAX)
        self._months = 12 * units["years"] + units["months"]
        try:
            self._rest = timedelta(
                weeks=units["weeks"], days=units["days"], hours=units["hours"],
                minutes=units["minutes"], seconds=seconds,
            )  # fmt: skip
        except OverflowError as error:
            raise ValueError(f"a period is too long: {error}") from None
        if not self._months and self._rest < timedelta(seconds=PERIOD_S_MIN):
            raise ValueError("a period is below a second")
        given = {**units, "seconds": fields["seconds"]}
        shown = [f"{n} {name if n != 1 else name[:-1]}" for name, n in given.items() if n]
        self.text = f"every {', '.join(shown)}"
        self._since = datetime.fromtimestamp(since, UTC)

    def _at(self, index: int) -> datetime:
        """When it comes for the `index`-th time; beyond the calendar, its end."""
        try:
            moved = self._since + relativedelta(months=index * self._months)
            shifted: datetime = moved + index * self._rest
        except (OverflowError, ValueError):
            return datetime.max.replace(tzinfo=UTC)
        return shifted

    def _index(self, moment: float) -> int:
        """How often it has come until a moment, that included."""
        at = datetime.fromtimestamp(moment, UTC)
        if at < self._at(1):
            return 0
        low, high = 1, 2
        while self._at(high) <= at:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if self._at(middle) <= at:
                low = middle
            else:
                high = middle
        return low

    def after(self, moment: float) -> float | None:
        """See `Rule`."""
        coming = self._at(self._index(moment) + 1)
        return None if coming == datetime.max.replace(tzinfo=UTC) else coming.timestamp()

    def between(self, after: float, until: float) -> tuple[int, float]:
        """See `Rule`."""
        first, last = self._index(after), self._index(until)
        return (last - first, self._at(last).timestamp()) if last > first else (0, after)


def rule_of(described: dict[str, Any], since: float) -> Rule:
    """The rule of a described schedule.

    Args:
        described: as a control message carries it.
        since: from when on a period counts.

    Raises:
        ValueError: naming what is not what it has to be.
        KeyError: when a field is missing.
    """
    if text(described, "kind") == "cron":
        rule: Rule = CronRule(text(described, "expression"), text(described, "timezone"))
    elif described["kind"] == "period":
        rule = PeriodRule(described, since)
    else:
        raise ValueError(f"no schedule is of kind {described['kind'][:TEXT_CHARS_MAX]!r}")
    if rule.after(since) is None:
        raise ValueError(f"a schedule never comes: {rule.text}")
    return rule
