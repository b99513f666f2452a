"""How many containers there are, and who gets the machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.core.bench import Bench, dispatched
from volantd.core import (
    CallFinished,
    ContainerState,
    ExitCause,
    FailInput,
    Fault,
    Limits,
    PoolConfig,
    StartContainer,
    StopContainer,
)

INFINITY = float("inf")


def _stopped(commands):
    return [(c.container_id, c.reason) for c in commands if isinstance(c, StopContainer)]


def _started(commands):
    return [c.container_id for c in commands if isinstance(c, StartContainer)]


def _add(bench, pool_id, **config):
    return bench.do(bench.scheduler.add_pool(pool_id, PoolConfig(**config), bench.now))


def _capacity(bench, memory_bytes, containers=INFINITY):
    return bench.do(bench.scheduler.set_capacity(memory_bytes, containers, bench.now))


def test_the_minimum_starts_at_once_and_stays():
    bench = Bench(containers=2, config=PoolConfig(min_containers=2))
    assert bench.tick(bench.now + 1000.0) == []
    assert bench.scheduler.next_wake() is None
    assert bench.exit("c1") == []
    assert _started(bench.tick(bench.now + 0.1)) == ["c3"]


def test_starts_in_flight_are_limited_and_go_on_as_containers_get_ready():
    bench = Bench()
    assert len(_started(bench.call("k", 20))) == 8
    commands = bench.ready("c1")
    assert dispatched(commands) == [("c1", 0, 1)]
    assert _started(commands) == ["c9"]


def test_as_many_start_at_once_as_work_already():
    bench = Bench(containers=8)
    assert len(_started(bench.call("k", 100))) == 8
    for number in range(9, 17):
        bench.ready(f"c{number}")
    assert bench.scheduler.statistics()[0].starting == 16


def test_no_more_are_started_when_the_queue_is_drained_meanwhile():
    bench = Bench()
    bench.call("k", 9)
    bench.ready("c1")
    bench.succeed("c1", 1, 10)
    bench.succeed("c1", 8, 80)
    for number in range(2, 9):
        assert bench.ready(f"c{number}") == []


def test_a_backlog_of_tiny_inputs_starts_few_containers():
    bench = Bench(containers=1, exec_us=10)
    bench.call("k", 1)
    bench.call("k2", 1)
    bench.call("k3", 1)
    assert bench.ids_started() == []
    bench.call("k4", 1)
    assert bench.ids_started() == ["c2"]


def test_the_pool_never_exceeds_its_maximum():
    bench = Bench(config=PoolConfig(max_containers=3))
    assert len(_started(bench.call("k", 20))) == 3


def test_idle_containers_leave_after_their_window_the_longest_idle_first():
    bench = Bench(containers=2)
    bench.now += 30.0
    bench.call("k", 1)
    bench.succeed("c2")
    assert _stopped(bench.tick(160.0)) == [("c1", "idle")]
    assert bench.exit("c1", ExitCause.STOPPED) == []
    assert _stopped(bench.tick(189.0)) == []
    assert _stopped(bench.tick(190.0)) == [("c2", "idle")]
    assert [c.state for c in bench.scheduler.snapshot()] == [ContainerState.STOPPING]
    assert bench.ready("c2") == []
    bench.exit("c2", ExitCause.STOPPED)
    assert bench.scheduler.next_wake() is None


def test_a_container_with_commands_is_not_idle_until_the_last_has_ended():
    bench = Bench(containers=2)
    bench.commands_run("c1", 1)
    bench.commands_run("c1", 2)
    assert _stopped(bench.tick(200.0)) == [("c2", "idle")]
    bench.exit("c2", ExitCause.STOPPED)
    assert bench.scheduler.next_wake() is None
    bench.now = 500.0
    bench.commands_run("c1", 1)
    assert _stopped(bench.tick(1000.0)) == []
    bench.commands_run("c1", 0)
    assert _stopped(bench.tick(1059.0)) == []
    assert _stopped(bench.tick(1060.0)) == [("c1", "idle")]


def test_a_container_with_commands_takes_inputs_all_the_same():
    bench = Bench(containers=1)
    bench.commands_run("c1", 1)
    assert dispatched(bench.call("k", 1)) == [("c1", 0, 1)]
    bench.succeed("c1")
    assert _stopped(bench.tick(1000.0)) == []


def test_a_container_with_commands_gives_no_other_function_room_until_they_end():
    bench = Bench(containers=1)
    _capacity(bench, INFINITY, 1)
    _add(bench, "q")
    bench.commands_run("c1", 1)
    assert _stopped(bench.call("k", 1, "q")) == []
    assert _stopped(bench.tick(bench.now + 10.0)) == []
    assert _stopped(bench.commands_run("c1", 0)) == [("c1", "another function needs the room")]


def test_a_container_with_commands_ends_with_its_app():
    bench = Bench(containers=1)
    bench.commands_run("c1", 1)
    removed = bench.do(bench.scheduler.remove_pool("p", bench.now))
    assert _stopped(removed) == [("c1", "its app was stopped")]
    assert bench.commands_run("c1", 0) == []
    bench.exit("c1", ExitCause.STOPPED)
    assert bench.commands_run("c1", 0) == [], "late news change nothing"


def test_a_buffer_is_kept_while_the_pool_is_active_and_for_the_window_after():
    config = PoolConfig(buffer_containers=2, scaledown_window_s=5.0)
    bench = Bench(containers=1, config=config)
    assert len(_started(bench.call("k", 1))) == 2
    bench.ready("c2")
    bench.ready("c3")
    assert _stopped(bench.tick(bench.now + 100.0)) == []
    assert _stopped(bench.succeed("c1")) == []
    assert _stopped(bench.tick(bench.now + 4.9)) == []
    assert _stopped(bench.tick(bench.now + 0.1)) == [
        ("c2", "idle"), ("c3", "idle"), ("c1", "idle"),
    ]  # fmt: skip


def test_what_the_target_asked_for_stays_for_the_window_after():
    config = PoolConfig(max_inputs=10, target_inputs=2, scaledown_window_s=5.0)
    bench = Bench(containers=1, config=config)
    bench.call("k", 4)
    bench.ready("c2")
    bench.now += 100.0
    bench.succeed("c1")
    bench.succeed("c1")
    assert _stopped(bench.tick(bench.now + 4.9)) == []
    assert _stopped(bench.tick(bench.now + 0.1)) == [("c2", "idle")]


def test_a_smaller_minimum_lets_containers_go():
    bench = Bench(containers=2, config=PoolConfig(min_containers=2, scaledown_window_s=1.0))
    bench.now += 10.0
    config = PoolConfig(min_containers=1, scaledown_window_s=1.0)
    commands = bench.do(bench.scheduler.update_pool_config("p", config, bench.now))
    assert _stopped(commands) == [("c1", "idle")]


def test_a_shorter_timeout_holds_for_what_runs():
    bench = Bench(containers=1, config=PoolConfig(max_containers=1))
    bench.call("k", 1)
    config = PoolConfig(max_containers=1, timeout_s=1.0)
    bench.now += 0.5
    bench.do(bench.scheduler.update_pool_config("p", config, bench.now))
    assert bench.scheduler.next_wake() == 101.0


def test_a_container_that_does_not_stop_is_killed():
    bench = Bench(containers=1)
    assert bench.tick(160.0) == [StopContainer("c1", False, "idle")]
    assert bench.scheduler.next_wake() == 190.0
    assert bench.tick(190.0) == [StopContainer("c1", True, "it did not stop in time")]
    assert bench.scheduler.next_wake() is None


def test_a_container_nobody_knows_is_stopped():
    bench = Bench()
    assert bench.ready("x") == [StopContainer("x", True, "unknown container")]


# Starts that fail


def test_code_that_does_not_load_fails_all_waiting_inputs_at_once():
    bench = Bench(config=PoolConfig(min_containers=1))
    bench.call("k", 3)
    bench.call("k2", 1)
    for container_id in [c.container_id for c in bench.scheduler.snapshot()][1:]:
        bench.exit(container_id, ExitCause.STOPPED)
    first = bench.scheduler.snapshot()[0].container_id
    bench.commands.clear()
    commands = bench.start_failed(first, retryable=False)
    failed = [(c.call_id, c.first_index, c.count) for c in commands if isinstance(c, FailInput)]
    assert failed == [("k", 0, 3), ("k2", 0, 1)]
    assert {c.detail for c in commands if isinstance(c, FailInput)} == {"why"}
    assert _started(commands) == []
    assert bench.scheduler.statistics()[0].starting == 0
    bench.tick(bench.now + 60.0)
    assert bench.ids_started() == []
    assert _started(bench.call("k3", 1)) != []


def test_retries_that_wait_fail_with_the_code_that_does_not_load():
    bench = Bench(containers=1, config=replace(PoolConfig(), timeout_s=5.0))
    retry = replace(PoolConfig().retries, max_retries=1, initial_delay_s=1.0)
    config = replace(PoolConfig(), retries=retry)
    bench.do(bench.scheduler.update_pool_config("p", config, bench.now))
    bench.call("k", 1)
    bench.fail("c1")
    bench.call("k2", 2)
    bench.exit("c1", ExitCause.STOPPED)
    [first, *others] = [c.container_id for c in bench.scheduler.snapshot()]
    for container_id in others:
        bench.exit(container_id, ExitCause.STOPPED)
    failed = [c.call_id for c in bench.commands if isinstance(c, FailInput)]
    assert not failed
    bench.start_failed(first, retryable=False)
    failed = [c.call_id for c in bench.commands if isinstance(c, FailInput)]
    assert failed == ["k2", "k2", "k"]


def test_a_failed_start_is_tried_again_after_a_pause_that_grows():
    bench = Bench()
    bench.call("k", 1)
    waits = []
    for number in range(1, 5):
        assert bench.start_failed(f"c{number}") == []
        wake = bench.scheduler.next_wake()
        waits.append(round(wake - bench.now, 6))
        assert _started(bench.tick(wake)) == [f"c{number + 1}"]
    assert waits == [0.1, 0.2, 0.4, 0.8]
    commands = bench.start_failed("c5")
    assert commands == [FailInput("k", 0, 1, Fault.START_FAILED, "why"), CallFinished("k")]


def test_starts_that_were_under_way_together_fail_as_one():
    bench = Bench()
    bench.call("k", 8)
    for number in range(1, 9):
        assert bench.start_failed(f"c{number}") == []
    assert bench.scheduler.statistics()[0].start_failures == 1


def test_a_container_that_works_shows_that_starting_is_possible():
    bench = Bench()
    bench.call("k", 3)
    bench.ready("c1")
    assert bench.start_failed("c2", retryable=False) == []
    assert bench.scheduler.statistics()[0].queued_inputs == 2


def test_a_start_that_takes_too_long_is_killed_and_tried_again():
    bench = Bench(config=PoolConfig(startup_timeout_s=5.0))
    bench.call("k", 1)
    assert bench.tick(104.0) == []
    assert bench.tick(105.0) == [StopContainer("c1", True, "it did not start in time")]
    assert _started(bench.tick(105.1)) == ["c2"]
    assert bench.start_failed("c1") == []


def test_a_container_that_dies_before_its_first_input_counts_as_a_failed_start():
    bench = Bench(containers=1, config=PoolConfig(min_containers=1))
    assert bench.exit("c1", ExitCause.CLEAN) == []
    assert bench.scheduler.statistics()[0].start_failures == 1


# The machine


def test_the_ledger_is_never_exceeded_and_a_release_serves_the_next():
    bench = Bench(config=PoolConfig(memory_bytes=40))
    _capacity(bench, 100)
    assert len(_started(bench.call("k", 5))) == 2
    assert bench.scheduler.statistics()[0].waits_for_room
    bench.ready("c1")
    bench.ready("c2")
    assert _started(bench.exit("c2", ExitCause.STOPPED)) == ["c3"]


def test_pools_that_wait_take_turns():
    bench = Bench(config=PoolConfig(memory_bytes=1))
    _add(bench, "q", memory_bytes=1)
    _capacity(bench, INFINITY, 1)
    bench.call("k", 3)
    bench.call("l", 3, "q")
    order = []
    for _ in range(6):
        [running] = bench.scheduler.snapshot()
        order.append(running.pool_id)
        bench.ready(running.container_id)
        bench.exit(running.container_id, ExitCause.STOPPED)
        bench.now += 1.0
    assert order[1:] == ["p", "q", "p", "q", "p"]


def test_an_idle_container_leaves_for_a_pool_that_waits():
    bench = Bench(containers=1, config=PoolConfig(memory_bytes=1))
    _capacity(bench, INFINITY, 1)
    _add(bench, "q", memory_bytes=1)
    commands = bench.call("l", 1, "q")
    assert _stopped(commands) == [("c1", "another function needs the room")]
    assert _started(bench.exit("c1", ExitCause.STOPPED)) == ["c2"]


def test_no_more_idle_containers_leave_than_are_needed():
    bench = Bench(containers=3, config=PoolConfig(memory_bytes=10))
    _capacity(bench, 30)
    _add(bench, "q", memory_bytes=15)
    commands = bench.call("l", 1, "q")
    assert [container_id for container_id, _ in _stopped(commands)] == ["c1", "c2"]
    assert bench.call("l2", 1, "q") == []


def test_idle_containers_stay_when_their_leaving_would_not_help():
    bench = Bench(containers=1, config=PoolConfig(memory_bytes=10))
    _add(bench, "q", memory_bytes=90)
    _add(bench, "r", memory_bytes=85)
    _capacity(bench, 100)
    bench.call("l", 1, "q")
    assert _stopped(bench.call("m", 1, "r")) == []


def test_containers_without_memory_do_not_leave_for_want_of_memory():
    bench = Bench(containers=1, config=PoolConfig(memory_bytes=0))
    _add(bench, "q", memory_bytes=90)
    _add(bench, "r", memory_bytes=20)
    _capacity(bench, 100)
    bench.call("l", 1, "q")
    assert _stopped(bench.call("m", 1, "r")) == []
    bench.call("k", 1)
    bench.now += 2.0
    assert _stopped(bench.succeed("c1")) == []


def test_a_busy_pool_yields_its_surplus_between_two_inputs():
    bench = Bench(containers=3, exec_us=50_000, config=PoolConfig(memory_bytes=1))
    _capacity(bench, INFINITY, 3)
    _add(bench, "q", memory_bytes=1)
    bench.call("k", 9)
    bench.call("l", 9, "q")
    assert _stopped(bench.succeed("c3", 1, 50_000)) == [("c3", "another function needs the room")]
    assert _started(bench.exit("c3", ExitCause.STOPPED)) == ["c4"]
    assert _stopped(bench.succeed("c2", 1, 50_000)) == []


def test_a_starved_pool_gets_a_container_from_any_other():
    bench = Bench(containers=1, exec_us=50_000, config=PoolConfig(min_containers=1))
    _capacity(bench, INFINITY, 1)
    _add(bench, "q")
    bench.call("k", 9)
    bench.call("l", 9, "q")
    assert _stopped(bench.succeed("c1", 1, 50_000)) == []
    assert bench.scheduler.next_wake() == 100.03
    bench.now += 1.0
    assert _stopped(bench.succeed("c1", 1, 50_000)) == [("c1", "another function needs the room")]


def test_a_starved_pool_gets_an_idle_container_of_the_minimum():
    bench = Bench(containers=1, config=PoolConfig(min_containers=1))
    _capacity(bench, INFINITY, 1)
    _add(bench, "q")
    assert _stopped(bench.call("l", 1, "q")) == []
    assert bench.scheduler.next_wake() == 101.0
    assert _stopped(bench.tick(101.0)) == [("c1", "another function needs the room")]


def test_nothing_is_prefetched_while_somebody_waits_for_the_room():
    config = PoolConfig(max_containers=2)
    bench = Bench(containers=2, exec_us=10, config=config)
    _capacity(bench, INFINITY, 2)
    _add(bench, "q")
    bench.call("a", 2)
    bench.call("b", 1)
    bench.call("l", 1, "q")
    assert dispatched(bench.call("c", 1)) == []
    assert dispatched(bench.succeed("c2")) == []


def test_a_small_pool_passes_a_large_one_once():
    bench = Bench(containers=1, config=PoolConfig(memory_bytes=50))
    _capacity(bench, 100)
    bench.call("k", 1)
    _add(bench, "large", memory_bytes=100)
    _add(bench, "small", memory_bytes=10)
    assert _started(bench.call("l", 1, "large")) == []
    assert _started(bench.call("m", 3, "small")) == ["c2"]
    bench.ready("c2")
    bench.exit("c2", ExitCause.STOPPED)
    assert bench.scheduler.statistics()[2].waits_for_room
    assert _started(bench.exit("c1", ExitCause.STOPPED)) == ["c3"]


def test_a_request_beyond_the_machine_fails_its_inputs():
    bench = Bench(config=PoolConfig(memory_bytes=200))
    _capacity(bench, 100)
    [command, _] = bench.call("k", 1)
    assert command.fault is Fault.START_FAILED
    assert "requests 200 bytes" in str(command.detail)
    assert len(_started(_capacity(bench, 300))) == 0
    assert _started(bench.call("k2", 1)) == ["c1"]


def test_a_pool_keeps_its_containers_when_the_machine_shrinks():
    bench = Bench(containers=1, exec_us=50_000, config=PoolConfig(memory_bytes=200))
    _capacity(bench, 100)
    assert dispatched(bench.call("k", 9)) == [("c1", 0, 1)]
    assert not bench.scheduler.statistics()[0].waits_for_room
    assert dispatched(bench.succeed("c1", 1, 50_000)) == [("c1", 1, 1)]


def test_the_pool_that_leaves_the_line_serves_the_next():
    bench = Bench(containers=1, config=PoolConfig(min_containers=1))
    _capacity(bench, INFINITY, 1)
    _add(bench, "q")
    _add(bench, "r")
    bench.call("l", 1, "q")
    bench.now += 0.5
    bench.call("m", 1, "r")
    bench.do(bench.scheduler.remove_pool("q", bench.now))
    assert _stopped(bench.tick(101.5)) == [("c1", "another function needs the room")]
    assert _started(bench.exit("c1", ExitCause.STOPPED)) == ["c2"]


@pytest.mark.parametrize("field", ["max_containers", "timeout_s", "startup_timeout_s"])
def test_an_impossible_configuration_is_refused(field):
    with pytest.raises(AssertionError):
        PoolConfig(**{field: 0})


def test_limits_can_be_given():
    bench = Bench(limits=Limits(starts_in_flight_max=2))
    assert len(_started(bench.call("k", 9))) == 2


def test_a_removed_pools_container_that_leaves_serves_the_next():
    bench = Bench(containers=1, config=PoolConfig(memory_bytes=1))
    _capacity(bench, INFINITY, 1)
    bench.call("k", 1)
    _add(bench, "q", memory_bytes=1)
    bench.call("l", 1, "q")
    bench.do(bench.scheduler.remove_pool("p", bench.now))
    assert bench.tick(bench.now + 0.5) == []
    assert _started(bench.exit("c1", ExitCause.STOPPED)) == ["c2"]


def test_a_start_is_left_alone_until_its_time_is_over():
    bench = Bench(config=PoolConfig(startup_timeout_s=50.0))
    bench.call("k", 1)
    config = PoolConfig(startup_timeout_s=80.0)
    bench.do(bench.scheduler.update_pool_config("p", config, bench.now))
    assert bench.tick(150.0) == []
    assert bench.scheduler.next_wake() == 180.0


def test_a_polite_stop_is_left_alone_until_its_time_is_over():
    bench = Bench(containers=1, config=PoolConfig(memory_bytes=1))
    _capacity(bench, INFINITY, 1)
    bench.now = 140.0
    _add(bench, "q", memory_bytes=1)
    assert _stopped(bench.call("l", 1, "q")) != []
    assert bench.tick(160.0) == []
    assert bench.tick(170.0) == [StopContainer("c1", True, "it did not stop in time")]


def test_a_single_use_pool_gives_one_input_of_a_batch_to_each():
    bench = Bench(containers=2, exec_us=10, config=PoolConfig(single_use=True))
    assert dispatched(bench.call("k", 5)) == [("c2", 0, 1), ("c1", 1, 1)]
