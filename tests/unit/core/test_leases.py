"""Slots that are lent: they last, are never given ahead, and end with their container."""

from __future__ import annotations

from tests.unit.core.bench import Bench, dispatched
from volantd.core import ExitCause, FailInput, Fault, PoolConfig, StartContainer, StopContainer
from volantd.core.commands import CancelRunning

LEASES = PoolConfig(has_leases=True, max_containers=1, timeout_s=5.0)
SHARED = PoolConfig(has_leases=True, max_containers=1, timeout_s=5.0, max_inputs=2)


def _lease(bench, name):
    bench.scheduler.open_call(name, "p", bench.now, True)
    return bench.submit(name, 0, 1)


def _give_back(bench, container_id):
    [batch_id] = bench.outstanding(container_id)
    name = bench.outstanding(container_id)[batch_id].call_id
    deliver, commands = bench.scheduler.succeeded(container_id, batch_id, 1, 0, bench.now)
    assert deliver
    return bench.do(commands) + bench.forget(name)


def test_a_lease_starts_a_container_and_takes_its_slot():
    bench = Bench(config=LEASES)
    assert _lease(bench, "a") == [StartContainer("p", "c1")]
    assert dispatched(bench.ready("c1")) == [("c1", 0, 1)]


def test_a_slot_is_lent_once_at_a_time_in_order():
    bench = Bench(containers=1, config=LEASES)
    assert dispatched(_lease(bench, "a")) == [("c1", 0, 1)]
    assert _lease(bench, "b") == []
    assert _lease(bench, "c") == []
    assert dispatched(_give_back(bench, "c1")) == [("c1", 0, 1)]
    assert bench.holds("c1") == [("b", 0, 1)]


def test_fast_inputs_are_given_one_at_a_time_where_slots_are_lent():
    bench = Bench(containers=1, config=LEASES)
    bench.call("k", 100)
    for at in range(5):
        assert bench.holds("c1") == [("k", at, 1)]
        bench.succeed("c1", exec_us=10)


def test_a_lease_has_no_timeout_and_its_neighbour_has():
    bench = Bench(containers=1, config=LEASES)
    _lease(bench, "a")
    assert bench.tick(bench.now + 1000.0) == []
    bench = Bench(containers=1, config=SHARED)
    _lease(bench, "a")
    bench.call("k", 1)
    commands = bench.tick(bench.now + 6.0)
    assert [c.fault for c in commands if isinstance(c, FailInput)] == [Fault.TIMEOUT, Fault.LOST]


def test_a_lease_ends_with_its_container_and_is_not_made_elsewhere():
    bench = Bench(containers=1, config=LEASES)
    _lease(bench, "a")
    _lease(bench, "b")
    commands = bench.exit("c1", ExitCause.OOM)
    failed = [c for c in commands if isinstance(c, FailInput)]
    assert [(c.call_id, c.fault, c.detail.cause) for c in failed] == [
        ("a", Fault.LOST, ExitCause.OOM)
    ]
    assert [c for c in commands if isinstance(c, StartContainer)] == [StartContainer("p", "c2")]
    assert dispatched(bench.ready("c2")) == [("c2", 0, 1)]
    assert bench.holds("c2") == [("b", 0, 1)]


def test_all_leases_end_when_their_app_is_stopped():
    bench = Bench(containers=1, config=LEASES)
    _lease(bench, "a")
    _lease(bench, "b")
    commands = bench.do(bench.scheduler.remove_pool("p", bench.now))
    failed = {c.call_id: c.fault for c in commands if isinstance(c, FailInput)}
    assert failed == {"a": Fault.LOST, "b": Fault.STOPPED}


def test_a_lease_that_waits_is_taken_back_without_a_trace():
    bench = Bench(containers=1, config=LEASES)
    _lease(bench, "a")
    _lease(bench, "b")
    assert bench.forget("b") == []
    assert _give_back(bench, "c1") == []


def test_a_container_is_idle_when_its_slot_is_given_back():
    bench = Bench(containers=1, config=LEASES)
    _lease(bench, "a")
    bench.tick(bench.now + 1000.0)
    _give_back(bench, "c1")
    commands = bench.tick(bench.now + LEASES.scaledown_window_s)
    assert commands == [StopContainer("c1", kill=False, reason="idle")]


def test_the_other_slots_of_a_container_are_lent_as_well():
    bench = Bench(containers=1, config=SHARED)
    assert dispatched(_lease(bench, "a")) == [("c1", 0, 1)]
    assert dispatched(_lease(bench, "b")) == [("c1", 0, 1)]
    assert _lease(bench, "c") == []
    assert not [c for c in bench.commands if isinstance(c, CancelRunning)]
