"""Warm calls of a no-op, one after the other: Volant, a process pool, a Ray actor."""

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
    count = bench.pick(2_000, 500)
    ours = bench.contestant("volant_side:Calls", bench.home())
    pool = bench.contestant("pool_side:Calls")
    taken = take_turns(
        {
            "ours": partial(ours.turn, count=count),
            "pool": partial(pool.turn, count=count),
            "ray": partial(bench.ray.driver().turn, what="calls", count=count),
        },
        bench.pick(7, 3),
    )
    p50 = {name: [turn["p50_us"] for turn in turns] for name, turns in taken.items()}
    p90 = {name: [turn["p90_us"] for turn in turns] for name, turns in taken.items()}
    yield "calls.p50", Figure(ours=p50["ours"])
    yield "calls.against_ray", Figure(ours=p50["ours"], peer=p50["ray"])
    yield "calls.against_pool", Figure(ours=p50["ours"], peer=p50["pool"])
    yield "calls.p90_against_ray", Figure(ours=p90["ours"], peer=p90["ray"])
    yield "calls.p90_against_pool", Figure(ours=p90["ours"], peer=p90["pool"])
