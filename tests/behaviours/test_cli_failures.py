"""What a program that fails tells of it: a hint that helps, and the frames that are its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.programs import OUR_PARTS, program_file
from tests.support import run_volant

if TYPE_CHECKING:
    from pathlib import Path

DYING = """
import os
import volant

app = volant.App("dying")

@app.function()
def dead():
    print("last words", flush=True)
    os._exit(1)
"""


def test_the_hint_for_a_container_that_died_is_a_command(
    run, volant_home: Path, tmp_path: Path
) -> None:
    """Behaviour 128: it names the app, which has ended by then."""
    done = run(program_file(tmp_path, DYING))
    assert done.returncode == 1
    [words] = re.findall(r"`volant (app logs ap-\w+)`", done.stderr)
    assert "last words" in run_volant(*words.split(), home=volant_home).stdout


LACKING = """
import importlib
import pathlib
import volant

app = volant.App("lacking")

@app.function()
def dynamic():
    importlib.import_module("beside")

@app.function()
def unknown():
    import no_such_module_anywhere

@app.function()
def data():
    return (pathlib.Path(__file__).parent / "data" / "one.csv").read_text()

@app.function()
def relative():
    return open("data/one.csv").read()

@app.function()
def absolute():
    return open({path!r}).read()

@app.function()
def nowhere():
    return open("data/no-such-file.csv").read()

@app.function()
def own():
    import json.no_such_part
"""


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        ("dynamic", "hint: {0}/beside.py was not sent, because no import statement names it; "
                    "with `import beside` in the function it is\n"),
        ("unknown", "hint: `no_such_module_anywhere` is not installed in the environment of this "
                    "run, "),
        ("data", "hint: {0}/data/one.csv is on this machine, and containers get Python sources "
                 "only: pass its content as an argument\n"),
        ("relative", "hint: {0}/data/one.csv is on this machine"),
        ("absolute", "hint: {0}/data/one.csv is on this machine"),
        ("nowhere", ""),
        ("own", ""),
    ],
)  # fmt: skip
def test_what_a_container_lacks_is_explained(run, tmp_path: Path, function: str, hint: str) -> None:
    """Behaviour 130: a module or a file that this machine has, or a package that nobody has."""
    program_file(tmp_path, "", "beside.py")
    data = program_file(tmp_path, "1,2", "data/one.csv")
    path = program_file(tmp_path, LACKING.format(path=str(data)))
    done = run(f"{path}::{function}")
    assert done.returncode == 1
    assert "NotFoundError" in done.stderr
    assert hint.format(tmp_path) in done.stderr
    assert ("hint:" in done.stderr) == bool(hint), done.stderr


def test_a_module_that_is_missing_here_is_explained(run, tmp_path: Path) -> None:
    """What images alone have is imported in a block that says so."""
    done = run(program_file(tmp_path, "import nothing_of_this_name\n"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        "hint: `nothing_of_this_name` is not installed here; what only images have is imported in "
        "`with image.imports():`, or in the function",
    ]


PLAIN = """
import volant

app = volant.App("plain")

@app.function()
def fail(x):
    return 1 / x

@app.function()
def values(x):
    yield 1 / x

if __name__ == "__main__":
    with app.run():
        {call}
"""
CALLS = ["fail.remote(0)", "list(fail.map([0]))", "list(values.remote_gen(0))",
         "fail.spawn(0).get()", "fail(1)"]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_program_run_by_python_ends_with_its_own_frames(
    volant_home: Path, tmp_path: Path, call: str
) -> None:
    """Behaviour 130: as `volant run` shows them, unless the setting asks for all."""
    path = program_file(tmp_path, PLAIN.format(call=call))
    seen = {}
    for value in ("false", "true"):
        environ = {**os.environ, "VOLANT_HOME": str(volant_home), "VOLANT_TRACEBACK": value}
        done = subprocess.run(
            [sys.executable, path], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert call in done.stderr
        seen[value] = [part for part in OUR_PARTS if part in done.stderr]
    assert seen["false"] == []
    assert seen["true"] != []


REDEFINING = """
import volant

app = volant.App("redefining")

@app.function()
def f():
    return 1

@app.function()
def f():
    return 2
"""


def test_a_function_that_replaces_another_is_warned_of_once(run, tmp_path: Path) -> None:
    """Behaviour 37: where it is defined, and not again by each container that imports it."""
    path = program_file(tmp_path, REDEFINING)
    done = run(path)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert done.stderr.count("is replaced by") == 1
    assert done.stderr.startswith(f"{path}:10: UserWarning")
