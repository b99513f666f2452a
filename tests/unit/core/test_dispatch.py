"""Who gets which input, and how many at once."""

from __future__ import annotations

from tests.unit.core.bench import Bench, dispatched
from volantd.core import CallFinished, Dispatch, Flush, Limits, PoolConfig, Reclaim, StartContainer


def test_the_first_input_starts_a_container_and_runs_when_it_is_ready():
    bench = Bench()
    assert bench.call("k", 1) == [StartContainer("p", "c1")]
    [dispatch] = bench.ready("c1")
    assert isinstance(dispatch, Dispatch)
    batch = dispatch.batch
    assert (batch.call_id, batch.first_index, batch.count) == ("k", 0, 1)
    assert (batch.offset, batch.attempt, batch.platform_attempt) == (0, 0, 0)
    assert batch.payload == "payload of k"
    assert "Batch(1, 'k', 0+1" in repr(batch)
    assert bench.succeed("c1") == [CallFinished("k")]


def test_the_most_recently_used_idle_container_is_taken():
    bench = Bench(containers=3)
    assert dispatched(bench.call("a", 1)) == [("c3", 0, 1)]
    assert dispatched(bench.call("b", 1)) == [("c2", 0, 1)]
    bench.succeed("c3")
    bench.succeed("c2")
    assert dispatched(bench.call("c", 1)) == [("c2", 0, 1)]


def test_inputs_of_unknown_length_spread_one_by_one():
    bench = Bench(containers=2)
    assert dispatched(bench.call("k", 10)) == [("c2", 0, 1), ("c1", 1, 1)]


def test_fast_inputs_stay_together():
    bench = Bench(containers=2, exec_us=10)
    assert dispatched(bench.call("k", 100)) == [("c2", 0, 100)]


def test_a_long_batch_is_shared_between_idle_containers():
    bench = Bench(containers=4, exec_us=1000)
    commands = dispatched(bench.call("k", 40))
    assert commands == [("c4", 0, 10), ("c3", 10, 10), ("c2", 20, 10), ("c1", 30, 10)]


def test_a_batch_is_not_shared_when_there_are_enough_of_them():
    """Two calls, two containers: each gets one batch, though both are long."""
    bench = Bench(containers=2, exec_us=15_000, config=PoolConfig(max_containers=2))
    assert dispatched(bench.call("k", 1)) == [("c2", 0, 1)]
    assert dispatched(bench.call("k2", 4)) == [("c1", 0, 1)]
    assert dispatched(bench.call("k3", 1)) == []
    bench.succeed("c2", 1, 15_000)
    assert bench.holds("c2") == [("k2", 1, 1)]
    bench.succeed("c1", 1, 15_000)
    assert bench.holds("c1") == [("k3", 0, 1)]


def test_slow_inputs_never_come_in_more_than_a_bite():
    bench = Bench(containers=1, exec_us=5000, config=PoolConfig(max_containers=1))
    assert dispatched(bench.call("k", 100)) == [("c1", 0, 4)]


def test_a_busy_container_prefetches_two_batches_of_tiny_inputs():
    bench = Bench(containers=1, exec_us=10, config=PoolConfig(max_containers=1))
    assert dispatched(bench.call("a", 1)) == [("c1", 0, 1)]
    assert dispatched(bench.call("b", 1)) == [("c1", 0, 1)]
    assert dispatched(bench.call("c", 1)) == [("c1", 0, 1)]
    assert dispatched(bench.call("d", 1)) == []
    assert dispatched(bench.succeed("c1", 1, 10)) == [("c1", 0, 1)]


def test_nothing_is_prefetched_behind_slow_or_unknown_inputs():
    for exec_us in (None, 4000):
        bench = Bench(containers=1, exec_us=exec_us, config=PoolConfig(max_containers=1))
        assert dispatched(bench.call("a", 1)) == [("c1", 0, 1)]
        assert dispatched(bench.call("b", 1)) == []


def test_prefetching_waits_until_the_work_in_hand_is_short():
    bench = Bench(containers=1, exec_us=1000, config=PoolConfig(max_containers=1))
    bench.call("a", 10)
    assert dispatched(bench.call("b", 1)) == []
    assert dispatched(bench.succeed("c1", 6, 6000)) == []
    assert dispatched(bench.succeed("c1", 1, 1000)) == [("c1", 0, 1)]


def test_calls_of_a_pool_take_turns():
    bench = Bench(containers=1, exec_us=20_000, config=PoolConfig(max_containers=1))
    bench.call("map", 50)
    bench.call("single", 1)
    order = []
    for _ in range(4):
        order.append(bench.holds("c1")[0][:2])
        bench.succeed("c1", 1, 20_000)
    assert order == [("map", 0), ("map", 1), ("single", 0), ("map", 2)]


def test_a_single_use_container_takes_one_input_and_stops():
    bench = Bench(containers=1, exec_us=None, config=PoolConfig(single_use=True))
    commands = bench.call("k", 3)
    assert dispatched(commands) == [("c1", 0, 1)]
    assert [type(command) for command in commands[1:]] == [StartContainer, StartContainer]
    commands = bench.succeed("c1")
    assert (commands[0].container_id, commands[0].kill) == ("c1", False)
    assert dispatched(commands) == []


def test_a_stalled_container_gives_back_what_it_did_not_start():
    bench = Bench(containers=2, exec_us=10)
    bench.call("k", 50)
    assert bench.holds("c2") == [("k", 0, 50)]
    wake = bench.scheduler.next_wake()
    assert wake == bench.now + 0.03
    batch_id = bench.batch_id("c2")
    assert bench.tick(wake) == [Flush("c2", batch_id), Reclaim("c2", batch_id)]
    assert bench.tick(wake + 0.1) == []
    commands = bench.returned("c2", 49)
    assert dispatched(commands) == [("c1", 1, 49)]
    [batch] = [command.batch for command in commands]
    assert batch.offset == 1
    assert bench.succeed("c2", 1, 200_000) == []
    assert bench.succeed("c1", 49, 490) == [CallFinished("k")]


def test_prefetched_batches_are_reclaimed_as_well_and_keep_their_order():
    bench = Bench(containers=1, exec_us=10, config=PoolConfig(max_containers=2))
    for call_id in ("a", "b", "c"):
        bench.call(call_id, 1)
    commands = bench.tick(bench.now + 0.03)
    held = list(bench.outstanding("c1"))
    assert commands[-2:] == [Reclaim("c1", held[1]), Reclaim("c1", held[2])]
    bench.do(bench.scheduler.returned("c1", held[2], 1, bench.now))
    bench.do(bench.scheduler.returned("c1", held[1], 1, bench.now))
    started = bench.ids_started()
    assert dispatched(bench.ready(started[-1])) == [(started[-1], 0, 1), (started[-1], 0, 1)]
    assert [batch[0] for batch in bench.holds(started[-1])] == ["b", "c"]


def test_nothing_is_reclaimed_while_nobody_else_could_run_it():
    bench = Bench(containers=1, exec_us=10, config=PoolConfig(max_containers=1))
    bench.call("k", 50)
    assert bench.tick(bench.now + 0.03) == [Flush("c1", bench.batch_id("c1"))]
    assert bench.scheduler.next_wake() > bench.now + 1.0


def test_a_stalled_container_is_asked_once_for_what_it_holds_back():
    bench = Bench(containers=1, exec_us=10, config=PoolConfig(max_containers=1))
    bench.call("k", 3)
    assert bench.tick(bench.now + 0.03) == [Flush("c1", bench.batch_id("c1"))]
    assert bench.tick(bench.now + 0.06) == []
    assert bench.succeed("c1", 1, 10) == []
    assert bench.tick(bench.now + 0.03) == [Flush("c1", bench.batch_id("c1"))]
    assert bench.succeed("c1", 1, 10) == []
    assert bench.tick(bench.now + 0.03) == [], "the last input holds nothing back"


def test_a_stalled_container_is_asked_again_when_the_machine_has_room():
    bench = Bench(containers=1, exec_us=10, config=PoolConfig(memory_bytes=10))
    bench.do(bench.scheduler.set_capacity(10, 10, bench.now))
    bench.call("k", 50)
    assert bench.tick(bench.now + 0.03) == [Flush("c1", bench.batch_id("c1"))]
    bench.do(bench.scheduler.set_capacity(20, 10, bench.now))
    assert bench.tick(bench.now + 1.0) == [Reclaim("c1", bench.batch_id("c1"))]


def test_a_container_that_becomes_idle_relieves_a_stalled_one():
    bench = Bench(containers=2, exec_us=10, config=PoolConfig(max_containers=2))
    bench.call("a", 50)
    bench.call("b", 1)
    assert bench.holds("c1") == [("b", 0, 1)]
    assert bench.tick(bench.now + 0.03) == [Flush("c2", bench.batch_id("c2"))]
    assert bench.succeed("c1", 1, 10) == [CallFinished("b"), Reclaim("c2", bench.batch_id("c2"))]


def test_a_late_answer_to_a_reclaim_changes_nothing():
    bench = Bench(containers=2, exec_us=10)
    bench.call("k", 50)
    bench.tick(bench.now + 0.03)
    batch_id = bench.batch_id("c2")
    assert bench.returned("c2", 0) == []
    bench.succeed("c2", 50, 500)
    assert bench.do(bench.scheduler.returned("c2", batch_id, 3, bench.now)) == []
    assert bench.do(bench.scheduler.returned("unknown", 1, 3, bench.now)) == []


def test_a_batch_that_comes_back_whole_goes_to_somebody_else_first():
    bench = Bench(containers=2, exec_us=10)
    bench.call("k", 50)
    bench.tick(bench.now + 0.03)
    assert dispatched(bench.returned("c2", 50)) == [("c1", 0, 50)]
    assert bench.holds("c2") == []


def test_a_container_that_reports_more_than_it_holds_is_killed():
    bench = Bench(containers=1, exec_us=10)
    bench.call("k", 2)
    batch_id = bench.batch_id("c1")
    deliver, commands = bench.scheduler.succeeded("c1", batch_id, 3, 10, bench.now)
    bench.do(commands)
    assert not deliver
    assert (commands[0].container_id, commands[0].kill) == ("c1", True)
    assert bench.scheduler.statistics()[0].queued_inputs == 2


def test_a_container_that_returns_more_than_it_holds_is_killed():
    bench = Bench(containers=1, exec_us=10)
    bench.call("k", 2)
    commands = bench.returned("c1", 3)
    assert (commands[0].container_id, commands[0].kill) == ("c1", True)


def test_events_can_be_switched_off():
    bench = Bench(containers=1, limits=Limits(events_max=0))
    bench.call("k", 1)
    bench.succeed("c1")
    assert bench.scheduler.drain_events() == []


def test_events_tell_the_life_of_a_call():
    bench = Bench(containers=1)
    bench.scheduler.drain_events()
    bench.call("k", 1)
    bench.succeed("c1")
    assert [event[1] for event in bench.scheduler.drain_events()] == [
        "opened",
        "submitted",
        "dispatched",
        "succeeded",
    ]
    assert bench.scheduler.drain_events() == []
