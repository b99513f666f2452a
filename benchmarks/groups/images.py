"""Images that are here: how soon that is known, how soon they run, and what they share."""

from __future__ import annotations

import subprocess
import sys
from time import monotonic_ns
from typing import TYPE_CHECKING

from benchmarks.harness.bench import VOLANT, wall_ms
from benchmarks.harness.contestant import ROOT
from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.harness.bench import Bench

_APP = ROOT / "benchmarks/apps/imaged.py"
_LAYERS_COUNT = 20


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    home = bench.home()
    imported = bench.contestant("images_side:Imported", home)
    env = home.environment()
    wall_ms([VOLANT, "run", str(_APP)], env)  # builds it
    taken = take_turns(
        {
            "cached": lambda: _cached_ms(env),
            "command": lambda: wall_ms([VOLANT, "run", str(_APP)], env),
            "call": lambda: imported.turn()["result_ms"],
            "overlay": _overlay_ms,
        },
        bench.pick(20, 4),
    )
    for name, turns in taken.items():
        yield f"images.{name}", Figure(ours=turns)
    yield "images.added", Figure(ours=[imported.turn(wants="added_mb")["added_mb"]])


def _cached_ms(env: Mapping[str, str]) -> float:
    """From the start of `volant run` to the moment at which its program goes on."""
    begun_ns = monotonic_ns()
    done = subprocess.run(
        [VOLANT, "run", str(_APP)], env=dict(env), cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return (int(done.stdout) - begun_ns) / 1e6


def _overlay_ms() -> float:
    """The mount alone, of layers with a file each, by a process in namespaces of its own."""
    argv = [sys.executable, "-m", "benchmarks.contestants.overlay", str(_LAYERS_COUNT)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)
