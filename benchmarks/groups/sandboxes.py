"""Sandboxes: how soon one answers, alone and among many, what it costs, how fast it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    side = bench.contestant("sandboxes_side:Sandboxes", bench.home())
    for what, count in (("first", (40, 8)), ("exec", (200, 30)), ("stream", (7, 2))):
        figures = side.turn(what=what, count=bench.pick(*count))["figures"]
        yield f"sandboxes.{what}", Figure(ours=figures)
    kept = side.turn(what="snapshots", count=bench.pick(7, 2))
    yield "sandboxes.snapshot", Figure(ours=kept["snapshot"])
    yield "sandboxes.from_snapshot", Figure(ours=kept["from"])
    booted = side.turn(what="gvisor", count=bench.pick(20, 3))["figures"]
    yield "sandboxes.gvisor", Figure(ours=booted)
    taken = [side.turn(what="copies", count=bench.pick(1024, 64)) for _ in range(bench.pick(5, 2))]
    for way in ("in", "out"):
        ours, peer = [one[way] for one in taken], [one["cp"] for one in taken]
        yield f"sandboxes.copy_{way}", Figure(ours=ours, peer=peer)
    bursts = [side.turn(what="burst", count=100)["ms"] for _ in range(bench.pick(3, 1))]
    yield "sandboxes.burst", Figure(ours=bursts)
    yield "sandboxes.idle", Figure(ours=[side.turn(what="idle", count=bench.pick(200, 50))["mb"]])
    side.close()
