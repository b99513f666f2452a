"""Calls: what is accepted, retried, cancelled, failed and finished."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import Bench, dispatched
from volantd.core import (
    CallCancelled,
    CallFinished,
    CancelRunning,
    ExitCause,
    FailInput,
    Fault,
    Flush,
    Limits,
    Loss,
    PoolConfig,
    RetryPolicy,
    StartContainer,
    StopContainer,
    UnknownIdError,
)

ONE = PoolConfig(max_containers=1)
RETRIES = PoolConfig(
    max_containers=1, retries=RetryPolicy(max_retries=2, initial_delay_s=1.0, max_delay_s=1.5)
)


def test_known_inputs_are_ignored_when_submitted_again():
    bench = Bench()
    bench.open("k")
    bench.submit("k", 0, 10)
    bench.submit("k", 10, 10)
    bench.submit("k", 5, 10)
    assert bench.scheduler.call_statistics()[0].submitted == 20
    bench.submit("k", 30, 5)
    bench.submit("k", 18, 20)
    [call] = bench.scheduler.call_statistics()
    assert (call.submitted, call.unfinished) == (38, 38)
    pieces = [(b.first_index, b.count, b.offset) for b in bench.scheduler.state.calls["k"].queue]
    assert pieces == [(0, 10, 0), (10, 10, 0), (30, 5, 0), (20, 10, 2), (35, 3, 17)]


def test_a_finished_input_does_not_run_again_when_submitted_again():
    bench = Bench(containers=1)
    bench.call("k", 1)
    bench.succeed("c1")
    assert bench.submit("k", 0, 1) == []


def test_opening_a_call_again_keeps_it():
    bench = Bench()
    bench.call("k", 1)
    bench.open("k")
    assert bench.scheduler.has_call("k")
    assert bench.scheduler.call_statistics()[0].submitted == 1


def test_unknown_ids_are_named():
    bench = Bench()
    with pytest.raises(UnknownIdError, match="no pool has the id 'q'"):
        bench.open("k", "q")
    with pytest.raises(UnknownIdError, match="no call has the id 'k'"):
        bench.submit("k", 0, 1)
    assert not bench.scheduler.has_pool("q")
    assert bench.scheduler.has_pool("p")


def test_a_call_finishes_once_when_it_is_closed_and_has_all_outcomes():
    bench = Bench(containers=1)
    bench.open("k")
    bench.submit("k", 0, 1)
    assert bench.succeed("c1") == []
    assert bench.close("k", 1) == [CallFinished("k")]
    assert bench.close("k", 1) == []
    assert bench.cancel("k") == []
    assert bench.forget("k") == []
    assert bench.forget("k") == []
    assert not bench.scheduler.has_call("k")


def test_an_empty_call_finishes_when_it_is_closed():
    bench = Bench()
    bench.open("k")
    assert bench.close("k", 0) == [CallFinished("k")]


def test_a_user_failure_is_retried_later_alone_and_delivered_in_the_end():
    bench = Bench(containers=1, exec_us=10, config=RETRIES)
    bench.call("k", 3)
    assert bench.fail("c1") == ("retry", [])
    assert bench.scheduler.statistics()[0].delayed_inputs == 1
    assert bench.succeed("c1", 2) == []
    assert bench.tick(bench.now + 0.9) == []
    assert bench.scheduler.next_wake() == 101.0
    assert dispatched(bench.tick(101.0)) == [("c1", 0, 1)]
    assert bench.fail("c1") == ("retry", [])
    assert dispatched(bench.tick(102.5)) == [("c1", 0, 1)]
    assert bench.fail("c1") == ("deliver", [CallFinished("k")])


def test_a_failure_that_must_not_be_retried_is_delivered():
    bench = Bench(containers=1, config=RETRIES)
    bench.call("k", 1)
    assert bench.fail("c1", retryable=False) == ("deliver", [CallFinished("k")])


def test_the_delay_of_a_retry_has_a_limit():
    """Behaviour 49: it grows from `initial_delay` by the coefficient up to `max_delay`; 0 stays."""
    policy = RetryPolicy(max_retries=5000, max_delay_s=60.0)
    assert [policy.delay_s(attempt) for attempt in (0, 1, 6, 4000)] == [1.0, 2.0, 60.0, 60.0]
    policy = RetryPolicy(
        max_retries=3, initial_delay_s=0.5, backoff_coefficient=3.0, max_delay_s=2.0
    )  # fmt: skip
    assert [policy.delay_s(attempt) for attempt in range(3)] == [0.5, 1.5, 2.0]
    policy = RetryPolicy(max_retries=3, initial_delay_s=0.0)
    assert [policy.delay_s(attempt) for attempt in range(3)] == [0.0, 0.0, 0.0]


def test_late_reports_are_dropped():
    bench = Bench(containers=1)
    scheduler = bench.scheduler
    assert scheduler.succeeded("c1", 99, 1, 10, bench.now) == (False, [])
    assert scheduler.succeeded("unknown", 1, 1, 10, bench.now) == (False, [])
    assert scheduler.failed("c1", 99, True, bench.now) == ("drop", [])
    assert scheduler.failed("unknown", 1, True, bench.now) == ("drop", [])
    assert bench.exit("unknown") == []
    assert bench.start_failed("unknown") == []


def test_cancelling_drops_the_queue_and_interrupts_what_runs():
    bench = Bench(containers=1, config=ONE)
    bench.call("k", 3)
    batch_id = bench.batch_id("c1")
    assert bench.cancel("k") == [CancelRunning("c1", batch_id), CallCancelled("k")]
    assert bench.cancel("k") == []
    assert bench.submit("k", 3, 1) == []
    assert bench.fail("c1") == ("drop", [])
    assert bench.scheduler.statistics()[0].idle == 1


def test_results_of_a_cancelled_call_are_not_delivered():
    bench = Bench(containers=1, config=ONE)
    bench.call("k", 1)
    batch_id = bench.batch_id("c1")
    bench.cancel("k")
    assert bench.scheduler.succeeded("c1", batch_id, 1, 10, bench.now) == (False, [])


def test_a_cancelled_batch_may_come_back():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("k", 5)
    bench.cancel("k")
    assert bench.returned("c1", 4) == []
    assert bench.fail("c1") == ("drop", [])


def test_terminating_kills_the_container_and_spares_its_other_inputs():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("a", 1)
    bench.call("b", 1)
    assert bench.cancel("a", terminate=True) == [
        StopContainer("c1", True, "cancelled"),
        StartContainer("p", "c2"),
        CallCancelled("a"),
    ]
    assert dispatched(bench.ready("c2")) == [("c2", 0, 1)]
    assert bench.holds("c2") == [("b", 0, 1)]


def test_terminating_a_call_that_waits_behind_another_does_not_kill():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("a", 1)
    bench.call("b", 1)
    held = list(bench.outstanding("c1"))
    assert bench.cancel("b", terminate=True) == [CancelRunning("c1", held[1]), CallCancelled("b")]


def test_a_container_that_ignores_a_cancelling_is_killed():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("a", 1)
    bench.call("b", 1)
    bench.call("c", 1)
    bench.cancel("b")
    bench.now += 9.0
    bench.succeed("c1")
    bench.cancel("c")
    assert bench.tick(110.0) == []
    assert bench.tick(119.0) == [StopContainer("c1", True, "cancelled")]
    assert bench.scheduler.statistics()[0].running_inputs == 0


def test_retries_that_wait_are_dropped_with_their_call():
    bench = Bench(containers=1, config=RETRIES)
    bench.call("k", 1)
    bench.fail("c1")
    assert bench.cancel("k") == [CallCancelled("k")]
    assert bench.scheduler.next_wake() == 160.0
    assert bench.scheduler.statistics()[0].delayed_inputs == 0


def test_forgetting_an_unfinished_call_cancels_it_silently():
    bench = Bench(containers=1, config=ONE)
    bench.call("k", 2)
    assert bench.forget("k") == [CancelRunning("c1", bench.batch_id("c1"))]
    assert bench.fail("c1") == ("drop", [])


def test_a_timeout_fails_the_input_and_spares_those_behind_it():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("k", 3)
    bench.now += 299.0
    bench.succeed("c1")
    assert [type(c) for c in bench.tick(400.0)] == [Flush]
    assert bench.tick(699.0) == [
        FailInput("k", 1, 1, Fault.TIMEOUT, 300.0),
        StopContainer("c1", True, "timeout"),
        StartContainer("p", "c2"),
    ]
    assert dispatched(bench.ready("c2")) == [("c2", 2, 1)]
    assert bench.succeed("c2") == [CallFinished("k")]


def test_a_timeout_counts_as_a_user_failure():
    bench = Bench(containers=1, exec_us=10, config=RETRIES)
    bench.call("k", 1)
    commands = bench.tick(400.0)
    assert commands == [StopContainer("c1", True, "timeout")]
    assert bench.tick(401.0) == [StartContainer("p", "c2")]
    [command] = bench.ready("c2")
    assert command.batch.attempt == 1


def test_the_input_that_ran_when_a_container_died_runs_again_alone():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("k", 5)
    bench.call("other", 1)
    bench.succeed("c1", 2)
    assert bench.exit("c1") == [StartContainer("p", "c2")]
    commands = bench.ready("c2")
    assert dispatched(commands) == [("c2", 2, 1), ("c2", 0, 1), ("c2", 3, 2)]
    attempts = [command.batch.platform_attempt for command in commands]
    assert attempts == [1, 0, 0]
    assert commands[2].batch.offset == 3


def test_an_input_that_kills_too_many_containers_is_lost():
    config = PoolConfig(max_containers=1, max_platform_retries=1)
    bench = Bench(containers=1, exec_us=10, config=config)
    bench.call("k", 2)
    bench.exit("c1", ExitCause.OOM)
    bench.ready("c2")
    loss = Loss(ExitCause.OOM, "signal 9", 2)
    commands = bench.exit("c2", ExitCause.OOM)
    assert commands == [FailInput("k", 0, 1, Fault.LOST, loss), StartContainer("p", "c3")]
    assert dispatched(bench.ready("c3")) == [("c3", 1, 1)]


@pytest.mark.parametrize(
    ("causes", "is_lost"),
    [
        ([ExitCause.OOM] * 2, False),
        ([ExitCause.OOM] * 3, True),
        ([ExitCause.OOM] * 2 + [ExitCause.KILLED], False),
        ([ExitCause.KILLED] * 2 + [ExitCause.OOM], True),
        ([ExitCause.DISK_FULL] * 2, False),
        ([ExitCause.OOM] * 2 + [ExitCause.DISK_FULL], True),
        ([ExitCause.KILLED] * 8, False),
        ([ExitCause.KILLED] * 9, True),
    ],
)
def test_an_input_survives_fewer_deaths_for_want_of_memory(causes: list[ExitCause], is_lost: bool):
    bench = Bench(containers=1, config=PoolConfig(max_containers=1, max_exhaustion_retries=2))
    bench.call("k", 1)
    for number, cause in enumerate(causes, 1):
        commands = bench.exit(f"c{number}", cause)
        if number < len(causes):
            bench.ready(f"c{number + 1}")
    lost = FailInput("k", 0, 1, Fault.LOST, Loss(causes[-1], "signal 9", len(causes)))
    assert (lost in commands) is is_lost


def test_a_container_that_was_told_to_stop_takes_no_input_along():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("k", 2)
    bench.exit("c1", ExitCause.STOPPED)
    [command] = bench.ready("c2")
    assert (command.batch.count, command.batch.platform_attempt) == (2, 0)


def test_a_death_does_not_bring_back_a_cancelled_input():
    bench = Bench(containers=1, exec_us=10, config=ONE)
    bench.call("k", 3)
    bench.cancel("k")
    assert bench.exit("c1") == []


def test_inputs_return_to_their_place_in_the_call():
    config = PoolConfig(max_containers=2)
    bench = Bench(containers=2, config=config)
    bench.call("k", 4)
    assert bench.holds("c2") == [("k", 0, 1)]
    assert bench.holds("c1") == [("k", 1, 1)]
    bench.exit("c2", ExitCause.STOPPED)
    bench.exit("c1", ExitCause.STOPPED)
    queue = bench.scheduler.state.calls["k"].queue
    assert [batch.first_index for batch in queue] == [0, 1, 2]


def test_removing_a_pool_fails_its_inputs_and_ends_its_containers():
    bench = Bench(containers=1, exec_us=10_000, config=RETRIES)
    bench.open("k")
    bench.submit("k", 0, 1)
    bench.fail("c1")
    bench.call("run", 4)
    commands = bench.do(bench.scheduler.remove_pool("p", bench.now))
    assert commands[0] == StopContainer("c1", False, "its app was stopped")
    assert commands[1:] == [
        FailInput("run", 0, 2, Fault.STOPPED, None),
        FailInput("run", 2, 2, Fault.STOPPED, None),
        CallFinished("run"),
        FailInput("k", 0, 1, Fault.STOPPED, None),
    ]
    assert bench.submit("k", 1, 1) == [FailInput("k", 1, 1, Fault.STOPPED, None)]
    assert bench.forget("k") == []
    assert bench.exit("c1", ExitCause.STOPPED) == []
    assert bench.scheduler.snapshot() == []


def test_a_container_that_goes_on_after_its_app_was_stopped_is_killed_soon():
    bench = Bench(containers=1)
    bench.call("k", 1)
    bench.do(bench.scheduler.remove_pool("p", bench.now))
    assert bench.tick(bench.now + 0.5) == []
    assert bench.tick(bench.now + 0.5) == [StopContainer("c1", True, "it did not stop in time")]


def test_an_idle_container_of_a_removed_pool_is_killed_at_once():
    bench = Bench(containers=1)
    commands = bench.do(bench.scheduler.remove_pool("p", bench.now))
    assert commands == [StopContainer("c1", True, "its app was stopped")]


def test_removing_a_pool_leaves_a_container_alone_that_stops_already():
    bench = Bench(containers=1)
    bench.tick(160.0)
    assert bench.do(bench.scheduler.remove_pool("p", bench.now)) == []


def test_cancelling_a_call_of_a_removed_pool_is_quiet():
    bench = Bench()
    bench.open("k")
    bench.do(bench.scheduler.remove_pool("p", bench.now))
    assert bench.cancel("k") == [CallCancelled("k")]


def test_a_call_that_is_cancelled_while_two_of_it_run_interrupts_both():
    bench = Bench(containers=2)
    bench.call("k", 2)
    bench.call("other", 1)
    commands = bench.cancel("k")
    assert [type(c) for c in commands] == [CancelRunning, CancelRunning, CallCancelled]
    verdict, commands = bench.fail("c1")
    assert verdict == "drop"
    assert dispatched(commands) == [("c1", 0, 1)]


def test_a_retry_without_delay_runs_at_the_next_tick():
    policy = RetryPolicy(max_retries=1, initial_delay_s=0.0)
    bench = Bench(containers=1, config=PoolConfig(max_containers=1, retries=policy))
    bench.call("k", 1)
    assert bench.fail("c1") == ("retry", [])
    assert bench.scheduler.next_wake() == bench.now
    assert dispatched(bench.tick(bench.now)) == [("c1", 0, 1)]


def test_the_whole_life_works_without_events():
    bench = Bench(containers=1, limits=Limits(events_max=0), config=RETRIES)
    bench.call("k", 2)
    bench.fail("c1")
    bench.tick(bench.now + 1.0)
    bench.tick(bench.now + 300.0)
    bench.ready("c2")
    bench.exit("c2")
    bench.start_failed("c3")
    assert bench.scheduler.drain_events() == []
