"""The public surface as type checkers see it; `surface.py` holds the assertions.

`constructors.py` holds those that only Pyright can make.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SURFACE, CONSTRUCTORS = HERE / "surface.py", HERE / "constructors.py"
#: A program written for Modal.
UNCHANGED = HERE / "unchanged.py"
#: What no checker may pass: it shows that one was run, and found the package.
WRONG = """
import volant
app = volant.App("wrong")
@app.function()
def add(x: int) -> str:
    return str(x)
number: int = add.remote(1)
add.remote("one")
"""


def mypy(program: Path, place: Path) -> subprocess.CompletedProcess[str]:
    return check("mypy", "--strict", program)


def pyright(program: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """As in editors; `basedpyright` is Pyright as PyPI has it, with the Node.js that it needs."""
    configuration = place / "pyrightconfig.json"
    settings = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}
    configuration.write_text(json.dumps({"include": [str(program)], **settings}))
    return check("basedpyright", "--pythonpath", sys.executable, "--project", configuration)


def check(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )


CHECKERS = pytest.mark.parametrize("checker", [mypy, pyright])


@CHECKERS
def test_signatures_survive_decoration_for_type_checkers(checker, tmp_path: Path) -> None:
    """`f.remote(...)` keeps f's signature: checkers agree with every line of `surface.py`."""
    checked = checker(SURFACE, tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@CHECKERS
def test_they_survive_under_another_name(checker, tmp_path: Path) -> None:
    checked = checker(UNCHANGED, tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_constructors_take_the_parameters_of_their_class(tmp_path: Path) -> None:
    checked = pyright(CONSTRUCTORS, tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@CHECKERS
def test_wrong_arguments_and_results_are_found(checker, tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    checked = checker(program, tmp_path)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    told = checked.stdout
    assert f"{program.name}:7" in told, told
    assert f"{program.name}:8" in told, told
    assert "2 errors" in told, told
