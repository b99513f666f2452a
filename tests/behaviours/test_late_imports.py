"""What functions import when they are called is imported ahead of their next containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.behaviours.apps import late
from tests.behaviours.programs import WITHIN_S, containers, run_program
from tests.support import eventually, run_volant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _running() -> Iterator[None]:
    with late.app.run():
        yield


def _await(home: Path, name: str, call: Callable[[], object], found: list[str]) -> None:
    """Call, each time a new container, until modules are there before they are imported."""

    def call_anew() -> bool:
        eventually(lambda: not containers(home, function=name), within_s=WITHIN_S)
        return call() == found

    eventually(call_anew, within_s=WITHIN_S)


def test_later_containers_have_what_a_function_imported_and_those_of_others_do_not(
    volant_home: Path,
) -> None:
    _await(volant_home, "crunch", late.crunch.remote, ["numpy"])
    assert late.plain.remote() == []


def test_an_import_behind_a_change_is_left_to_containers(volant_home: Path) -> None:
    """Nothing may find a package imported under other circumstances than its own."""
    for _ in range(2):
        assert late.set_before.remote() == []
        assert late.set_by_another.remote() == []
    # It is told, and done, later than the others would have been.
    _await(volant_home, "crunch", late.crunch.remote, ["numpy"])
    assert late.set_before.remote() == []
    assert late.set_by_another.remote() == []


def test_hooks_of_classes_are_no_different(volant_home: Path) -> None:
    _await(volant_home, "Model", late.Model().ask.remote, ["numpy"])


def test_inputs_side_by_side_and_in_groups_are_no_different(volant_home: Path) -> None:
    _await(volant_home, "shared", late.shared.remote, ["numpy"])
    _await(volant_home, "grouped", lambda: late.grouped.remote(1), ["numpy"])


def test_a_web_function_finds_its_framework_imported(volant_home: Path) -> None:
    url = late.site.get_web_url()
    assert url is not None
    with httpx.Client(timeout=WITHIN_S) as client:
        _await(volant_home, "site", lambda: client.get(url).json(), ["fastapi"])


def test_the_program_is_imported_again_without_printing_again(own_home: Path) -> None:
    printed = run_program("late.py", home=own_home).stdout.splitlines()
    imports = [line for line in printed if line.startswith("imported")]
    assert len(imports) == len(set(imports)) == 2, "once by the program, once by the first zygote"


def test_the_setting_turns_it_off(own_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "off.py"
    path.write_text(
        "import sys, volant\n"
        "app = volant.App('off')\n"
        "@app.function(single_use_containers=True)\n"
        "def crunch():\n"
        "    import numpy\n"
        "    return type(sys.meta_path[0]).__module__\n"
        "@app.local_entrypoint()\n"
        "def main():\n"
        "    print(crunch.remote())\n"
    )
    watching = run_volant("run", path, home=own_home)
    assert watching.stdout == "volant.runner.libraries.late\n", watching.stderr
    run_volant("server", "stop", home=own_home)
    off = run_volant("run", path, home=own_home, env={"VOLANT_LATE_IMPORTS": "0"})
    assert off.stdout == "builtins\n", off.stderr


EDITED = """
import sys
import volant

app = volant.App("edited")

@app.function()
def crunch():
    found = "numpy" in sys.modules
    import numpy
    return found, {number}

@app.local_entrypoint()
def main():
    print(*crunch.remote())
"""


def test_the_next_version_of_a_program_finds_what_the_last_one_imported_late(
    own_home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "edited.py"
    numbers = iter(range(1000))

    def edit_and_run() -> bool:
        number = next(numbers)
        path.write_text(EDITED.format(number=number))
        run = run_volant("run", path, home=own_home)
        assert run.stdout in (f"False {number}\n", f"True {number}\n"), run.stderr
        return run.stdout.startswith("True")

    assert not edit_and_run()
    eventually(edit_and_run, within_s=WITHIN_S)
