"""`Cron` and `Period`: when a function is called without anybody calling it.

What is wrong with one is said where it is written. The daemon reads the same expressions with a
library that a program need not have; a property test holds the two to each other.
"""

from __future__ import annotations

from volant import _context
from volant.errors import InvalidError
from volant.sdk.function import WEB_MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Characters of a cron expression.
EXPRESSION_CHARS_MAX = 200
#: The shortest and the longest period, a month taken as 30 days and a year as 365.
PERIOD_S_MIN, PERIOD_S_MAX = 1.0, 100 * 365 * 86400.0
#: Names of a cron expression's fields -> the least and the largest number of each.
FIELDS = (
    ("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12),
    ("day of week", 0, 7),
)  # fmt: skip
_NAMES: dict[str, tuple[int, list[str]]] = {
    "month": (
        1,
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    ),
    "day of week": (0, ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]),
}
_MONTH_DAYS_MAX = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: What other programs take for an expression -> the expression that it stands for.
_NICKNAMES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}  # fmt: skip
#: Units of a period, and the seconds that each is about.
_UNITS = {
    "years": 365 * 86400, "months": 30 * 86400, "weeks": 7 * 86400, "days": 86400,
    "hours": 3600, "minutes": 60, "seconds": 1,
}  # fmt: skip


class Schedule:
    """When a function is called: a `Cron` or a `Period`."""


class Cron(Schedule):
    """A schedule of wall clock times: `@app.function(schedule=volant.Cron("0 9 * * MON-FRI"))`.

    Args:
        cron_string: five fields: minute, hour, day of month, month, day of week (0 and 7 are
            Sunday). Each is `*`, a number, a range `9-17`, a list `1,15`, any of these with a step
            `*/10`; months and days of the week have names, too. `L` is the last day of a month,
            `LW` its last working day, `5L` its last Friday, and `MON#2` its second Monday.
        timezone: whose wall clock is meant, such as `Europe/Berlin`.

    Raises:
        InvalidError: for what is no such expression or no time zone, naming field and value.
    """

    __slots__ = ("cron_string", "timezone")

    def __init__(self, cron_string: str, timezone: str = "UTC") -> None:
        check_expression(cron_string)
        _check_zone(timezone)
        self.cron_string = cron_string
        self.timezone = timezone

    def __repr__(self) -> str:
        return f"Cron({self.cron_string!r}, timezone={self.timezone!r})"

    def to_wire(self) -> dict[str, object]:
        """The schedule as a control message carries it."""
        return {"kind": "cron", "expression": self.cron_string, "timezone": self.timezone}


class Period(Schedule):
    """A schedule of equal steps from the moment on at which the app was started or deployed.

    Months and years are those of the calendar: a month after 31 January is the last day of
    February, and two months after it 31 March.

    Args:
        years, months, weeks, days, hours, minutes: whole numbers, added up.
        seconds: a number, which may be a fraction.

    Raises:
        InvalidError: for a number that makes no sense, and for a period below a second or above a
            hundred years.

    Example:
        volant.Period(hours=4)
    """

    __slots__ = tuple(_UNITS)

    if TYPE_CHECKING:
        years: int
        months: int
        weeks: int
        days: int
        hours: int
        minutes: int
        seconds: float

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hours: int = 0,
        minutes: int = 0,
        seconds: float = 0,
    ) -> None:
        given = (years, months, weeks, days, hours, minutes, seconds)
        length_s = 0.0
        for name, value in zip(_UNITS, given, strict=True):
            kinds = (int, float) if name == "seconds" else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= 0:
                kind = "a number" if name == "seconds" else "a whole number"
                raise InvalidError(f"Period: {name} must be {kind} from 0 on, got {value!r}")
            length_s += _UNITS[name] * min(value, PERIOD_S_MAX)
            setattr(self, name, value)
        if not PERIOD_S_MIN <= length_s <= PERIOD_S_MAX:
            raise InvalidError(
                f"{self!r} must be from 1 second to 100 years", hint="for example Period(hours=4)"
            )

    def __repr__(self) -> str:
        given = [f"{name}={getattr(self, name)!r}" for name in _UNITS if getattr(self, name)]
        return f"Period({', '.join(given)})"

    def to_wire(self) -> dict[str, object]:
        """The schedule as a control message carries it."""
        return {"kind": "period", **{name: getattr(self, name) for name in _UNITS}}


def check_expression(expression: str) -> None:
    """Make sure that a cron expression is one.

    Raises:
        InvalidError: naming the field that is not, and its value.
    """
    if not isinstance(expression, str) or len(expression) > EXPRESSION_CHARS_MAX:
        raise InvalidError(
            f"Cron needs a text of at most {EXPRESSION_CHARS_MAX} characters, got "
            f"{expression!r:.100}",
            hint='for example Cron("0 9 * * MON-FRI")',
        )
    parts = expression.upper().split()
    if len(parts) != len(FIELDS):
        meant = _NICKNAMES.get(expression.strip().lower())
        raise InvalidError(
            f"Cron({expression!r}) has {len(parts)} fields, and needs 5: minute, hour, day of "
            "month, month, day of week",
            hint=f'write Cron("{meant}")' if meant else "seconds are for Period(seconds=...)",
        )
    found = {}
    for (name, low, high), part in zip(FIELDS, parts, strict=True):
        try:
            found[name] = _Field(name, low, high).numbers(part)
        except ValueError as error:
            raise InvalidError(
                f"Cron({expression!r}): {name} {part!r} {error}",
                hint=f"{name} is from {low} to {high}; `*`, `1-5`, `1,3` and `*/2` work as well",
            ) from None
    # A star at the front of either day makes both count, as in the cron of Debian.
    both_count = parts[2].startswith("*") or parts[4].startswith("*")
    longest = max(_MONTH_DAYS_MAX[month - 1] for month in found["month"])
    if both_count and min(found["day of month"]) > longest:
        raise InvalidError(
            f"Cron({expression!r}): day of month {parts[2]!r} never comes in month {parts[3]!r}"
        )


class _Field:
    """One field of a cron expression; its methods raise ValueError with what is wrong."""

    def __init__(self, name: str, low: int, high: int) -> None:
        self._name = name
        self._low = low
        self._high = high

    def numbers(self, text: str) -> set[int]:
        """The numbers that it means; 0 for the last day of a month and the like."""
        if text == "*":
            return set(range(self._low, self._high + 1))
        if "," in text:
            return set().union(*map(self.numbers, text.split(",")))
        special = self._special(text)
        if special:
            return {0}
        if "/" in text:
            return self._steps(*text.split("/", 1))
        if "-" in text:
            first, last = map(self._number, text.split("-", 1))
            if last < first:
                raise ValueError(f"ends before it begins: {text!r}")
            return set(range(first, last + 1))
        return {self._number(text)}

    def _special(self, text: str) -> bool:
        if self._name == "day of month":
            return text in ("L", "LW")
        if self._name == "day of week" and "L" in text:
            self._whole(text[:-1], self._low, self._high)
            return True
        if self._name == "day of week" and "#" in text:
            day, nth = text.split("#", 1)
            self._number(day)
            self._whole(nth, 1, 5)
            return True
        return False

    def _steps(self, term: str, step: str) -> set[int]:
        size = self._whole(step, 1, None)
        numbers = sorted(self.numbers(term))
        if len(numbers) == 1 and numbers != [0]:  # `L/2` is as good as `L`
            numbers = list(range(numbers[0], self._high + 1))
        return set(numbers[::size])

    def _number(self, text: str) -> int:
        first, names = _NAMES.get(self._name, (0, []))
        if text in names:
            return first + names.index(text)
        return self._whole(text, self._low, self._high)

    @staticmethod
    def _whole(text: str, low: int, high: int | None) -> int:
        if not text or not set(text) <= set("0123456789"):
            raise ValueError(f"has {text!r} where a number is needed")
        value = int(text)
        if value < low or (high is not None and value > high):
            limits = f"from {low} on" if high is None else f"from {low} to {high}"
            raise ValueError(f"has {text} where a number {limits} is needed")
        return value


def _check_zone(name: str) -> None:
    if name == "UTC" or _context.in_container():
        return  # the image may know no zones, and need not: it was checked where it was written
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        import difflib

        near = difflib.get_close_matches(str(name), zoneinfo.available_timezones(), n=3)
        raise InvalidError(
            f"Cron: there is no time zone {name!r}",
            hint=f"did you mean {', '.join(near)}?" if near else 'for example "Europe/Berlin"',
        ) from None


def checked_schedule(schedule: object) -> dict[str, object]:
    """What `schedule=` means, as a control message carries it.

    Raises:
        InvalidError: for anything but a `Cron` or a `Period`.
    """
    if not isinstance(schedule, (Cron, Period)):
        raise InvalidError(
            f"schedule must be a volant.Cron or a volant.Period, got {schedule!r}",
            hint='for example schedule=volant.Cron("0 9 * * *")',
        )
    return schedule.to_wire()


def check_schedulable(name: str, raw: Callable[..., Any], *, is_generator: bool) -> None:
    """Make sure that a function can be called by nobody: it needs no arguments and has one result.

    Raises:
        InvalidError: if not, with what is in the way.
    """
    if is_generator:
        raise InvalidError(
            f"generator function `{name}` cannot have a schedule",
            hint="nobody would take its values: return one, or call it from a scheduled function",
        )
    if hasattr(raw, WEB_MARK):
        raise InvalidError(
            f"web function `{name}` cannot have a schedule",
            hint="requests call it; give the schedule to a function of its own",
        )
    code: Any = getattr(raw, "__code__", None)
    if code is None or hasattr(raw, "__wrapped__"):
        return  # what it takes is known when it is called
    defaults: tuple[object, ...] = getattr(raw, "__defaults__", None) or ()
    keyword_defaults: dict[str, object] = getattr(raw, "__kwdefaults__", None) or {}
    positional = code.co_varnames[: code.co_argcount - len(defaults)]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    needed = [*positional, *(one for one in keywords if one not in keyword_defaults)]
    if needed:
        raise InvalidError(
            f"`{name}` has a schedule, and needs arguments that nobody gives it: "
            + ", ".join(needed),
            hint="give each a default",
        )
