"""`volant function` from the outside: what it prints, what it changes, what it says of mistakes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import eventually, run_volant

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Command = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = """
import time, volant
app = volant.App("kept")
@app.function(max_containers=2)
def square(seconds: float) -> None:
    time.sleep(seconds)
@app.local_entrypoint()
def main() -> None:
    for _ in range(3):
        square.spawn(600.0)
"""


@pytest.fixture
def function(volant_home: Path, tmp_path: Path) -> Iterator[Command]:
    """`volant function ...` while a detached app holds two containers, and has an input wait."""
    program = tmp_path / "kept.py"
    program.write_text(PROGRAM)
    run = run_volant("run", "--detach", program, home=volant_home)
    assert run.returncode == 0, run.stderr
    app_id = run.stderr.split("detached app ")[1].split(";")[0]

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return run_volant("function", *words, home=volant_home)

    yield command
    run_volant("app", "stop", app_id, home=volant_home)


def _json(function: Command, *words: str) -> Any:
    run = function(*words, "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_functions_are_listed_with_what_they_do(function: Command) -> None:
    eventually(lambda: _row(function)["num_running_inputs"] == 2)
    row = _row(function)
    assert row["function_id"].startswith("fu-")
    assert (row["app"], row["kind"], row["variant"]) == ("kept", "function", False)
    lines = function("list").stdout.splitlines()
    assert lines[0].split() == ["function", "id", "app", "name", "kind", "containers", "running",
                                "backlog"]  # fmt: skip
    assert any(line.split()[1:] == ["kept", "square", "function", "2", "2", "1"] for line in lines)


def _row(function: Command) -> dict[str, Any]:
    [row] = [one for one in _json(function, "list") if one["app"] == "kept"]
    assert isinstance(row, dict)
    return row


def test_the_numbers_of_one_function_are_those_of_its_statistics(function: Command) -> None:
    eventually(lambda: _json(function, "stats", "kept.square")["num_running_inputs"] == 2)
    stats = _json(function, "stats", "square")
    del stats["function_id"]
    assert stats == {
        "backlog": 1, "num_total_runners": 2, "num_running_inputs": 2, "input_headroom": 0,
        "waits_for": "",
    }  # fmt: skip
    assert "backlog             1" in function("stats", "square").stdout.splitlines()


def test_an_autoscaler_is_shown_and_changed(function: Command) -> None:
    settings = _json(function, "autoscaler", "settings", "square")
    assert settings["max_containers"] == 2
    run = function("autoscaler", "update", "square", "--max-containers", "3")
    assert "max containers     3" in run.stdout.splitlines()
    eventually(lambda: _json(function, "stats", "square")["num_running_inputs"] == 3)
    after = _json(function, "autoscaler", "update", "square", "--max-containers", "default",
                  "--scaledown-window", "2.5")  # fmt: skip
    assert after == {**settings, "max_containers": None, "scaledown_window": 2.5}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("stats", "squares"), "no function 'squares'\nhint: did you mean square"),
        (("autoscaler", "update", "square"), "error: there is nothing to change"),
        (("autoscaler", "update", "square", "--max-containers", "x"), "a number or `default`"),
        (("autoscaler", "update", "square", "--min-containers", "5"), "(5) is above max_cont"),
        (("autoscaler", "update", "square", "--scaledown-window", "0"), "must be from 0.05"),
        (("autoscaler", "updates", "square"), "hint: did you mean `update`?"),
    ],
)
def test_a_mistake_is_named(function: Command, words: tuple[str, ...], expected: str) -> None:
    run = function(*words)
    assert run.returncode == 2
    assert expected in run.stderr
    assert not run.stdout
