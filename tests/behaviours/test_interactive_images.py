"""`volant run -i` with IPython, which draws on the terminal itself, in an image that has it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.image_builds import home_of_images, registry_with_base
from tests.behaviours.programs import program_file
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can build images")

PROGRAM = """
import volant
image = volant.Image.from_registry("{host}/python:base").pip_install("ipython")
app = volant.App("ipython", image=image)
@app.function()
def embed(x):
    with volant.interact():
        import IPython
        IPython.embed(colors="Linux")
    return x + 1
@app.function(env={{"PYTHONBREAKPOINT": "IPython.core.debugger.set_trace"}})
def stop(x):
    volant.interact()
    breakpoint()
    return x + 2
@app.local_entrypoint()
def main(name: str):
    print("got", {{"embed": embed, "stop": stop}}[name].remote(1))
"""
STYLE = r"(\x1b\[[0-9;?]*[a-zA-Z])*"


@pytest.fixture(scope="module")
def program(tmp_path_factory: TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The home of a daemon, and a program with IPython in its image."""
    with (
        registry_with_base() as registry,
        home_of_images(tmp_path_factory, "ipython") as home,
    ):
        directory = tmp_path_factory.mktemp("program")
        yield home, program_file(directory, PROGRAM.format(host=registry.host))


def test_ipython_has_the_terminal_with_its_size_and_colours(program: tuple[Path, Path]) -> None:
    """Issue 3, 7."""
    home, file = program
    run = OnTerminal("run", "-i", file, "--name", "embed", home=home, TERM="xterm-256color")
    try:
        run.read_until(rf"In \[{STYLE}1", within_s=120.0)
        run.resize(44, 111)
        run.press(b"import os; os.get_terminal_size()\r")
        run.read_until(rf"columns={STYLE}111.*lines={STYLE}44")
        run.press(b"1/0\r")
        run.read_until(rf"\x1b\[[0-9;]*[39][0-7]m{STYLE}ZeroDivisionError(.|\n)*In \[{STYLE}3")
        run.press(b"x + 41\r")
        run.read_until(rf"42(.|\n)*In \[{STYLE}4")
        run.press(b"exit\r")
        code, screen = run.end()
    finally:
        run.kill()
    assert (code, re.sub(r"\s+", " ", screen[-2])) == (0, "got 2")


def test_the_debugger_of_ipython_stops_where_it_is_asked(program: tuple[Path, Path]) -> None:
    home, file = program
    run = OnTerminal("run", "-i", file, "--name", "stop", home=home, TERM="xterm-256color")
    try:
        run.read_until(r"ipdb> ", within_s=120.0)
        run.press(b"p x + 70\r")
        run.read_until(r"71(.|\n)*ipdb> ")
        run.press(b"c\r")
        assert run.end()[0] == 0
    finally:
        run.kill()
    assert "got 3" in run.written
