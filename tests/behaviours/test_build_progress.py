"""What a person sees while the images of a program are built side by side."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.image_builds import Gate, home_of_images
from tests.behaviours.programs import program_file
from tests.support import run_volant
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.unit.images.registry_server import Registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can build images")

PROGRAM = """
import volant
base = volant.Image.from_registry("{host}/python:base")
app = volant.App("two")
@app.function(image=base.run_commands({first!r}))
def square(): return 4
@app.function(image=base.run_commands({second!r}).env({{"A": "1"}}))
def cube(): return 8
@app.local_entrypoint()
def main(): print(square.remote(), cube.remote())
"""
#: Its lines in order, whatever colours are between the words.
PICTURE = r"[^\n]*\n[^\n]*".join(
    (
        "preparing 2 images",
        r"├── .*image of square.*step 2 of 2, \d+ s: run echo one; echo two; ",
        "├── .*one",
        "└── .*two",
        r"└── .*image of cube.*(built in \d+\.\d s|cached)",
    )
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "progress") as made:
        yield made


def program(directory: Path, registry: Registry, first: str, second: str) -> Path:
    source = PROGRAM.format(host=registry.host, first=first, second=second)
    return program_file(directory, source)


def test_without_a_terminal_lines_tell_images_apart_and_cached_ones_say_nothing(
    home: Path, registry: Registry, tmp_path: Path
) -> None:
    words = ("run", program(tmp_path, registry, "echo one; echo two", "echo three"))
    run = run_volant(*words, home=home)
    assert (run.returncode, run.stdout) == (0, "4 8\n"), run.stderr
    told = run.stderr.splitlines()
    assert all(re.match(r"image of (square|cube): ", line) for line in told), run.stderr
    of_square = [line[17:] for line in told if line.startswith("image of square: ")]
    assert re.fullmatch(r"step 2 of 2: run echo one; echo two, \d+\.\d s", of_square[-2])
    assert re.fullmatch(r"built in \d+\.\d s", of_square[-1])
    assert any(re.fullmatch(r"image of cube: step 3 of 3: env A, \d+\.\d s", one) for one in told)
    again = run_volant(*words, home=home)
    assert (again.returncode, again.stdout, again.stderr) == (0, "4 8\n", "")


@pytest.mark.parametrize("words", [["--verbose"], []])
def test_who_asks_for_it_sees_what_steps_print(
    home: Path, registry: Registry, tmp_path: Path, words: list[str]
) -> None:
    """By the option, or by the setting."""
    said = f"echo one {len(words)}"
    env = {} if words else {"VOLANT_VERBOSE": "1"}
    source = program(tmp_path, registry, said, "true")
    run = run_volant("run", *words, source, home=home, env=env)
    assert run.returncode == 0, run.stderr
    told = run.stderr.splitlines()
    at = told.index(f"image of square: step 2 of 2: run {said}")
    assert f"image of square: one {len(words)}" in told[at:]


def test_a_failed_step_is_told_with_the_end_of_what_it_printed(
    home: Path, registry: Registry, tmp_path: Path
) -> None:
    source = program(tmp_path, registry, "echo noise; echo why; false", "true")
    run = run_volant("run", source, home=home)
    assert run.returncode != 0
    before, _, error = run.stderr.partition("error: ")
    assert "why; false, failed after" in before
    assert "\nwhy" not in before
    assert "  why\n" in error


def test_a_quiet_run_tells_nothing_but_what_fails(
    home: Path, registry: Registry, tmp_path: Path
) -> None:
    run = run_volant("run", "-q", program(tmp_path, registry, "echo quiet", "true"), home=home)
    assert (run.returncode, run.stdout, run.stderr) == (0, "4 8\n", "")
    run = run_volant("run", "-q", program(tmp_path, registry, "echo why; false", "true"), home=home)
    assert run.returncode != 0
    assert run.stderr.startswith("error: building image im-")
    assert "  why\n" in run.stderr


def test_on_a_terminal_each_image_stands_in_the_tree(
    home: Path, registry: Registry, tmp_path: Path
) -> None:
    gate = Gate()
    waits = f"echo one; echo two; {gate.command}"
    run = OnTerminal("run", program(tmp_path, registry, waits, "true"), home=home)
    try:
        waiting = gate.wait()
        run.read_until(PICTURE)
        waiting.close()
        code, screen = run.end()
    finally:
        run.kill()
        gate.close()
    assert code == 0
    assert screen[-2:] == ["4 8", ""]
    assert not any("├" in line or "step" in line for line in screen), "the picture is gone"
