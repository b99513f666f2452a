"""What the reading commands print: aligned columns, JSON, and the phases of calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from volant.cli import timings
from volant.cli.shared import show

if TYPE_CHECKING:
    from _pytest.capture import CaptureFixture


def _call(outcome: str = "ok", **stamps: int) -> dict[str, object]:
    times = {f"{key}_ns": value * 1_000_000 for key, value in stamps.items()}
    return {"outcome": outcome} | dict.fromkeys(timings.PHASES, 0) | times


def _cells(calls: list[dict[str, object]]) -> dict[str, list[str]]:
    return {line[:18].strip(): line[18:].split() for line in timings.lines(calls)}


STARTED = {"accepted": 10, "queued": 11, "wanted": 11, "forked": 15, "imported": 16,
           "dispatched": 17, "first_line": 19, "finished": 21, "delivered": 22}  # fmt: skip
WARM = {"accepted": 10, "queued": 12, "dispatched": 13, "first_line": 14, "finished": 15,
        "delivered": 16}  # fmt: skip


def test_phases_are_the_time_since_the_one_before() -> None:
    rows = _cells([_call(**STARTED), _call(**WARM)])
    assert rows["accepted"] == ["2", "0.000", "0.000"]
    assert rows["queued"] == ["2", "2.000", "2.000"]
    assert rows["forked"] == ["1", "4.000", "4.000"]
    assert rows["first line"] == ["2", "2.000", "2.000"]
    assert rows["total"] == ["2", "12.000", "12.000"]


def test_every_phase_has_its_row_and_dashes_when_nobody_went_through_it() -> None:
    rows = _cells([_call(**WARM)])
    assert [name for name in rows if name in timings.PHASES.values()] == [*timings.PHASES.values()]
    assert rows["container wanted"] == rows["forked"] == rows["imported"] == ["-", "-", "-"]


def test_what_did_not_end_well_is_counted() -> None:
    lost = _call("timeout", accepted=1, queued=1, dispatched=2, delivered=9)
    calls = [_call(**WARM), lost, lost, _call("start_failed", accepted=1, queued=1, delivered=2)]
    assert timings.lines(calls)[-1] == "of 4 inputs: 2 timeout, 1 start failed"
    assert timings.lines([_call(**WARM)])[-1].startswith("total")


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


def test_tags_are_shown_as_they_are_written(capsys: CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"tags": {"team": "ml", "stage": "dev"}}, {"tags": {}}]
    show.print_table(rows, ("tags",), "nothing")
    assert capsys.readouterr().out == "tags\nteam=ml, stage=dev\n-\n"


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
