"""`volant run` of the smallest example: beside the same script without Volant, and from nothing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from benchmarks.harness.bench import VOLANT, wall_ms
from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench
    from benchmarks.harness.home import Home

_OURS = [VOLANT, "run", "examples/hello.py"]
_PLAIN = [sys.executable, "benchmarks/hello_plain.py"]
_EXPECTED = "7 squared is 49"


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    home = bench.home()
    env = home.environment()
    taken = take_turns(
        {
            "ours": lambda: wall_ms(_OURS, env, _EXPECTED),
            "plain": lambda: wall_ms(_PLAIN, env, _EXPECTED),
        },
        bench.pick(25, 6),
        unmeasured=3,
    )
    yield "hello.warm", Figure(ours=taken["ours"])
    yield "hello.warm_against_python", Figure(ours=taken["ours"], peer=taken["plain"])
    from_nothing = [_from_nothing(home) for _ in range(bench.pick(8, 2))]
    yield "hello.cold", Figure(ours=from_nothing)


def _from_nothing(home: Home) -> float:
    home.stop()
    time.sleep(0.3)  # what the daemon's end still does is no part of the next start
    return wall_ms(_OURS, home.environment(), _EXPECTED)
