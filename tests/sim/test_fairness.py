"""Who gets the machine when it is full: everybody some, and those who want much the same."""

from __future__ import annotations

from random import Random

import pytest

from volantd.core import PoolConfig
from volantd.sim.loads.play import Arrival, LoadRun
from volantd.sim.loads.shapes import poisson

#: Containers that fit the machine.
ROOM = 12
UNTIL_S = 60.0
STARVED_S = 1.0


def _flood(rng: Random, pool_id: str, run_s: float, times: float = 3.0) -> list[Arrival]:
    """More work than the whole machine could do."""
    rate = times * ROOM / run_s
    return [
        Arrival(at, pool_id, run_s * rng.uniform(0.5, 1.5))
        for at in poisson(rng, lambda _: rate, rate, UNTIL_S)
    ]


def _seconds(run: LoadRun, pool_id: str, since: float) -> float:
    """How long containers of a pool have existed since a time, all together."""
    return sum(
        max(0.0, min(life.gone_at, run.now) - max(life.started_at, since))
        for life in run.lives.values() if life.pool_id == pool_id
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_pools_that_want_all_of_the_machine_share_it(seed: int) -> None:
    """However long their inputs take; each holds its share within one container."""
    rng = Random(seed)
    names = [f"p{number}" for number in range(rng.choice((2, 3, 4)))]
    arrivals = [one for name in names for one in _flood(rng, name, rng.choice((0.05, 0.2, 0.5)))]
    pools = {name: PoolConfig(memory_bytes=1) for name in names}
    run = LoadRun(pools, sorted(arrivals, key=lambda one: one.at), lambda: 0.01,
                  memory_bytes=ROOM).play(UNTIL_S)  # fmt: skip
    share = ROOM / len(names)
    for name in names:
        held = _seconds(run, name, UNTIL_S / 2) / (UNTIL_S / 2)
        assert share - 1.2 < held < share + 1.2, {
            name: _seconds(run, name, UNTIL_S / 2) / (UNTIL_S / 2) for name in names
        }


@pytest.mark.parametrize("seed", range(12))
def test_a_pool_with_little_to_do_is_not_starved_by_one_that_floods(seed: int) -> None:
    """It waits for the time after which it counts as starved, for one input to end, and a start."""
    rng = Random(seed)
    run_s = rng.choice((0.05, 0.3, 0.8))
    flood = _flood(rng, "flood", run_s)
    rare = [Arrival(at, "rare", 0.05) for at in poisson(rng, lambda _: 0.2, 0.2, UNTIL_S - 10.0)]
    arrivals = sorted([*flood, *rare], key=lambda one: one.at)
    pools = {
        "flood": PoolConfig(memory_bytes=1, max_containers=1000),
        "rare": PoolConfig(memory_bytes=1, scaledown_window_s=0.5),
    }
    run = LoadRun(pools, arrivals, lambda: 0.01, memory_bytes=ROOM).play(UNTIL_S)
    waited = [
        run.latencies_s[number] - one.run_s
        for number, one in enumerate(arrivals) if one.pool_id == "rare"
    ]  # fmt: skip
    assert len(waited) == len(rare)
    assert max(waited) < STARVED_S + 1.5 * run_s + 0.2


@pytest.mark.parametrize("seed", range(6))
def test_a_pool_of_large_containers_is_not_starved_by_small_ones(seed: int) -> None:
    """Room for it is saved up, although small ones would fit all the time."""
    rng = Random(seed)
    flood = _flood(rng, "small", 0.2, times=2.0)
    large = [Arrival(at, "large", 0.5) for at in (5.0, 20.0, 40.0)]
    arrivals = sorted([*flood, *large], key=lambda one: one.at)
    pools = {
        "small": PoolConfig(memory_bytes=1, max_containers=1000),
        "large": PoolConfig(memory_bytes=ROOM * 2 // 3, scaledown_window_s=0.5),
    }
    run = LoadRun(pools, arrivals, lambda: 0.01, memory_bytes=ROOM).play(UNTIL_S)
    waited = [run.latencies_s.get(number, UNTIL_S) for number, one in enumerate(arrivals)
              if one.pool_id == "large"]  # fmt: skip
    assert max(waited) < 0.5 + STARVED_S + 0.5


@pytest.mark.parametrize("seed", range(6))
def test_gangs_share_a_machine_that_holds_one_and_a_half_with_plain_containers(seed: int) -> None:
    """Nobody holds a part of a gang, so none waits for another's rest, and none is starved."""
    rng = Random(seed)
    gangs = [
        Arrival(at, name, rng.uniform(0.05, 0.5))
        for name in ("left", "right")
        for at in poisson(rng, lambda _: 0.7, 0.7, UNTIL_S - 15.0)
    ]
    plain = [
        Arrival(at, "plain", rng.uniform(0.05, 0.2))
        for at in poisson(rng, lambda _: 15.0, 15.0, UNTIL_S - 15.0)
    ]
    arrivals = sorted([*gangs, *plain], key=lambda one: one.at)
    gang = PoolConfig(memory_bytes=1, gang_size=ROOM * 2 // 3, scaledown_window_s=0.5)
    pools = {"left": gang, "right": gang, "plain": PoolConfig(memory_bytes=1, max_containers=1000)}
    held: list[float] = []

    def look(run: LoadRun) -> None:
        run.scheduler.check_invariants()
        held.append(run.scheduler.state.fleet.nodes["local"].ledger.booked_bytes)

    run = LoadRun(pools, arrivals, lambda: 0.01, memory_bytes=ROOM, after=look).play(UNTIL_S)
    assert len(run.latencies_s) == len(arrivals)
    assert max(held) <= ROOM
    for name in pools:
        waited = [
            run.latencies_s[number] - one.run_s
            for number, one in enumerate(arrivals) if one.pool_id == name
        ]  # fmt: skip
        assert sorted(waited)[len(waited) * 9 // 10] < 2 * STARVED_S + 1.5, name
