"""Ordered maps of no-ops as rates: Volant, a process pool, Ray tasks (these with fewer items)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

NEEDS_RAY = True


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    ours = bench.contestant("volant_side:Maps", bench.home())
    pool = bench.contestant("pool_side:Maps")
    counts = {
        "ours": bench.pick(100_000, 20_000),
        "pool": bench.pick(10_000, 2_000),
        "ray": bench.pick(4_000, 1_000),
    }
    taken = take_turns(
        {
            "ours": partial(ours.turn, count=counts["ours"]),
            "pool": partial(pool.turn, count=counts["pool"]),
            "ray": partial(bench.ray.driver().turn, what="maps", count=counts["ray"]),
        },
        bench.pick(5, 3),
        unmeasured=bench.pick(1, 0),
    )
    rates = {name: [turn["rate"] for turn in turns] for name, turns in taken.items()}
    inputs = f"{counts['ours']:,} inputs"
    yield "maps.rate", Figure(ours=rates["ours"], note=inputs)
    for name in ("pool", "ray"):
        note = f"{inputs}, the peer {counts[name]:,}"
        yield f"maps.against_{name}", Figure(ours=rates["ours"], peer=rates[name], note=note)
