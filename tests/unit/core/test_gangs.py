"""Gangs: containers that are one to the rules; all of them start, or none."""

from __future__ import annotations

from tests.unit.core.bench import Bench, dispatched
from volantd.core import (
    CancelRunning,
    ExitCause,
    FailInput,
    Fault,
    Gpu,
    GpuWish,
    PoolConfig,
    RetryPolicy,
    StartContainer,
    StopContainer,
)

FOUR = PoolConfig(gang_size=4, memory_bytes=10)


def starts(commands):
    return [command for command in commands if isinstance(command, StartContainer)]


def stops(commands):
    return [
        (command.container_id, command.kill)
        for command in commands
        if isinstance(command, StopContainer)
    ]


def room(bench, memory_bytes, places, gpus=()):
    return bench.do(bench.scheduler.set_capacity(memory_bytes, places, bench.now, gpus))


def test_an_input_starts_a_gang_as_a_whole():
    bench = Bench(config=FOUR)
    [start] = starts(bench.call("k", 1))
    assert (start.container_id, start.size) == ("c1", 4)
    assert dispatched(bench.ready("c1")) == [("c1", 0, 1)]


def test_a_gang_books_memory_and_places_for_all():
    bench = Bench(config=FOUR)
    room(bench, 79, 7)
    assert [start.container_id for start in starts(bench.call("k", 2))] == ["c1"]
    assert [start.container_id for start in starts(room(bench, 80, 7))] == []
    assert [start.container_id for start in starts(room(bench, 80, 8))] == ["c2"]


def test_a_gang_takes_nothing_while_it_waits_for_the_rest():
    """On a machine for one and a half, two gangs have their turns, and a small one fits beside."""
    bench = Bench(config=FOUR)
    room(bench, 60, 6)
    bench.do(bench.scheduler.add_pool("other", FOUR, bench.now))
    bench.do(bench.scheduler.add_pool("plain", PoolConfig(memory_bytes=10), bench.now))
    assert len(starts(bench.call("k", 1))) == 1
    assert starts(bench.call("l", 1, "other")) == []
    assert bench.scheduler.state.fleet.nodes["local"].ledger.booked_count == 4
    assert [start.pool_id for start in starts(bench.call("m", 1, "plain"))] == ["plain"]
    bench.ready("c1")
    bench.ready("c2")
    assert starts(bench.succeed("c2")) == []
    bench.succeed("c1")
    assert ("c1", False) in stops(bench.commands)  # for the other, which waits
    [start] = starts(bench.exit("c1", ExitCause.STOPPED))
    assert (start.pool_id, start.size) == ("other", 4)


def test_a_gang_that_no_machine_can_hold_fails_at_once():
    bench = Bench(config=FOUR)
    room(bench, 1000, 3)
    [failed] = [one for one in bench.call("k", 1) if isinstance(one, FailInput)]
    assert failed.fault is Fault.START_FAILED
    assert "a cluster of 4 containers of this function requests 40 bytes" in str(failed.detail)


def test_a_gang_gets_one_input_at_a_time():
    bench = Bench(config=PoolConfig(gang_size=2, max_containers=1))
    bench.call("k", 5)
    assert dispatched(bench.ready("c1")) == [("c1", 0, 1)]
    for index in range(1, 5):
        assert dispatched(bench.succeed("c1", exec_us=1)) == [("c1", index, 1)]


def test_a_failure_ends_the_gang_and_the_next_input_gets_another():
    bench = Bench(config=PoolConfig(gang_size=2, max_containers=1))
    bench.call("k", 2)
    bench.ready("c1")
    verdict, commands = bench.fail("c1")
    assert verdict == "deliver"
    assert stops(commands) == [("c1", True)]
    [start] = starts([*commands, *bench.exit("c1", ExitCause.STOPPED)])
    assert dispatched(bench.ready(start.container_id)) == [(start.container_id, 1, 1)]


def test_a_retry_is_run_by_a_gang_of_its_own():
    policy = RetryPolicy(max_retries=1, initial_delay_s=1.0)
    bench = Bench(config=PoolConfig(gang_size=2, retries=policy))
    bench.call("k", 1)
    bench.ready("c1")
    verdict, commands = bench.fail("c1")
    assert verdict == "retry"
    assert stops(commands) == [("c1", True)]
    bench.exit("c1", ExitCause.STOPPED)
    assert [start.container_id for start in starts(bench.tick(bench.now + 1.0))] == ["c2"]
    assert dispatched(bench.ready("c2")) == [("c2", 0, 1)]


def test_a_cancelled_input_ends_in_all_and_the_gang_stays():
    bench = Bench(config=PoolConfig(gang_size=2))
    bench.call("k", 1)
    bench.ready("c1")
    assert any(isinstance(one, CancelRunning) for one in bench.cancel("k"))
    verdict, commands = bench.fail("c1")
    assert (verdict, stops(commands)) == ("drop", [])
    assert dispatched(bench.call("l", 1)) == [("c1", 0, 1)]


def test_a_timeout_kills_the_gang():
    bench = Bench(config=PoolConfig(gang_size=2, timeout_s=5.0))
    bench.call("k", 1)
    bench.ready("c1")
    commands = bench.tick(bench.now + 5.0)
    assert stops(commands) == [("c1", True)]
    assert [one.fault for one in commands if isinstance(one, FailInput)] == [Fault.TIMEOUT]


def test_each_of_a_gang_has_devices_of_its_own():
    gpus = tuple(Gpu(index=n, uuid=f"GPU-{n}", model="H100") for n in range(7))
    bench = Bench(config=PoolConfig(gang_size=3, gpus=(GpuWish("H100", 2),)))
    room(bench, 1000, 100, gpus)
    [start] = starts(bench.call("k", 2))
    assert len(set(start.gpus)) == 6


def test_more_memory_is_for_each_and_no_more_than_the_machine_has():
    policy = RetryPolicy(max_retries=3, initial_delay_s=0.0, memory_multiplier=4.0)
    config = PoolConfig(gang_size=2, memory_bytes=10, memory_limit_bytes=20, retries=policy)
    bench = Bench(config=config)
    room(bench, 100, 10)
    bench.call("k", 1)
    bench.ready("c1")
    bench.exit("c1", ExitCause.OOM)
    bench.tick(bench.now)
    start = starts(bench.commands)[-1]
    assert start.memory_limit_bytes == 50
    assert bench.scheduler.state.pools["p"].need.memory_bytes == 50
