"""The region below the output of a run: erased around every write, gone at the end."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.screen import visible
from volant.cli import progress as progress_module
from volant.cli.progress import MapProgress, Progress
from volant.cli.progress_view import Rate, View, amount, clock, remaining_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[[], "tuple[Progress, Terminal]"]


class Terminal(io.TextIOWrapper):
    """A terminal that keeps everything written to it."""

    def __init__(self) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding="utf-8", newline="\r\n", write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        return self.kept.getvalue().decode()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a progress on a terminal; its own thread stays out of the way.

    To be called in the test's body: between setup and body, pytest puts its own streams back.
    """
    monkeypatch.setattr(progress_module, "start_new_thread", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "80")
    started: list[Progress] = []

    def on_terminal() -> tuple[Progress, Terminal]:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        started.append(Progress("hello"))
        return started[0], terminal

    yield on_terminal
    for progress in started:
        progress.stop()


def _draw(progress: Progress, *lines: str) -> None:
    progress._picture = list(lines)
    progress._draw()
    progress._drawn_at = 0.0  # long ago, so that a write draws again


def test_output_lands_above_the_region_and_the_region_goes(start: Start) -> None:
    progress, terminal = start()
    _draw(progress, "one", "two")
    print("mine")
    progress.write("stdout", b"container's\n")
    progress._draw()
    assert visible(terminal.text()) == ["mine", "container's", "one", "two"]
    progress.stop()
    assert visible(terminal.text()) == ["mine", "container's", ""]


def test_a_line_that_is_not_finished_keeps_the_region_away(start: Start) -> None:
    progress, terminal = start()
    _draw(progress, "region")
    sys.stdout.write("name? ")
    progress._draw()
    assert visible(terminal.text()) == ["name? "]
    sys.stdout.write("\n")
    progress._draw()
    assert visible(terminal.text()) == ["name? ", "region"]


def test_bytes_of_containers_pass_unchanged(start: Start) -> None:
    progress, terminal = start()
    progress.write("stderr", b"\xff\x00raw\x1b[31m")
    assert terminal.kept.getvalue() == b"\xff\x00raw\x1b[31m"


def test_the_streams_are_given_back(start: Start) -> None:
    progress, terminal = start()
    assert sys.stdout is not terminal
    assert sys.stdout.encoding == "utf-8"
    progress.stop()
    assert sys.stdout is terminal
    assert sys.stderr is terminal


def test_nothing_is_waited_for_once_the_connection_is_closed(start: Start) -> None:
    progress, _ = start()

    class Channel:
        closed = False
        waiting_count = 1

    assert progress.is_waiting()
    channel = Channel()
    progress._channel = channel  # type: ignore[assignment]  # all of a channel that it looks at
    assert progress.is_waiting()
    channel.waiting_count = 0
    assert not progress.is_waiting()


def test_the_picture_has_a_tree_and_a_bar_and_fits_the_terminal(start: Start) -> None:
    progress, terminal = start()
    progress.on_event({"op": "status", "function": "square", "queued": 1200, "starting": 2,
                       "running": 0, "idle": 0})  # fmt: skip
    progress.on_map(1, "square", 50, 200)
    progress.on_map(2, "endless", 7, None)
    lines = View(progress, terminal).lines()
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    picture = "\n".join(lines)
    assert "hello" in picture
    assert "starting" in picture
    assert "square  2 starting, 1,200 waiting" in picture
    assert "50/200" in picture
    assert "endless" in picture
    assert max(map(len, lines)) < 80


def test_a_long_map_leaves_a_line_and_a_short_one_none(start: Start) -> None:
    progress, terminal = start()
    view = View(progress, terminal)
    progress.on_map(1, "square", 200, 200)
    progress.on_map(2, "quick", 1, 1)
    progress.maps[1].started -= 2.0
    progress.on_map_end(1)
    progress.on_map_end(2)
    [line] = view.finished_maps()
    assert line.startswith("square: 200/200 in 2.0 s, ")
    assert progress.maps == {}


def test_the_closing_line_of_a_map_does_not_stick_to_an_unfinished_one(start: Start) -> None:
    progress, terminal = start()
    progress._view = View(progress, terminal)
    progress.on_map(1, "square", 200, 200)
    progress.maps[1].started -= 2.0
    progress.on_map_end(1)
    sys.stdout.write("result 199 ")
    progress.stop()
    first, second, *_ = visible(terminal.text())
    assert first.rstrip() == "result 199"
    assert second.startswith("square: 200/200 in 2.0 s, ")


def test_rate_and_remaining_time_come_from_the_latest_moments() -> None:
    rate = Rate(started=0.0)
    assert rate.take(1.0, 100) == pytest.approx(100)
    for second in range(2, 31):
        latest = rate.take(float(second), 100 + 10 * second)
    assert latest == pytest.approx(10, rel=0.05)
    one = MapProgress("f")
    one.done, one.total = 400, 1000
    assert clock(remaining_s(one, latest)) == "0:01:00"
    assert amount(one) == "400/1,000"
    assert clock(3725) == "1:02:05"
