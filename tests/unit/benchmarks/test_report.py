from __future__ import annotations

import json

import pytest

from benchmarks.harness import report
from benchmarks.harness.figures import Budget, Figure, Row

MACHINE = {
    "cores": 2, "memory_gib": 7.6, "kernel": "6.1", "python": "3.11", "ray": "2.0", "numpy": "2.1",
    "volant": "0.1", "rung": "container", "load_average": [0.5, 1.0, 2.0], "date": "today",
    "quick": True,
}  # fmt: skip


def rows() -> list[Row]:
    call = Budget(what="a call", unit="us", peer="Ray", bar="faster_at_least", limit=5)
    start = Budget(what="a start | fast", unit="ms", bar="at_most", limit=1000)
    plain = Budget(what="a rate", unit="/s")
    return [
        Row(key="calls.p50", budget=call, figure=Figure(ours=[100, 90, 130], peer=[900])),
        Row(key="start.cold", budget=start, figure=Figure(ours=[1500.0], note="alone")),
        Row(key="maps.rate", budget=plain, figure=Figure(ours=[123456.7])),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (46, "46"),
        (0.2251, "0.225"),
        (2.644, "2.64"),
        (12.34, "12.3"),
        (84117.3, "84,117"),
    ],
)
def test_numbers_have_the_digits_that_mean_something(value: float, text: str) -> None:
    assert report.number(value) == text


def test_cells_tell_median_spread_peer_ratio_bar_and_verdict() -> None:
    call, start, plain = map(report.cells, rows())
    assert call == (
        "a call", "100 us", "90 to 130", "Ray", "900 us", "9 x", "≥ 5 x faster", "met",
    )  # fmt: skip
    assert start[0] == "a start | fast (alone)"
    assert start[-2:] == ("≤ 1,000 ms", "MISSED")
    assert plain[-2:] == ("", "")


def test_columns_of_the_text_table_line_up() -> None:
    header, rule, *lines = report.text_table(rows()).splitlines()
    assert set(rule) == {"-"}
    assert header.index("bar") == lines[0].index("≥ 5") == lines[1].index("≤ 1,000")


def test_markdown_escapes_what_would_split_a_cell() -> None:
    lines = report.markdown_table(rows()).splitlines()
    assert all(line.replace("\\|", "").count("|") == len(report.HEADER) + 1 for line in lines)


def test_summary_names_what_was_missed_and_what_failed() -> None:
    text = report.summary(rows(), ["burst"])
    assert text == "1 of 2 bars met; missed: start.cold; not measured, because they failed: burst"


def test_json_keeps_every_round() -> None:
    stored = json.loads(json.dumps(report.as_json(MACHINE, rows(), [])))
    call = stored["figures"]["calls.p50"]
    assert call["ours_rounds"] == [100, 90, 130]
    assert (call["ours"], call["peer"], call["ratio"], call["met"]) == (100, 900, 9, True)
    assert stored["figures"]["maps.rate"]["met"] is None


def test_a_quick_run_says_so_in_its_line_about_the_machine() -> None:
    assert "quick" in report.machine_line(MACHINE)
    assert "quick" not in report.machine_line(MACHINE | {"quick": False})


def test_results_replace_what_stands_between_the_marks() -> None:
    begin, end = report.MARKS
    document = f"before\n{begin}\nold\n{end}\nafter\n"
    assert report.put_between_marks(document, "new") == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(ValueError, match="lacks its marks"):
        report.put_between_marks(f"{end} {begin}", "new")
