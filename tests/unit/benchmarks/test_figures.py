from __future__ import annotations

import pytest

from benchmarks.harness.figures import (
    Budget,
    Figure,
    Row,
    concurrency_reached_at,
    median,
    percentile,
    read_budgets,
)


def row(bar: str | None, limit: float, ours: list[float], peer: list[float] | None = None) -> Row:
    budget = Budget(what="a call", unit="us", peer="a peer", bar=bar, limit=limit)
    return Row(key="calls.p50", budget=budget, figure=Figure(ours=ours, peer=peer or ()))


@pytest.mark.parametrize(
    ("values", "expected"), [([3], 3), ([1, 9], 5), ([9, 1, 5], 5), ([4, 1, 2, 3], 2.5)]
)
def test_median_is_the_middle(values: list[float], expected: float) -> None:
    assert median(values) == expected


def test_percentile_is_a_value_that_was_measured() -> None:
    values = range(10, 0, -1)
    assert percentile(values, 0.5) == 5
    assert percentile(values, 0.9) == 9
    assert percentile(values, 0.91) == 10
    assert percentile([7], 0.01) == 7


@pytest.mark.parametrize(
    ("bar", "limit", "ours", "met"),
    [
        ("at_most", 200, [150, 200, 900], True),
        ("at_most", 200, [100, 201, 202], False),
        ("at_least", 50_000, [50_000], True),
        ("at_least", 50_000, [49_999], False),
    ],
)
def test_a_bar_for_the_figure_itself_is_held_against_its_median(
    bar: str, limit: float, ours: list[float], met: bool
) -> None:
    assert row(bar, limit, ours).met is met


@pytest.mark.parametrize(
    ("bar", "limit", "ours", "peer", "ratio", "met"),
    [
        ("faster_at_least", 5, 100, 500, 5, True),
        ("faster_at_least", 5, 101, 500, 500 / 101, False),
        ("longer_at_most", 3, 300, 100, 3, True),
        ("longer_at_most", 3, 301, 100, 3.01, False),
        ("rate_at_least", 20, 80_000, 4_000, 20, True),
        ("rate_at_least", 20, 79_000, 4_000, 19.75, False),
    ],
)
def test_a_ratio_is_turned_the_way_its_bar_is_worded(
    bar: str, limit: float, ours: float, peer: float, ratio: float, met: bool
) -> None:
    held = row(bar, limit, [ours], [peer])
    assert held.ratio == pytest.approx(ratio)
    assert held.met is met


def test_a_figure_without_a_bar_is_neither_met_nor_missed() -> None:
    assert row(None, 0, [1]).met is None


def test_a_ratio_needs_a_peer() -> None:
    with pytest.raises(AssertionError, match="ratio to nobody"):
        Budget(what="a call", unit="us", bar="faster_at_least", limit=5)
    with pytest.raises(AssertionError, match="without its peer"):
        _ = row("faster_at_least", 5, [100]).met


def test_budgets_are_read_in_their_order() -> None:
    budgets = read_budgets(
        '[b.one]\nwhat = "w"\nunit = "ms"\nat_most = 3\n'
        '[a.two]\nwhat = "v"\nunit = "us"\npeer = "P"\nfaster_at_least = 5\n'
        '[a.three]\nwhat = "u"\nunit = "/s"\n'
    )
    assert list(budgets) == ["b.one", "a.two", "a.three"]
    assert [budget.bar_text for budget in budgets.values()] == ["≤ 3 ms", "≥ 5 x faster", ""]


def test_a_figure_has_one_bar() -> None:
    with pytest.raises(ValueError, match=r"a\.b has several bars: at_most, at_least"):
        read_budgets('[a.b]\nwhat = "w"\nunit = "ms"\nat_most = 3\nat_least = 1\n')


def test_concurrency_is_reached_when_the_last_of_so_many_begins() -> None:
    intervals = [(0, 100), (10, 90), (30, 50), (60, 70)]
    assert concurrency_reached_at(1, intervals) == 0
    assert concurrency_reached_at(3, intervals) == 30
    assert concurrency_reached_at(4, intervals) is None


def test_an_interval_that_ends_as_another_begins_does_not_overlap_it() -> None:
    assert concurrency_reached_at(2, [(0, 10), (10, 20)]) is None
