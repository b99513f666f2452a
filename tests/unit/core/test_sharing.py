"""Containers that run several inputs at the same time."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import Bench, dispatched
from volantd.core import (
    CallFinished,
    CancelRunning,
    Dispatch,
    ExitCause,
    FailInput,
    Fault,
    PoolConfig,
    RetryPolicy,
    StartContainer,
    StopContainer,
)

THREADS = PoolConfig(max_containers=1, max_inputs=3, timeout_s=5.0)
TASKS = PoolConfig(max_containers=1, max_inputs=3, timeout_s=5.0, interruptible=True)


def _stopped(commands):
    return [(c.container_id, c.kill, c.reason) for c in commands if isinstance(c, StopContainer)]


def _started(commands):
    return len([c for c in commands if isinstance(c, StartContainer)])


def _attempts(commands):
    return [
        (c.batch.first_index, c.batch.attempt, c.batch.platform_attempt)
        for c in commands
        if isinstance(c, Dispatch)
    ]


def _interrupted(commands):
    return [c.batch_id for c in commands if isinstance(c, CancelRunning)]


def test_a_container_holds_as_many_inputs_as_it_may_one_by_one():
    bench = Bench(containers=1, exec_us=10, config=THREADS)
    assert dispatched(bench.call("k", 5)) == [("c1", 0, 1), ("c1", 1, 1), ("c1", 2, 1)]
    assert dispatched(bench.succeed("c1")) == [("c1", 3, 1)]
    bench.succeed("c1")
    assert bench.holds("c1") == [("k", 2, 1), ("k", 3, 1), ("k", 4, 1)]
    bench.succeed("c1")
    bench.succeed("c1")
    assert bench.succeed("c1") == [CallFinished("k")]


@pytest.mark.parametrize(
    ("options", "containers"),
    [
        ({"max_inputs": 4}, 3),
        ({"max_inputs": 4, "target_inputs": 2}, 5),
        ({"max_inputs": 4, "target_inputs": 1, "max_containers": 7}, 7),
        ({"max_inputs": 100}, 1),
        ({"max_inputs": 100, "buffer_containers": 1}, 2),
    ],
)
def test_a_container_is_wanted_for_each_target_of_inputs(options, containers):
    bench = Bench(config=PoolConfig(**options), exec_us=10)
    commands = bench.call("k", 10)
    for number in range(1, 30):
        if f"c{number}" in bench.scheduler.state.containers:
            commands += bench.ready(f"c{number}")
    assert len(bench.scheduler.state.containers) == containers
    assert _started(commands) == containers


def test_the_container_that_was_used_last_is_filled_first():
    config = PoolConfig(max_inputs=3, max_containers=2)
    bench = Bench(containers=2, config=config)
    assert dispatched(bench.call("a", 4)) == [
        ("c2", 0, 1), ("c2", 1, 1), ("c2", 2, 1), ("c1", 3, 1),
    ]  # fmt: skip
    bench.succeed("c2")
    assert dispatched(bench.call("b", 1)) == [("c2", 0, 1)]
    bench.succeed("c2")
    bench.succeed("c1")
    assert dispatched(bench.call("c", 1)) == [("c2", 0, 1)]


def test_above_the_target_inputs_come_only_when_no_other_container_is_there():
    config = PoolConfig(max_inputs=3, target_inputs=1, max_containers=2)
    bench = Bench(containers=2, config=config)
    assert dispatched(bench.call("k", 7)) == [
        ("c2", 0, 1), ("c1", 1, 1), ("c1", 2, 1), ("c1", 3, 1), ("c2", 4, 1), ("c2", 5, 1),
    ]  # fmt: skip


def test_above_the_target_another_container_is_started_although_nothing_waits():
    config = PoolConfig(max_inputs=4, target_inputs=2, scaledown_window_s=1.0)
    bench = Bench(containers=1, config=config)
    commands = bench.call("k", 4)
    assert len(dispatched(commands)) == 4
    assert _started(commands) == 1
    bench.ready("c2")
    assert bench.tick(bench.now + 60.0) == []
    bench.succeed("c1")
    bench.succeed("c1")
    assert _stopped(bench.tick(bench.now + 2.0)) == [("c2", False, "idle")]


def test_no_container_of_slow_inputs_is_asked_for_any_back():
    config = PoolConfig(max_inputs=2, max_containers=2)
    bench = Bench(containers=2, config=config)
    bench.call("k", 3)
    assert bench.tick(bench.now + 1.0) == []


def test_an_input_that_takes_too_long_ends_its_container_and_its_neighbours_run_again():
    bench = Bench(containers=1, config=THREADS)
    bench.call("k", 1)
    bench.now += 3.0
    bench.call("other", 2)
    commands = bench.tick(bench.now + 2.0)
    assert FailInput("k", 0, 1, Fault.TIMEOUT, 5.0) in commands
    assert _stopped(commands) == [("c1", True, "timeout")]
    bench.exit("c1", ExitCause.STOPPED)
    assert _attempts(bench.ready("c2")) == [(0, 0, 0), (1, 0, 0)]


def test_the_timeout_counts_from_when_the_input_was_started():
    bench = Bench(containers=1, config=THREADS)
    bench.call("a", 1)
    bench.now += 4.0
    bench.call("b", 1)
    bench.now += 0.5
    bench.succeed("c1")
    assert bench.tick(bench.now + 4.0) == []
    assert FailInput("b", 0, 1, Fault.TIMEOUT, 5.0) in bench.tick(bench.now + 0.6)


def test_an_interruptible_input_that_takes_too_long_is_asked_to_end():
    bench = Bench(containers=1, config=TASKS)
    bench.call("k", 1)
    bench.call("other", 1)
    bench.now += 1.0
    bench.succeed("c1")
    bench.call("third", 1)
    commands = bench.tick(bench.now + 4.0)
    assert commands == [CancelRunning("c1", bench.batch_id("c1"))]
    verdict, commands = bench.fail("c1")
    assert verdict == "drop"
    assert commands == [FailInput("other", 0, 1, Fault.TIMEOUT, 5.0), CallFinished("other")]
    assert bench.holds("c1") == [("third", 0, 1)]


def test_one_that_goes_on_regardless_ends_its_container():
    bench = Bench(containers=1, config=TASKS)
    bench.call("k", 1)
    bench.tick(bench.now + 5.0)
    bench.call("other", 1)
    assert _interrupted(bench.tick(bench.now + 9.0)) == [2]
    commands = bench.tick(bench.now + 1.0)
    assert FailInput("k", 0, 1, Fault.TIMEOUT, 5.0) in commands
    assert _stopped(commands) == [("c1", True, "timeout")]
    bench.exit("c1", ExitCause.STOPPED)
    assert _attempts(bench.ready("c2")) == [(0, 0, 0)]


def test_a_result_that_comes_just_too_late_is_delivered_all_the_same():
    bench = Bench(containers=1, config=TASKS)
    bench.call("k", 1)
    assert _interrupted(bench.tick(bench.now + 5.0)) == [1]
    assert bench.succeed("c1") == [CallFinished("k")]


def test_a_timeout_uses_up_a_retry_and_leaves_those_of_the_neighbours():
    policy = RetryPolicy(max_retries=1, initial_delay_s=0.0)
    config = PoolConfig(max_containers=1, max_inputs=3, timeout_s=5.0, retries=policy)
    bench = Bench(containers=1, config=config)
    bench.call("k", 1)
    bench.now += 1.0
    bench.call("other", 1)
    assert _stopped(bench.tick(bench.now + 4.0)) == [("c1", True, "timeout")]
    bench.tick(bench.now)
    bench.exit("c1", ExitCause.STOPPED)
    assert sorted(_attempts(bench.ready("c2"))) == [(0, 0, 0), (0, 1, 0)]


def test_a_cancelled_input_that_cannot_be_interrupted_ends_its_container():
    bench = Bench(containers=1, config=THREADS)
    bench.call("k", 1)
    bench.call("other", 2)
    assert _stopped(bench.cancel("k")) == [("c1", True, "cancelled")]
    bench.exit("c1", ExitCause.STOPPED)
    assert _attempts(bench.ready("c2")) == [(0, 0, 0), (1, 0, 0)]


def test_a_cancelled_input_that_can_be_interrupted_leaves_its_neighbours():
    bench = Bench(containers=1, config=TASKS)
    bench.call("k", 1)
    bench.call("other", 2)
    commands = bench.cancel("k")
    assert _interrupted(commands) == [1]
    assert not _stopped(commands)
    verdict, _ = bench.fail("c1")
    assert verdict == "drop"
    assert bench.holds("c1") == [("other", 0, 1), ("other", 1, 1)]


def test_to_terminate_ends_the_container_of_any_input():
    bench = Bench(containers=1, config=TASKS)
    bench.call("k", 1)
    assert _stopped(bench.cancel("k", terminate=True)) == [("c1", True, "cancelled")]


def test_an_exception_leaves_the_neighbours():
    bench = Bench(containers=1, config=THREADS)
    bench.call("k", 3)
    verdict, commands = bench.fail("c1")
    assert (verdict, commands) == ("deliver", [])
    assert bench.holds("c1") == [("k", 1, 1), ("k", 2, 1)]


def test_all_inputs_of_a_dead_container_run_again():
    bench = Bench(containers=1, config=THREADS)
    bench.call("k", 3)
    bench.exit("c1")
    assert _attempts(bench.ready("c2")) == [(0, 0, 1), (1, 0, 1), (2, 0, 1)]


def test_a_container_that_gives_back_what_runs_breaks_the_protocol():
    bench = Bench(containers=1, config=THREADS)
    bench.call("k", 2)
    assert _stopped(bench.returned("c1", 1)) == [("c1", True, "it broke the protocol")]
    bench.exit("c1", ExitCause.STOPPED)
    assert _attempts(bench.ready("c2")) == [(0, 0, 1), (1, 0, 1)]


def test_inputs_whose_containers_died_twice_run_without_neighbours():
    """Or one that kills its container would take its neighbours along until all are lost."""
    bench = Bench(containers=1, config=THREADS)
    bench.call("k", 3)
    bench.exit("c1")
    bench.ready("c2")
    bench.exit("c2")
    assert _attempts(bench.ready("c3")) == [(0, 0, 2)]
    assert _attempts(bench.succeed("c3")) == [(1, 0, 2)]
    bench.exit("c3")
    assert _attempts(bench.ready("c4")) == [(1, 0, 3)]
    assert _attempts(bench.succeed("c4")) == [(2, 0, 2)]
    bench.call("other", 1)
    assert bench.holds("c4") == [("k", 2, 1)]


def test_a_suspect_gets_a_container_of_its_own_while_others_are_busy():
    config = PoolConfig(max_inputs=10, max_containers=2)
    bench = Bench(containers=1, config=config)
    bench.call("k", 1)
    for number in (1, 2):
        bench.exit(f"c{number}")
        bench.ready(f"c{number + 1}")
    bench.call("other", 1)
    assert bench.holds("c3") == [("k", 0, 1)]
    bench.ready("c4")
    assert bench.holds("c4") == [("other", 0, 1)]


def test_a_pool_that_waits_for_room_gets_it_from_a_stream_of_inputs_that_never_ends():
    bench = Bench(containers=2, config=PoolConfig(max_inputs=2, max_containers=2))
    bench.do(bench.scheduler.set_capacity(float("inf"), 2, bench.now))
    bench.call("stream", 100)
    bench.do(bench.scheduler.add_pool("q", PoolConfig(), bench.now))
    bench.call("q's", 1, "q")
    stopped = []
    for _ in range(4):
        for container_id in ("c1", "c2"):
            if not stopped:
                stopped = _stopped(bench.succeed(container_id))
    [(_, kill, reason)] = stopped
    assert (kill, reason) == (False, "another function needs the room")


def test_how_many_inputs_run_at_once_cannot_change():
    bench = Bench(containers=1, config=THREADS)
    with pytest.raises(AssertionError):
        bench.scheduler.update_pool_config("p", TASKS.__class__(max_inputs=4), bench.now)
