"""No pool flaps, under loads of many shapes; what that means stands in `loads.flapping`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from volantd.core import PoolConfig
from volantd.core.records.recent import RecentPeak
from volantd.sim.loads.flapping import Flapping, watched
from volantd.sim.loads.play import Arrival, LoadRun

KNOWN = Path(__file__).with_name("flapping_seeds.txt")
SEEDS = range(100)
MORE_SEEDS = range(100, 1000)


def _known_seeds() -> list[int]:
    lines = KNOWN.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("seed", [*_known_seeds(), *SEEDS])
def test_no_pool_flaps(seed: int) -> None:
    assert watched(seed, check=seed % 10 == 0)[1].found == []


@pytest.mark.slow
def test_no_pool_flaps_under_a_thousand_loads() -> None:
    """The totals show that they are not tame: pools grow and shrink all the time."""
    starts = soon = 0
    for seed in MORE_SEEDS:
        run, flapping = watched(seed)
        assert flapping.found == [], seed
        starts += len(run.lives)
        soon += flapping.soon
    assert starts > 50_000
    assert soon > 5_000, "no peak was higher than the one before"


def test_what_flaps_is_found() -> None:
    """A pool that is told to let go at once, and told to be patient a moment later, does."""
    flapping = Flapping()
    config = PoolConfig(scaledown_window_s=10.0)
    arrivals = [Arrival(float(at), "p", 0.5) for at in range(4)]
    run = LoadRun({"p": config}, arrivals, lambda: 0.0, watch=flapping.watch, after=flapping.note)
    run.play(1.7)
    [container] = run.scheduler.state.containers.values()
    container.idle_since -= 100.0
    container.timer_due = float("inf")
    run.scheduler.state.arm(container, run.now)
    run._do([])
    run.play(5.0)
    [found] = flapping.found
    assert "container 1 is started at 2.000; one was stopped at 1.700" in found


def test_containers_that_were_started_for_a_backlog_leave_once_and_for_all() -> None:
    """An even load, and starts that take longer than its inputs: one peak, then rest."""
    config = PoolConfig(scaledown_window_s=5.0)
    arrivals = [Arrival(number / 20, "p", 0.1) for number in range(1200)]
    run = LoadRun({"p": config}, arrivals, lambda: 1.0).play(59.9)
    assert max(life.started_at for life in run.lives.values()) < 2.0
    stopped = [life.stopped_at for life in run.lives.values() if life.stopped_at <= run.now]
    assert max(stopped) < 10.0
    assert len(run.lives) - len(stopped) == 3  # two, and one for ends that meet a new input


@pytest.mark.parametrize("seed", range(20))
def test_a_recent_peak_is_what_remembering_everything_gives(seed: int) -> None:
    rng = Random(seed)
    peak, noted, now = RecentPeak(), [(0.0, 0)], 0.0
    peak.note(0, 0.0, 5.0)
    for _ in range(300):
        now += rng.choice((0.0, 0.1, 1.0, 4.0))
        noted.append((now, rng.randrange(6)))
        peak.note(noted[-1][1], now, 5.0)
        assert len(peak._steps) <= 6
        for value in range(7):
            since = max([until for (_, level), (until, _) in pairwise(noted)
                         if level >= value], default=-float("inf"))  # fmt: skip
            if noted[-1][1] >= value:
                assert peak.below_since(value) == float("inf")
            elif since > now - 5.0:
                assert peak.below_since(value) == since
            else:
                assert peak.below_since(value) <= now - 5.0
