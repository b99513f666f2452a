"""The gateway beside nginx, and beside nothing, in front of one uvicorn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure, percentile
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench
    from benchmarks.harness.contestant import Contestant

_CONNECTIONS = (16, 64)
_WEBSOCKETS = 1000
_KEEP_ALIVE = 10_000


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    side = bench.contestant("web_side:Web")
    # First, while the gateway has no memory of its own to use again.
    sockets = bench.pick(_WEBSOCKETS, 100)
    held = side.turn(what="websockets", count=sockets)["mb"]
    yield "web.websockets", Figure(ours=[held], note=f"{sockets} of them")
    kept = bench.pick(_KEEP_ALIVE, 1000)
    held = side.turn(what="keep_alive", count=kept)["mb"]
    yield "web.keep_alive", Figure(ours=[held], note=f"{kept} of them")
    for count in _CONNECTIONS:
        yield f"web.load_{count}", _load(bench, side, count)
    taken = _by(side, bench.pick(9, 3), "p50_ms", what="latency")
    added = [ours - bare for ours, bare in zip(taken["gateway"], taken["direct"], strict=True)]
    yield "web.added_p50", Figure(ours=added, peer=[
        ours - bare for ours, bare in zip(taken["nginx"], taken["direct"], strict=True)
    ])  # fmt: skip
    turns = [side.turn(what="ticks")["late_ms"] for _ in range(bench.pick(3, 1))]
    yield "web.chunk_p50", Figure(ours=[percentile(late, 0.5) for late in turns])
    yield "web.chunk_p99", Figure(ours=[percentile(late, 0.99) for late in turns])
    for what in ("down", "up"):
        moved = _by(side, bench.pick(5, 2), "mb_per_s", what=what)
        yield f"web.{what}", Figure(ours=moved["gateway"], peer=moved["direct"])
        yield f"web.{what}_by_nginx", Figure(ours=moved["gateway"], peer=moved["nginx"])
    side.close()


def _load(bench: Bench, side: Contestant, count: int) -> Figure:
    for_s = bench.pick(3, 1)
    taken = take_turns(
        {
            by: partial(side.turn, what="load", by=by, count=count, for_s=for_s)
            for by in ("gateway", "nginx")
        },
        bench.pick(7, 3),
    )
    rates = {by: [turn["rate"] for turn in turns] for by, turns in taken.items()}
    return Figure(ours=rates["gateway"], peer=rates["nginx"])


def _by(side: Contestant, rounds: int, name: str, **arguments: object) -> dict[str, list[float]]:
    """One figure of the same turn, by way of each."""
    ways = ("gateway", "nginx", "direct")
    taken = take_turns({by: partial(side.turn, by=by, **arguments) for by in ways}, rounds)
    return {by: [turn[name] for turn in turns] for by, turns in taken.items()}
