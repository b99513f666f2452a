"""The first call of a script that was just changed: new version, same image."""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.contestants.changed_side import write_script
from benchmarks.harness.bench import VOLANT, wall_ms
from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

#: Nobody edits, saves and runs faster than this.
_PAUSE_S = 1.0


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    home = bench.home()
    client = bench.contestant("changed_side:Changed", home, directory=str(bench.directory / "a"))
    versions = count()

    def command() -> dict[str, float]:
        version = f"w{next(versions)}"
        script = write_script(bench.directory / "b", version)
        time.sleep(_PAUSE_S)
        argv = [VOLANT, "run", str(script)]
        return {"ms": wall_ms(argv, home.environment(), f"version {version}")}

    taken = take_turns(
        {
            "call": partial(client.turn, pause_s=_PAUSE_S),
            "call_again": partial(client.turn, pause_s=0.0),
            "command": command,
        },
        bench.pick(12, 3),
    )
    for name, turns in taken.items():
        yield f"changed.{name}", Figure(ours=[turn["ms"] for turn in turns])
