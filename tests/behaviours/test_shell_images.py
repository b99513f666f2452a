"""`volant shell` in images that are built: of a registry, of a function, and by their ids."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.programs import at_home, program_file
from tests.support import run_volant, stop_daemon
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.images.registry_server import Registry


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("shells")
    made.chmod(0o700)
    with at_home(made):
        yield made
        stop_daemon(made)


def test_a_shell_in_an_image_of_a_registry(home: Path, registry: Registry) -> None:
    words = (
        "shell",
        "--image",
        f"{registry.host}/python:base",
        "--cmd",
        "ls /usr/lib/base/../base -d",
    )
    run = run_volant(*words, home=home)
    assert (run.returncode, run.stdout) == (0, "/usr/lib/base/../base\n")
    assert "step 1 of 1" in run.stderr or not run.stderr, "what is built is told beside the data"


def test_a_shell_in_an_image_by_its_id(home: Path, registry: Registry, tmp_path: Path) -> None:
    image = volant.Image.from_registry(f"{registry.host}/python:base")
    image = image.run_commands("mkdir /made").env({"OF": "the image"}).workdir("/made/here")
    image_id = image.build().object_id
    assert image_id is not None
    run = run_volant("shell", image_id, "--cmd", "sh -c 'echo $OF; pwd; ls /made'", home=home)
    assert (run.returncode, run.stdout) == (0, "the image\n/made/here\nhere\n"), run.stderr
    (tmp_path / "mine.txt").write_text("mine\n")
    given = ("--add-local", str(tmp_path / "mine.txt"), "--secret-from-env", "HOME")
    words = ("--cmd", "sh -c 'cat /root/mine.txt; echo $HOME'")
    run = run_volant("shell", image_id, *given, *words, home=home)
    assert (run.returncode, run.stdout) == (0, f"mine\n{os.environ['HOME']}\n"), run.stderr


def test_a_shell_of_a_function_in_an_image_without_bash(
    home: Path, registry: Registry, tmp_path: Path
) -> None:
    program = program_file(
        tmp_path,
        f"""
import volant
image = volant.Image.from_registry("{registry.host}/python:base")
app = volant.App("imaged", image=image, secrets=[volant.Secret.from_dict({{"TOKEN": "s3"}})])
@app.function()
def f(): ...
""",
    )
    shell = OnTerminal("shell", program, home=home)
    try:
        shell.read_until(r"[#$] $", within_s=60.0)
        shell.press(b"echo $0/$TOKEN; exit 6\n")
        shell.read_until(r"\r\nsh/s3\r\n")
        assert shell.end()[0] == 6
    finally:
        shell.kill()
