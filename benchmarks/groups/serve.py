"""A save under `volant serve`, until the changed response is there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contestants.served_side import PROGRAMS
from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

#: Nobody edits and saves faster than this.
_PAUSE_S = 2.0


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    home = bench.home()
    clients = {
        name: bench.contestant(
            "served_side:Served", home, directory=str(bench.directory / name), program=name
        )
        for name in PROGRAMS
    }
    taken = take_turns(
        {name: partial(client.turn, pause_s=_PAUSE_S) for name, client in clients.items()},
        bench.pick(20, 3),
    )
    for name, turns in taken.items():
        yield f"serve.{name}", Figure(ours=[turn["ms"] for turn in turns])
