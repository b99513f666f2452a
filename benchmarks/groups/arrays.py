"""A large array there and back: Volant and a Ray actor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

_SIZE_BYTES = 100_000_000


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    ray = str(bench.directory / "ray")
    contestants = {
        "ours": bench.contestant("volant_side:Arrays", bench.home(), size_bytes=_SIZE_BYTES),
        "ray": bench.contestant("ray_side:Arrays", directory=ray, size_bytes=_SIZE_BYTES),
    }
    taken = take_turns(
        {name: partial(one.turn, count=3) for name, one in contestants.items()},
        bench.pick(7, 3),
    )
    for key, name in (("arrays.call", "call_ms"), ("arrays.read", "read_ms")):
        ours, peer = ([ms for turn in taken[side] for ms in turn[name]] for side in ("ours", "ray"))
        yield key, Figure(ours=ours, peer=peer)
