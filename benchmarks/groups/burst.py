"""Fifty containers at once, from none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure, concurrency_reached_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    count = bench.pick(50, 10)
    duration_s = bench.pick(5.0, 2.0)
    side = bench.contestant("volant_side:Burst", bench.home(), count=count)
    at_once, started = [], []
    for _ in range(bench.pick(3, 2)):
        turn = side.turn(duration_s=duration_s)
        assert turn["containers"] == count, f"{turn['containers']} containers instead of {count}"
        begun_ns = turn["begun_ns"]
        reached_ns = concurrency_reached_at(count, map(tuple, turn["intervals"]))
        at_once.append(float("inf") if reached_ns is None else (reached_ns - begun_ns) / 1e6)
        started.append((max(turn["imported_ns"]) - begun_ns) / 1e6)
    note = f"{count} containers"
    yield "burst.at_once", Figure(ours=at_once, note=note)
    yield "burst.started", Figure(ours=started, note=note)
