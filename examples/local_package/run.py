"""A package of your own in an image: what its `pyproject.toml` asks for, and its files.

$ volant run examples/local_package/run.py
planet      moons
--------  -------
Earth           1
Mars            2
Neptune        16
  Earth #
   Mars ##
Neptune ################
"""

import importlib
from pathlib import Path

import volant

# Modules that a program imports by a statement travel by themselves. Those of `formats` are found
# by their names, so they are added. An edit of them builds nothing anew.
image = (
    volant.Image.debian_slim()
    .pip_install_from_pyproject(Path(__file__).parent / "pyproject.toml")
    .add_local_python_source("formats")
)
app = volant.App("local-package", image=image)

MOONS = [("Earth", 1), ("Mars", 2), ("Neptune", 16)]


@app.function()
def show(style: str, rows: list[tuple[str, int]]) -> str:
    shown: str = importlib.import_module(f"formats.{style}").show(rows)
    return shown


@app.local_entrypoint()
def main() -> None:
    for style in ("grid", "bars"):
        print(show.remote(style, MOONS))
