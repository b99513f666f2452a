"""One decision of the core, by how many machines there are, with room and with none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contestants.crowd import Crowd
from benchmarks.contestants.plot import draw
from benchmarks.harness.contestant import ROOT
from benchmarks.harness.figures import Figure, median, percentile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

MACHINES = (1_000, 3_000, 10_000)
PLOT = ROOT / "docs/internals/placement.svg"


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    pools, rounds = bench.pick(100_000, 20_000), bench.pick(6_000, 1_000)
    lines: dict[str, list[float]] = {}
    for name, full in (("room", False), ("full", True)):
        medians = []
        for machines in MACHINES:
            crowd = Crowd(machines, pools, full=full)
            taken = crowd.play(rounds)
            waiting = len(crowd.scheduler.state.waiting)
            note = f"{machines:,} machines, {pools:,} pools, {waiting:,} of them wait"
            medians.append(median(taken))
            p99 = percentile(taken, 0.99)
            lines.setdefault(f"{name}, median", []).append(medians[-1])
            lines.setdefault(f"{name}, p99", []).append(p99)
            yield f"placement.{name}_{machines}", Figure(ours=[medians[-1]], note=note)
            yield f"placement.{name}_{machines}_p99", Figure(ours=[p99], note=note)
            if full:
                exits = Figure(ours=[median(crowd.took_us["exit"])], note=note)
                yield f"placement.exit_{machines}", exits
            del crowd
        yield f"placement.{name}_growth", Figure(ours=[medians[-1] / medians[0]])
    if not bench.quick:
        PLOT.write_text(draw("machines", "us per decision", MACHINES, lines))
