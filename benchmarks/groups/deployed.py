"""A deployed web app: requests that find no container, and load while versions change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench

#: Requests a second while a version takes another's place.
_RATE = 200.0


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    cold = bench.contestant("deployed_side:Deployed", bench.home(), window_s=0.05)
    turns = [cold.turn(what="cold") for _ in range(bench.pick(20, 5))]
    yield "deployed.cold", Figure(ours=[turn["ms"] for turn in turns])
    cold.close()
    loaded = bench.contestant("deployed_side:Deployed", bench.home(), window_s=2.0)
    turns = [
        loaded.turn(what="load", rate=_RATE, for_s=bench.pick(9, 3))
        for _ in range(bench.pick(5, 1))
    ]
    note = "; ".join(dict.fromkeys(why for turn in turns for why in turn["why"]))
    count = sum(turn["requests"] for turn in turns)
    yield (
        "deployed.failed",
        Figure(ours=[sum(turn["failed"] for turn in turns)], note=note or f"of {count} requests"),
    )
    yield "deployed.deploy", Figure(ours=[turn["deploy_s"] * 1e3 for turn in turns])
    yield "deployed.rollback", Figure(ours=[turn["rollback_s"] * 1e3 for turn in turns])
    loaded.close()
