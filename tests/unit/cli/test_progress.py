"""The region below the output of a run: erased around every write, gone at the end."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.screen import visible
from volant.cli import progress as progress_module
from volant.cli.progress import LINE_BYTES_MAX, BuildProgress, MapProgress, Progress
from volant.cli.progress_view import Rate, View, amount, clock, plain, remaining_s
from volant.sdk.images.built.lines import BuildLines
from volant.sdk.output import Output

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


def test_the_picture_says_what_the_machine_lacks(start: Start) -> None:
    progress, terminal = start()
    text = "waiting for memory: needs 2048 MiB, 512 MiB free of 8000"
    progress.on_event({"op": "status", "function": "train", "queued": 1, "starting": 0,
                       "running": 0, "idle": 0, "text": text})  # fmt: skip
    picture = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(View(progress, terminal).lines()))
    assert f"train  1 waiting, {text}" in picture


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


# -- images


def _told(image: str, state: str, **fields: object) -> dict[str, Any]:
    names = {"im-1": ["square"], "im-2": ["cube", "root", "power"]}[image]
    return {"op": "build", "image_id": image, "functions": names, "state": state,
            "function_count": len(names) + 2 * (image == "im-2"), **fields}  # fmt: skip


def _step(image: str, number: int, text: str) -> dict[str, Any]:
    return _told(image, "step", number=number, count=7, step_id=f"{image}.{number}", text=text)


def _texts(view: View) -> list[str]:
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in view.lines()]
    return [lines[0][2:], *lines[1:]]  # without what turns


def test_an_image_that_is_built_shows_its_step_and_what_that_prints_last(start: Start) -> None:
    progress, terminal = start()
    view = View(progress, terminal)
    progress.on_images(2)
    progress.on_event(_told("im-2", "cached", took_s=0.01))
    progress.on_event(_step("im-1", 3, "apt jq"))
    printed = b"".join(b"line %d\n" % number for number in range(5))
    progress.on_event(_told("im-1", "log", data=printed + b"\n5 %\r\x1b[31m70 %\x1b[0m"))
    assert _texts(view) == [
        "hello preparing 2 images",
        "├── image of cube, root, power and 2 more  cached",
        "└── image of square  step 3 of 7, 0 s: apt jq",
        "    ├── line 3",
        "    ├── line 4",
        "    └── 70 %",
    ]
    progress.on_event(_step("im-1", 4, "run a\x1b[2Jb"))
    assert _texts(view)[-1] == "└── image of square  step 4 of 7, 0 s: run ab"
    progress.on_event(_told("im-1", "built", took_s=12.34))
    assert _texts(view)[-1] == "└── image of square  built in 12.3 s"


def test_a_long_build_leaves_a_line_when_the_app_runs(start: Start) -> None:
    progress, terminal = start()
    view = View(progress, terminal)
    progress.on_images(2)
    progress.on_event(_told("im-1", "built", took_s=12.34))
    progress.on_event(_told("im-2", "cached", took_s=0.01))
    assert view.finished_builds() == [], "it still stands in the picture"
    progress.phase = ""
    assert view.finished_builds() == ["image of square: built in 12.3 s"]
    assert view.finished_builds() == []


def test_a_line_without_an_end_does_not_grow() -> None:
    build = BuildProgress()
    for _ in range(100):
        build.take({"state": "log", "data": bytes(1000)})
    assert sum(map(len, build.last_lines())) <= LINE_BYTES_MAX + 1000


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"10 %\r20 %\r", "20 %"),
        (b"\x1b]0;title\x07text", "text"),
        (b"a\tb\x07\x00c\xff", "a       bc\N{REPLACEMENT CHARACTER}"),
        (b"\x1b", ""),
    ],
)
def test_what_moves_a_cursor_is_no_text(written: bytes, shown: str) -> None:
    assert plain(written) == shown


def _lines_of(*events: dict[str, Any] | float, is_verbose: bool = False) -> list[str]:
    """What is written; a number is seconds that pass."""
    written: list[bytes] = []
    now = 0.0
    lines = BuildLines(
        lambda stream, data: written.append(data), is_verbose=is_verbose, clock=lambda: now
    )
    for event in events:
        if isinstance(event, float):
            now += event
        else:
            lines.take(event)
    return b"".join(written).decode().splitlines()


def test_without_a_terminal_each_step_is_a_line_when_it_is_over() -> None:
    found = _lines_of(
        _step("im-1", 1, "apt jq"),
        _step("im-2", 1, "run x"),
        _told("im-1", "log", data=b"one\n"), 2.0,
        _step("im-1", 2, "env A"), 0.25,
        _told("im-2", "failed", took_s=2.25),
        _told("im-1", "built", took_s=3.0),
    )  # fmt: skip
    others = "image of cube, root, power and 2 more"
    assert found == [
        "image of square: step 1 of 7: apt jq, 2.0 s",
        f"{others}: step 1 of 7: run x, failed after 2.2 s",
        f"{others}: failed after 2.2 s",
        "image of square: step 2 of 7: env A, 0.2 s",
        "image of square: built in 3.0 s",
    ]


def test_a_long_step_is_said_to_go_on_while_it_prints() -> None:
    log = _told("im-1", "log", data=b"x\n")
    found = _lines_of(_step("im-1", 1, "apt jq"), 9.0, log, 2.0, log, 5.0, log, 7.0, log)
    assert found == [
        "image of square: step 1 of 7: apt jq, 11 s so far",
        "image of square: step 1 of 7: apt jq, 23 s so far",
    ]


def test_a_step_that_several_images_wait_for_is_one_line() -> None:
    shared = {"step_id": "im-0"}
    found = _lines_of(
        _step("im-1", 1, "debian") | shared,
        _step("im-2", 1, "debian") | shared, 1.0,
        _step("im-1", 2, "run x"),
        _step("im-2", 2, "run y"),
    )  # fmt: skip
    assert found == ["image of square: step 1 of 7: debian, 1.0 s"]


def test_who_wants_all_sees_every_line_with_its_image() -> None:
    found = _lines_of(
        _step("im-1", 1, "apt jq"),
        _step("im-2", 1, "run x"),
        _told("im-1", "log", data=b"one\ntw"),
        _told("im-2", "log", data=b"5 %\r70 %\n"),
        _told("im-1", "log", data=b"o\nthree"),
        _told("im-2", "failed", took_s=0.04),
        _told("im-1", "built", took_s=2.0),
        is_verbose=True,
    )
    others = "image of cube, root, power and 2 more"
    assert found == [
        "image of square: step 1 of 7: apt jq",
        f"{others}: step 1 of 7: run x",
        "image of square: one",
        f"{others}: 70 %",
        "image of square: two",
        f"{others}: failed after 0.0 s",
        "image of square: three",
        "image of square: built in 2.0 s",
    ]


def test_a_step_that_several_images_wait_for_is_heard_once() -> None:
    shared = {"step_id": "im-0"}
    found = _lines_of(
        _step("im-1", 1, "debian") | shared,
        _step("im-2", 1, "debian") | shared,
        _told("im-1", "log", data=b"only once\n"),
        _told("im-2", "log", data=b"only once\n"),
        _step("im-1", 2, "run x"),
        _told("im-2", "log", data=b"and this\n"),
        is_verbose=True,
    )
    assert [line for line in found if "step" not in line] == [
        "image of square: only once",
        "image of cube, root, power and 2 more: and this",
    ]


def test_who_wants_no_progress_hears_of_no_build(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.on_event(_step("im-1", 1, "apt jq"))
    output.on_event(_told("im-2", "cached", took_s=0.01))
    output.on_event(_step("im-1", 2, "run x"))
    quiet = Output()
    quiet.tells_builds = False
    quiet.on_event(_step("im-1", 2, "run x"))
    assert capsys.readouterr().err == "image of square: step 1 of 7: apt jq, 0.0 s\n"
