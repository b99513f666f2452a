"""`volant call`: kept calls from the outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import run_volant

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

PROGRAM = """
import sys, volant
app = volant.App("kept-calls")
@app.function()
def halve(number: int) -> int:
    print("halving", number)
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2
@app.function()
def spawn_further() -> str:
    call = halve.spawn(8)
    call.get()
    return call.object_id
@app.local_entrypoint()
def main() -> None:
    calls = [halve.experimental_spawn_map(range(3)), spawn_further.spawn()]
    print(*[call.object_id for call in calls], calls[1].get())
    try:
        list(calls[0].iter())
    except ValueError:
        calls[0].get(index=2)
"""


def _json(home: Path, *words: str) -> Any:
    run = run_volant(*words, "--json", home=home)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def calls(volant_home: Path, tmp_path: Path) -> list[str]:
    """Ids of a map of which one input failed, of a call that spawned another, and of that one."""
    program = tmp_path / "kept.py"
    program.write_text(PROGRAM)
    run = run_volant("run", "--quiet", program, home=volant_home)
    assert run.returncode == 0, run.stderr
    [line] = [line for line in run.stdout.splitlines() if line.startswith("fc-")]
    return line.split()


def test_kept_calls_are_listed_and_shown(volant_home: Path, calls: list[str]) -> None:
    listed = {one["call_id"]: one for one in _json(volant_home, "call", "list")}
    mapped, parent, child = (listed[call_id] for call_id in calls)
    assert [mapped[name] for name in ("state", "inputs", "done", "failed", "function")] == [
        "failure", 3, 3, 1, "halve",
    ]  # fmt: skip
    assert (child["parent"], child["parent_index"]) == (parent["call_id"], 0)
    table = run_volant("call", "list", "--limit", "1", home=volant_home).stdout.splitlines()
    assert table[0].split()[:4] == ["call", "id", "app", "function"]
    assert len(table) == 2

    shown = run_volant("call", "show", calls[0], home=volant_home).stdout
    assert "input 1 failed:" in shown
    assert "ValueError: 1 is odd" in shown
    assert calls[2] in run_volant("call", "show", calls[1], home=volant_home).stdout


def test_the_logs_of_a_call_are_its_own(volant_home: Path, calls: list[str]) -> None:
    logs = run_volant("call", "logs", calls[2], "--follow", home=volant_home)
    assert (logs.returncode, logs.stdout) == (0, "halving 8\n")
    printed = run_volant("call", "logs", calls[0], home=volant_home).stdout
    assert sorted(printed.splitlines()) == ["halving 0", "halving 1", "halving 2"]


def test_a_finished_call_cannot_be_cancelled(volant_home: Path, calls: list[str]) -> None:
    run = run_volant("call", "cancel", calls[1], home=volant_home)
    assert (run.returncode, run.stdout) == (0, "")
    assert "had finished already" in run.stderr


def test_without_a_server_there_are_no_calls(tmp_path: Path) -> None:
    run: subprocess.CompletedProcess[str] = run_volant("call", "list", home=tmp_path)
    assert (run.returncode, run.stdout) == (0, "")
    assert "the server is not running" in run.stderr
    assert run_volant("call", "show", "fc-x", home=tmp_path).returncode == 2
