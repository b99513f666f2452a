"""A large array there and back: Volant and a Ray actor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

NEEDS_RAY = True
_SIZE_BYTES = 100_000_000
#: Calls of one turn.
_COUNT = 3


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    ours = bench.contestant("volant_side:Arrays", bench.home(), size_bytes=_SIZE_BYTES)
    ray = bench.ray.driver()
    taken = take_turns(
        {
            "ours": partial(ours.turn, count=_COUNT),
            "ray": partial(ray.turn, what="arrays", count=_COUNT, size_bytes=_SIZE_BYTES),
        },
        bench.pick(7, 3),
    )
    for key, name in (("arrays.call", "call_ms"), ("arrays.read", "read_ms")):
        ours_ms, ray_ms = (
            [ms for turn in taken[side] for ms in turn[name]] for side in ("ours", "ray")
        )
        yield key, Figure(ours=ours_ms, peer=ray_ms)
