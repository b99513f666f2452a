"""Calls that find no container: with one forked ahead, and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    ahead = bench.contestant("volant_side:Cold", bench.home())
    bare = bench.contestant("volant_side:Cold", bench.home(spare_containers=0))
    taken = take_turns({"": ahead.turn, "_without_spare": bare.turn}, bench.pick(40, 8))
    for figure in ("result", "first_line"):
        for suffix, turns in taken.items():
            yield f"cold.{figure}{suffix}", Figure(ours=[turn[f"{figure}_ms"] for turn in turns])
    yield "cold.fork", Figure(ours=[turn["fork_ms"] for turn in taken["_without_spare"]])
