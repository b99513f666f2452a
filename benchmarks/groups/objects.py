"""Dict and Queue, held against Redis that writes each change to the disk before it answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness.figures import Figure
from benchmarks.harness.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.harness.bench import Bench
    from benchmarks.harness.contestant import Contestant


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    home, place = bench.home(), str(bench.directory / "redis")
    ours = bench.contestant("objects_side:Objects", home)
    redis = bench.contestant("redis_side:Objects", directory=place)
    getters = {
        "ours": (ours, bench.contestant("objects_side:Getter", home)),
        "redis": (redis, bench.contestant("redis_side:Getter", directory=place)),
    }
    rounds = bench.pick(7, 3)
    counts = {"dict": bench.pick(1000, 200), "queue": bench.pick(20, 5)}
    turns = {
        what: take_turns(
            {
                name: partial(side.turn, what=what, count=count)
                for name, side in (("ours", ours), ("redis", redis))
            },
            rounds,
        )
        for what, count in counts.items()
    }
    turns["hand_over"] = take_turns(
        {
            name: partial(_hand_over, putter, getter, bench.pick(300, 100))
            for name, (putter, getter) in getters.items()
        },
        rounds,
    )
    taken = {
        f"objects.{what}": {
            name: [turn["rate" if what == "queue" else "p50_us"] for turn in of_side]
            for name, of_side in turns[what].items()
        }
        for what in turns
    }
    for key, sides in taken.items():
        yield key, Figure(ours=sides["ours"])
        yield f"{key}_against_redis", Figure(ours=sides["ours"], peer=sides["redis"])


def _hand_over(putter: Contestant, getter: Contestant, count: int) -> dict[str, float]:
    """Put one value after the other, for which the getter waits."""
    getter.begin(count=count)
    putter.turn(what="hand_over", count=count)
    return getter.finish()
