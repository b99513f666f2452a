"""A pool whose maximum is lowered, and what a pool says of itself."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.bench import Bench, dispatched
from volantd.core import PoolConfig, StopContainer, lack_of_room, pool_statistics

SURPLUS = "its function has more containers than its maximum"


def _lower(bench, maximum, **changes):
    bench.config = replace(bench.config, max_containers=maximum, **changes)
    return bench.do(bench.scheduler.update_pool_config("p", bench.config, bench.now))


def _stopped(commands):
    return [(c.container_id, c.reason) for c in commands if isinstance(c, StopContainer)]


def test_idle_containers_above_a_lower_maximum_leave_at_once():
    bench = Bench(containers=3)
    assert _stopped(_lower(bench, 1)) == [("c1", SURPLUS), ("c2", SURPLUS)]


def test_busy_containers_above_a_lower_maximum_leave_after_their_input():
    bench = Bench(containers=2, config=PoolConfig(max_containers=2))
    bench.call("k", 10)
    assert _stopped(_lower(bench, 1)) == []
    commands = bench.succeed("c2", 1, 10_000_000)
    assert _stopped(commands) == [("c2", SURPLUS)]
    assert dispatched(commands) == []
    assert dispatched(bench.succeed("c1", 1, 10_000_000)) == [("c1", 2, 1)]


def test_nothing_is_prefetched_by_containers_above_a_lower_maximum():
    bench = Bench(containers=2, exec_us=10)
    bench.call("k", 1)
    bench.call("k2", 1)
    _lower(bench, 1)
    bench.call("k3", 1)
    assert bench.holds("c2") == [("k", 0, 1)]


def test_starts_above_a_lower_maximum_are_given_up_before_anything_that_works():
    bench = Bench(containers=1)
    bench.call("k", 3)
    assert _stopped(_lower(bench, 2)) == [("c3", SURPLUS)]
    assert bench.ready("c3") == []
    assert dispatched(bench.ready("c2")) == [("c2", 1, 1)]


def test_a_shared_container_above_a_lower_maximum_gets_no_more_and_leaves_when_empty():
    bench = Bench(containers=2, config=PoolConfig(max_inputs=2))
    bench.call("k", 3)
    _lower(bench, 1)
    bench.call("k2", 1)
    assert _stopped(bench.succeed("c1")) == [("c1", SURPLUS)]


def test_a_pool_says_what_runs_and_what_could():
    bench = Bench(containers=3, exec_us=10)
    bench.call("k", 1)
    state = bench.scheduler.state
    standing = pool_statistics(state, state.pools["p"])
    assert (standing.begun_inputs, standing.headroom) == (1, 2)


def test_inputs_held_ahead_do_not_run_yet():
    bench = Bench(containers=1, exec_us=10, config=PoolConfig(max_containers=1))
    bench.call("k", 5)
    bench.call("k2", 1)
    state = bench.scheduler.state
    standing = pool_statistics(state, state.pools["p"])
    assert standing.running_inputs == 6
    assert (standing.begun_inputs, standing.headroom) == (1, 0)


def test_a_shared_pool_counts_the_room_in_busy_containers():
    bench = Bench(containers=2, config=PoolConfig(max_inputs=5))
    bench.call("k", 3)
    state = bench.scheduler.state
    standing = pool_statistics(state, state.pools["p"])
    assert (standing.begun_inputs, standing.headroom) == (3, 7)


def test_what_lacks_is_memory_or_the_number_of_containers():
    bench = Bench(config=PoolConfig(memory_bytes=100))
    state = bench.scheduler.state
    bench.do(bench.scheduler.set_capacity(150, 5, bench.now))
    bench.call("k", 1)
    assert lack_of_room(state, state.pools["p"]) is None
    bench.call("k2", 1)
    short = lack_of_room(state, state.pools["p"])
    assert short is not None
    assert short.is_of_memory
    assert (short.memory_bytes, short.memory_free_bytes, short.memory_total_bytes) == (100, 50, 150)
    bench.do(bench.scheduler.set_capacity(1000, 1, bench.now))
    short = lack_of_room(state, state.pools["p"])
    assert short is not None
    assert not short.is_of_memory
    assert (short.containers, short.containers_max) == (1, 1)
