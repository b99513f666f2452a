"""`volant call replay`: a call that has ended runs again as it was, also under a debugger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours.programs import program_file
from tests.support import run_volant, stop_daemon
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT = r"\(Pdb\) (\x1b\[[0-9;?]*[a-zA-Z])*$"
SOURCE = """
import sys, volant
app = volant.App("replayed")
VERSION = 1
@app.function(timeout=1, retries=2)
def divide(number, by):
    print("dividing", number)
    share = number // by
    return share, VERSION
@app.function(schedule=volant.Period(days=1))
@volant.concurrent(max_inputs=4)
async def half(number=5):
    half = number / 2
    return half
@app.cls()
class Model:
    size: int = volant.parameter(default=1)
    @volant.method()
    def ask(self, by):
        return self.size // by, VERSION
"""
SPAWN = """
import volant
divide = volant.Function.from_name("replayed", "divide")
model = volant.Cls.from_name("replayed", "Model")(size=7)
calls = [divide.spawn(7, 2), divide.experimental_spawn_map([1, 2, 3], [1, 0, 1]),
         model.ask.spawn(2), volant.Function.from_name("replayed", "half").spawn(5)]
for call in calls:
    for index in range(call.num_inputs()):
        try:
            call.get(index=index)
        except ZeroDivisionError:
            pass
print(*[call.object_id for call in calls])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("replays")
    place.chmod(0o700)
    try:
        yield place
    finally:
        stop_daemon(place)


@pytest.fixture(scope="module")
def calls(home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Calls of version 1 of an app: one input, many of which one failed, of a class, async.

    The app has come to version 2 since.
    """
    place = tmp_path_factory.mktemp("program")
    program = program_file(place, SOURCE)
    assert run_volant("deploy", program, home=home).returncode == 0
    spawn = program_file(place, SPAWN + "app = volant.App()\n@app.local_entrypoint()\n"
                         "def main(): pass\n", "spawn.py")  # fmt: skip
    run = run_volant("run", "--quiet", spawn, home=home)
    assert run.returncode == 0, run.stderr
    program_file(place, SOURCE.replace("VERSION = 1", "VERSION = 2"))
    assert run_volant("deploy", program, home=home).returncode == 0
    return run.stdout.split()


def _replay(home: Path, *words: str) -> dict[str, Any]:
    run = run_volant("call", "replay", *words, "--json", home=home)
    assert run.returncode in (0, 1), run.stderr
    shown: dict[str, Any] = json.loads(run.stdout)
    assert run.returncode == int(shown["failed"] > 0)
    return shown


def test_a_call_runs_again_with_the_code_that_it_had(home: Path, calls: list[str]) -> None:
    for call, result in ((calls[0], "(3, 1)"), (calls[2], "(3, 1)"), (calls[3], "2.5")):
        run = run_volant("call", "replay", call, home=home)
        assert (run.returncode, run.stdout.splitlines()[-1]) == (0, result), run.stderr
    run = run_volant("call", "replay", calls[0], home=home)
    assert run.stdout == "dividing 7\n(3, 1)\n"


def test_what_failed_fails_again_and_says_why(home: Path, calls: list[str]) -> None:
    shown = _replay(home, calls[1])
    assert (shown["inputs"], shown["failed"]) == (3, 1)
    [fault] = shown["faults"]
    assert fault["index"] == 1
    assert "ZeroDivisionError" in fault["text"]
    assert _replay(home, calls[1], "--index", "2")["failed"] == 0


def test_a_replay_is_a_call_that_can_be_replayed(home: Path, calls: list[str]) -> None:
    run = run_volant("call", "replay", calls[0], "--detach", "--json", home=home)
    first = json.loads(run.stdout)["call_id"]
    run_volant("call", "logs", first, "--follow", home=home)
    again = _replay(home, first)["call_id"]
    rows = json.loads(run_volant("call", "list", "--json", home=home).stdout)
    origins = {row["call_id"]: row["origin"] for row in rows}
    assert (origins[first], origins[again]) == (f"replay:{calls[0]}", f"replay:{first}")


def test_schedules_of_a_replayed_app_rest(home: Path, calls: list[str]) -> None:
    run = run_volant("call", "replay", calls[3], "--detach", home=home)
    assert run.returncode == 0
    rows = json.loads(run_volant("schedule", "list", "--json", home=home).stdout)
    assert len(rows) == 1


def test_what_cannot_run_again_says_why(home: Path, calls: list[str]) -> None:
    for words, told in (
        (("fc-nothing",), "there is no call fc-nothing"),
        ((calls[0], "--index", "1"), "has 1 inputs, there is no index 1"),
        ((calls[0], "--debug", "--json"), "goes neither with"),
        ((calls[0], "--debug"), "needs a terminal"),
    ):
        run = run_volant("call", "replay", *words, home=home)
        assert run.returncode == 2
        assert told in run.stderr


@pytest.fixture
def debug(home: Path) -> Iterator[Any]:
    """Replays a call on a terminal; it ends with the test."""
    started: list[OnTerminal] = []

    def start(*words: str) -> OnTerminal:
        started.append(OnTerminal("call", "replay", *words, home=home))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def test_a_call_is_debugged_from_its_first_line_on(debug: Any, calls: list[str]) -> None:
    """For longer than the function's time-out."""
    run = debug("--debug", calls[0])
    run.read_until(r'-> print\("dividing", number\)\r\n' + PROMPT)
    run.press(b"import time; time.sleep(1.2); print('slept')\n")
    run.read_until(r"slept\r\n" + PROMPT)
    run.press(b"p (number, by)\n")
    run.read_until(r"\(7, 2\)\r\n" + PROMPT)
    for expected in (r"-> share = number // by", r"-> return share, VERSION"):
        run.press(b"n\n")
        run.read_until(expected + r"\r\n" + PROMPT)
    run.press(b"share = 40\n")
    run.read_until(r"share = 40\r\n(.|\n)*" + PROMPT)
    run.press(b"c\n")
    code, screen = run.end()
    assert (code, "\n".join(screen).rstrip().rpartition("\n")[2]) == (0, "(40, 1)")


def test_a_call_is_debugged_where_it_raised(debug: Any, calls: list[str]) -> None:
    run = debug("--debug=post-mortem", "--index", "1", calls[1])
    run.read_until(r"ZeroDivisionError(.|\n)*-> share = number // by\r\n" + PROMPT)
    run.press(b"p (number, by)\n")
    run.read_until(r"\(2, 0\)\r\n" + PROMPT)
    run.press(b"q\n")
    code, screen = run.end()
    assert code == 1
    assert any(line.startswith("ZeroDivisionError") for line in screen)


def test_async_functions_and_methods_are_debugged_as_well(debug: Any, calls: list[str]) -> None:
    for call, line, name in ((calls[3], "half = number / 2", "number"), (calls[2], "return", "by")):
        run = debug("--debug", call)
        run.read_until(f"-> {line}(.|\\n)*" + PROMPT)
        run.press(f"p ('is', {name})\n".encode())
        run.read_until(r"\('is', \d\)\r\n" + PROMPT)
        run.press(b"c\n")
        assert run.end()[0] == 0


def test_a_call_of_an_app_that_was_stopped_runs_again(home: Path, calls: list[str]) -> None:
    assert run_volant("app", "stop", "replayed", "--yes", home=home).returncode == 0
    run_volant("server", "stop", home=home)
    run = run_volant("call", "replay", calls[0], home=home)
    assert (run.returncode, run.stdout) == (0, "dividing 7\n(3, 1)\n"), run.stderr
