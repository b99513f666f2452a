"""Loads drawn from a seed: of many shapes, some the same for ever, and pools to play them to."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin
from random import Random
from typing import TYPE_CHECKING

from volantd.core import PoolConfig
from volantd.sim.loads.play import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Inputs per second at a time.
    Rate = Callable[[float], float]

#: Inputs of one load, about.
INPUTS_MAX = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a seed stands for."""

    config: PoolConfig
    arrivals: list[Arrival]
    start_s: float
    until: float


def poisson(rng: Random, rate: Rate, rate_max: float, until: float) -> Iterator[float]:
    """Moments at random, as many per second as `rate` says, at most `rate_max`."""
    now = 0.0
    while True:
        now += rng.expovariate(rate_max)
        if now >= until:
            return
        if rng.random() * rate_max < rate(now):
            yield now


def draw(seed: int) -> Drawn:
    """Draws a pool and its load."""
    rng = Random(seed)
    window_s = rng.choice((0.05, 1.0, 5.0, 60.0))
    config = _draw_config(rng, window_s)
    run_s = rng.choice((1e-4, 3e-3, 0.05, 0.5, 3.0))
    varied = rng.random() < 0.5
    recurs = rng.random() < 0.5
    if recurs:
        moments, period_s, until = _recurring(rng, window_s, run_s)
    else:
        moments, until = _random(rng, window_s, run_s)
        period_s = until
    runs = [run_s * (rng.expovariate(1.0) if varied else 1.0) for _ in moments]
    if recurs:
        per_period = max(sum(at < period_s for at in moments), 1)
        runs = [runs[number % per_period] for number in range(len(moments))]
    return Drawn(
        config=config, start_s=rng.choice((0.0, 0.005, 0.3, 5.0)),
        arrivals=[Arrival(at, "p", max(r, 1e-5)) for at, r in zip(moments, runs, strict=True)],
        until=until,
    )  # fmt: skip


def _draw_config(rng: Random, window_s: float) -> PoolConfig:
    low = rng.choice((0, 0, 0, 1, 3))
    max_inputs = rng.choice((1, 1, 1, 2, 10))
    return PoolConfig(
        min_containers=low,
        max_containers=low + rng.choice((1, 3, 20, 200)),
        buffer_containers=rng.choice((0, 0, 1, 3)),
        scaledown_window_s=window_s,
        max_inputs=max_inputs,
        target_inputs=rng.choice((None, rng.randint(1, max_inputs))) if max_inputs > 1 else None,
    )


def _recurring(rng: Random, window_s: float, run_s: float) -> tuple[list[float], float, float]:
    """A load that begins anew within the window: moments, period, end."""
    period_s = window_s * rng.choice((0.02, 0.2, 0.9))
    count = min(rng.choice((1, 2, 10, 60)), max(1, int(40 * period_s / run_s)))
    shape = rng.choice(("even", "bursts", "anyhow"))
    if shape == "even":
        first = [period_s * number / count for number in range(count)]
    elif shape == "bursts":
        first = [0.0] * count
    else:
        first = sorted(rng.random() * period_s for _ in range(count))
    periods = max(int(INPUTS_MAX / count), 8)
    periods = min(periods, max(8, int(10 * window_s / period_s)))
    moments = [period_s * number + at for number in range(periods) for at in first]
    return moments, period_s, period_s * periods


def _random(rng: Random, window_s: float, run_s: float) -> tuple[list[float], float]:
    """A load that is never the same: moments, end."""
    busy = rng.choice((0.3, 2.0, 10.0))
    rate = min(busy / run_s, INPUTS_MAX / window_s / 4)
    until = INPUTS_MAX / rate
    shape = rng.choice(("steady", "waves", "on and off", "steps"))
    wave_s = window_s * rng.choice((0.3, 1.0, 3.0, 20.0))
    steps = [rng.random() for _ in range(50)]
    rates: dict[str, Rate] = {
        "steady": lambda now: rate,
        "waves": lambda now: rate * (1 + sin(2 * pi * now / wave_s)) / 2,
        "on and off": lambda now: rate if now % wave_s < wave_s / 2 else 0.0,
        "steps": lambda now: rate * steps[int(now / wave_s) % len(steps)],
    }
    return list(poisson(rng, rates[shape], rate, until)), until
