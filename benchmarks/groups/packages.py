"""The layer of an image that has packages, beside uv and a plain environment, of one cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import uv

from benchmarks.harness.bench import wall_ms
from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns
from volantd.images.packages import indexes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.harness.bench import Bench

PACKAGES = ("numpy", "pandas", "fastapi")


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    home = bench.home()
    client = bench.contestant("images_side:Packages", home, packages=PACKAGES)
    plain = bench.directory / "plain"
    cache = home.path / "images/uv/cache"
    taken = take_turns(
        {
            "layer": client.turn,
            "plain": partial(_install, plain, cache),
            "compiled": partial(_install, plain, cache, "--compile-bytecode"),
        },
        bench.pick(12, 3),
    )
    ours = [turn["layer_ms"] for turn in taken["layer"]]
    yield "packages.layer", Figure(ours=ours, peer=taken["plain"])
    yield "packages.compiled", Figure(ours=ours, peer=taken["compiled"])
    unlinked = [turn["own_blocks_mb"] for turn in taken["layer"]]
    yield "packages.own_blocks", Figure(ours=unlinked)


def _install(place: Path, cache: Path, *options: str) -> float:
    """Install into a new environment; only that is timed."""
    shutil.rmtree(place, ignore_errors=True)
    program = uv.find_uv_bin()
    subprocess.run([program, "venv", "--quiet", "--python", sys.executable, place], check=True)
    env = {
        **os.environ,
        **indexes.of_machine().variables(),
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_CACHE_DIR": str(cache),
        "UV_NO_CONFIG": "1",
    }
    argv: Sequence[str] = [program, "pip", "install", "--quiet", "--python", str(place), *options]
    return wall_ms([*argv, *PACKAGES], env)
