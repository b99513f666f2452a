"""Three shapes of load in virtual time: the core's rules beside Knative's, containers alike."""

from __future__ import annotations

from math import cos, pi
from random import Random
from typing import TYPE_CHECKING

from benchmarks.contestants.scaled import KpaRun, play_volant
from benchmarks.harness.figures import Figure, percentile
from volantd.core import PoolConfig
from volantd.sim.loads.play import Arrival
from volantd.sim.loads.shapes import poisson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contestants.scaled import Outcome
    from benchmarks.harness.bench import Bench
    from volantd.sim.loads.shapes import Rate

CONTAINERS_MAX = 200
RUN_S = 0.5
#: Time for a start: of a fork, of an interpreter with large imports, of a model that is loaded.
START_S = {"": 1.0, "_forked": 0.01, "_slow": 5.0}
#: What is played on after the last input, so that the cost of what is left counts.
AFTER_S = 180.0
DAY_S = 1800.0
#: Shape -> inputs per second at a time, the most of them, and when the last one comes.
SHAPES: dict[str, tuple[Rate, float, float]] = {
    "step": (lambda now: 40.0 if 30.0 <= now < 330.0 else 0.0, 40.0, 330.0),
    "spike": (lambda now: 60.0 if 120.0 <= now < 130.0 else 2.0, 60.0, 420.0),
    "diurnal": (lambda now: 10.0 - 9.5 * cos(2 * pi * now / DAY_S), 20.0, 2 * DAY_S),
}


def load(shape: str, seed: int) -> tuple[list[Arrival], float]:
    """Inputs at random moments, of random run times around `RUN_S`; and when the load is over."""
    rate, rate_max, until = SHAPES[shape]
    rng = Random(f"{shape} {seed}")
    moments = list(poisson(rng, rate, rate_max, until))
    return [Arrival(at, "p", rng.gammavariate(4.0, RUN_S / 4.0)) for at in moments], until + AFTER_S


def figures_of(outcome: Outcome) -> dict[str, float]:
    """What a play is held by."""
    latencies_s = outcome.latencies_s
    return {
        "p50": percentile(latencies_s, 0.5) * 1000, "p99": percentile(latencies_s, 0.99) * 1000,
        "max": max(latencies_s) * 1000, "container_seconds": outcome.container_seconds,
    }  # fmt: skip


def measure(bench: Bench) -> Iterator[tuple[str, Figure]]:
    seeds = range(bench.pick(5, 1))
    for suffix, start_s in START_S.items():
        for shape in SHAPES:
            ours, kpa = [], []
            for seed in seeds:
                arrivals, until = load(shape, seed)
                config = PoolConfig(max_containers=CONTAINERS_MAX)
                ours.append(figures_of(play_volant(arrivals, start_s, until, config)))
                run = KpaRun(arrivals, start_s, CONTAINERS_MAX)
                kpa.append(figures_of(run.play(until)))
            for name in ours[0]:
                yield (
                    f"autoscaling.{shape}{suffix}_{name}",
                    Figure(ours=[one[name] for one in ours], peer=[one[name] for one in kpa]),
                )
