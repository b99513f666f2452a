"""What the reading commands print: aligned columns, JSON, and the phases of calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from volant.cli import timings
from volant.cli.commands import show

if TYPE_CHECKING:
    from _pytest.capture import CaptureFixture


def _call(**stamps: int) -> dict[str, int]:
    return dict.fromkeys(timings.PHASES, 0) | {f"{key}_ns": value for key, value in stamps.items()}


def test_phases_are_the_time_since_the_one_before() -> None:
    ms = 1_000_000
    calls = [
        _call(accepted=10 * ms, queued=11 * ms, wanted=11 * ms, forked=15 * ms, imported=16 * ms,
              first_line=18 * ms, finished=20 * ms, delivered=21 * ms),
        # A container that was there already: its stamps are from before, or not at all.
        _call(accepted=10 * ms, queued=12 * ms, forked=2 * ms, first_line=13 * ms,
              finished=14 * ms, delivered=15 * ms),
    ]  # fmt: skip
    rows = {line[:18].strip(): line[18:].split() for line in timings.lines(calls)}
    assert rows["queued"] == ["2", "2.000", "2.000"]
    assert rows["forked"] == ["1", "4.000", "4.000"]
    assert rows["first line"] == ["2", "2.000", "2.000"]
    assert rows["total"] == ["2", "11.000", "11.000"]
    assert "accepted" not in rows


def test_no_calls_are_said_to_be_none() -> None:
    assert timings.lines([]) == ["no calls were made"]


def test_columns_are_aligned(capsys: CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"app_id": "ap-1", "names": ["a", "b"], "n": 1},
        {"app_id": "ap-22", "names": list("abcdef"), "n": None},
    ]
    show.print_table(rows, ("app_id", "names", "n"), "nothing")
    assert capsys.readouterr().out == (
        "app id  names              n\nap-1    a, b               1\nap-22   a, b, c, d, … (6)  -\n"
    )


def test_an_empty_table_is_said_on_standard_error(capsys: CaptureFixture[str]) -> None:
    show.print_table([], ("a",), "no apps")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "no apps\n")


def test_json_takes_bytes_as_text(capsys: CaptureFixture[str]) -> None:
    show.print_json_line({"text": b"caf\xc3\xa9\xff"})
    assert json.loads(capsys.readouterr().out) == {"text": "café\ufffd"}


@pytest.mark.parametrize(
    ("taken_s", "text"),
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7300, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_two_units(taken_s: float, text: str) -> None:
    assert show.duration(taken_s) == text


def test_memory_is_in_mib() -> None:
    assert show.memory(5 << 20) == "5.0 MiB"
    assert show.memory(None) == "-"
