"""Figures, budgets and verdicts: pure functions on numbers that were measured elsewhere."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Key of a bar in the budget -> (whether more is better, how the bar is written).
BARS = {
    "at_most": (False, "≤ {limit} {unit}"),
    "at_least": (True, "≥ {limit} {unit}"),
    "faster_at_least": (True, "≥ {limit} x faster"),
    "longer_at_most": (False, "≤ {limit} x as long"),
    "rate_at_least": (True, "≥ {limit} x the rate"),
}
_RATIOS = ("faster_at_least", "longer_at_most", "rate_at_least")


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    assert ordered and 0 < share <= 1
    return ordered[ceil(share * len(ordered)) - 1]


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    ordered = sorted(values)
    assert ordered
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One line of the budget: what a figure means, and its bar if it has one."""

    what: str
    unit: str
    peer: str | None = None
    #: one of BARS, or None
    bar: str | None = None
    limit: float = 0.0

    def __post_init__(self) -> None:
        assert self.bar is None or self.bar in BARS, self.bar
        assert self.bar not in _RATIOS or self.peer, f"{self.what}: a ratio to nobody"

    @property
    def bar_text(self) -> str:
        """The bar as people read it; empty when there is none."""
        if self.bar is None:
            return ""
        return BARS[self.bar][1].format(limit=f"{self.limit:,g}", unit=self.unit).strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured, one number a round, ours and the peer's."""

    ours: Sequence[float]
    peer: Sequence[float] = ()
    #: what a reader should know of this very run
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure held against its budget."""

    key: str
    budget: Budget
    figure: Figure
    ours: float = field(init=False)
    peer: float | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ours", median(self.figure.ours))
        object.__setattr__(self, "peer", median(self.figure.peer) if self.figure.peer else None)

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer, or as long where the bar says so."""
        if self.peer is None:
            return None
        over, under = self.peer, self.ours
        if self.budget.bar in ("longer_at_most", "rate_at_least") or self.budget.unit == "/s":
            over, under = under, over
        return over / under if under else float("inf")

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None when there is none."""
        if self.budget.bar is None:
            return None
        value = self.ratio if self.budget.bar in _RATIOS else self.ours
        assert value is not None, f"{self.key} was measured without its peer"
        more_is_better = BARS[self.budget.bar][0]
        return value >= self.budget.limit if more_is_better else value <= self.budget.limit


def read_budgets(text: str) -> dict[str, Budget]:
    """The budgets of a TOML text by `group.figure`, in its order."""
    budgets = {}
    for group, figures in tomllib.loads(text).items():
        for name, fields in figures.items():
            budgets[f"{group}.{name}"] = _budget(f"{group}.{name}", dict(fields))
    return budgets


def _budget(key: str, fields: dict[str, Any]) -> Budget:
    bars = [name for name in fields if name in BARS]
    if len(bars) > 1:
        raise ValueError(f"{key} has several bars: {', '.join(bars)}")
    bar = bars[0] if bars else None
    limit = float(fields.pop(bar)) if bar else 0.0
    return Budget(bar=bar, limit=limit, **fields)


def concurrency_reached_at(count: int, intervals: Iterable[tuple[int, int]]) -> int | None:
    """The first moment at which `count` of the intervals (begin, end) have all begun and not ended.

    Returns:
        That moment in the intervals' own unit, or None when there never were so many.
    """
    changes = sorted(change for begin, end in intervals for change in ((begin, 1), (end, -1)))
    at_once = 0
    for moment, step in changes:
        at_once += step
        if at_once >= count:
            return moment
    return None
