"""Containers that give way to those of a new version, a few at a time or all at once."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import Bench, dispatched
from volantd.core import ExitCause, PoolConfig, Reclaim, StopContainer

REPLACED = "a new version takes its place"
LATER = "it takes no more inputs"


def _renew(bench, *, at_once=False):
    bench.commands.clear()
    return bench.do(bench.scheduler.renew_pool("p", at_once, bench.now))


def _stopped(commands):
    return [(c.container_id, c.reason) for c in commands if isinstance(c, StopContainer)]


def test_a_pool_without_containers_has_nothing_to_renew():
    bench = Bench()
    assert _renew(bench) == []
    bench.call("k", 1)
    assert bench.ids_started() == ["c1"]


def test_old_containers_work_until_the_first_new_one_is_ready():
    bench = Bench(containers=2)
    assert _stopped(_renew(bench)) == []
    assert bench.ids_started() == ["c3"]
    assert dispatched(bench.call("k", 1)) == [("c2", 0, 1)]
    assert _stopped(bench.ready("c3")) == [("c1", REPLACED)]
    assert dispatched(bench.call("k2", 1)) == [("c3", 0, 1)]
    assert _stopped(bench.succeed("c2")) == [("c2", LATER)]


def test_a_busy_old_container_gets_no_second_input_once_it_is_replaced():
    bench = Bench(containers=1, exec_us=10)
    bench.call("k", 1)
    _renew(bench)
    bench.call("k2", 3)
    bench.ready("c2")
    assert bench.holds("c1")[0] == ("k", 0, 1)
    assert all(container_id != "c1" for container_id, *_ in dispatched(bench.call("k3", 1)))


def test_what_is_starting_is_of_the_old_version_and_stops():
    bench = Bench()
    bench.call("k", 1)
    assert _stopped(_renew(bench)) == [("c1", REPLACED)]
    assert bench.ids_started() == ["c2"]
    assert dispatched(bench.ready("c2")) == [("c2", 0, 1)]


def test_at_once_every_container_stops_and_its_inputs_run_again():
    bench = Bench(containers=1)
    bench.call("k", 1)
    assert _stopped(_renew(bench, at_once=True)) == [("c1", REPLACED)]
    assert bench.ids_started() == ["c2"]
    assert dispatched(bench.ready("c2")) == [("c2", 0, 1)]
    bench.succeed("c2")


def test_the_maximum_holds_an_idle_container_makes_room():
    bench = Bench(containers=2, config=PoolConfig(max_containers=2))
    assert _stopped(_renew(bench)) == [("c1", REPLACED)]
    assert bench.ids_started() == ["c3"]
    assert dispatched(bench.call("k", 1)) == [("c2", 0, 1)]


def test_the_maximum_holds_busy_containers_make_room_as_they_finish():
    bench = Bench(containers=1, config=PoolConfig(max_containers=1))
    bench.call("k", 1)
    bench.call("k2", 1)
    assert _renew(bench) == []
    commands = bench.succeed("c1")
    assert _stopped(commands) == [("c1", LATER)]
    assert dispatched(commands) == []
    assert bench.ids_started() == ["c2"]
    assert dispatched(bench.ready("c2")) == [("c2", 0, 1)]


def test_on_a_full_machine_old_containers_make_room():
    bench = Bench(containers=1, config=PoolConfig(memory_bytes=100))
    bench.do(bench.scheduler.set_capacity(150, 5, bench.now))
    bench.call("k", 1)
    assert _renew(bench) == []
    assert _stopped(bench.succeed("c1")) == [("c1", LATER)]


@pytest.mark.parametrize("retryable", [True, False])
def test_old_containers_go_on_while_no_new_one_comes_up(retryable):
    bench = Bench(containers=1)
    _renew(bench)
    bench.start_failed("c2", retryable=retryable)
    assert dispatched(bench.call("k", 1)) == [("c1", 0, 1)]
    assert bench.scheduler.next_wake() is not None
    bench.tick(bench.now + 100)
    assert bench.ids_started()[-1] != "c2"


def test_a_second_renewal_replaces_what_the_first_was_about_to_start():
    bench = Bench(containers=1)
    _renew(bench)
    assert _stopped(_renew(bench)) == [("c2", REPLACED)]
    assert bench.ids_started() == ["c3"]
    assert _stopped(bench.ready("c3")) == [("c1", REPLACED)]


def test_a_death_in_the_middle_leaves_new_containers_only():
    bench = Bench(containers=1)
    bench.call("k", 1)
    _renew(bench)
    bench.exit("c1", ExitCause.CRASHED)
    assert dispatched(bench.ready("c2")) == [("c2", 0, 1)]


def test_shared_containers_that_are_replaced_take_no_more_and_leave_when_empty():
    bench = Bench(containers=1, config=PoolConfig(max_inputs=3))
    bench.call("k", 1)
    _renew(bench)
    assert dispatched(bench.call("k2", 1)) == [("c1", 0, 1)]
    bench.ready("c2")
    assert dispatched(bench.call("k3", 1)) == [("c2", 0, 1)]
    assert _stopped(bench.succeed("c1")) == []
    assert _stopped(bench.succeed("c1")) == [("c1", LATER)]


def test_a_lower_maximum_in_the_middle_does_not_hold_up_the_renewal():
    bench = Bench(containers=2)
    bench.call("k", 1)
    bench.call("k2", 1)
    _renew(bench)
    bench.start_failed("c3")
    config = PoolConfig(max_containers=1)
    bench.do(bench.scheduler.update_pool_config("p", config, bench.now))
    assert _stopped(bench.succeed("c1")) == [("c1", LATER)]
    assert _stopped(bench.succeed("c2")) == [("c2", LATER)]


def test_a_container_that_retires_finishes_what_it_began_and_gives_the_rest_back():
    bench = Bench(containers=1, exec_us=10, config=PoolConfig(max_containers=1))
    bench.call("k", 3)
    bench.commands.clear()
    commands = bench.do(bench.scheduler.retire_container("c1", bench.now))
    assert [command.container_id for command in commands if isinstance(command, Reclaim)] == ["c1"]
    bench.returned("c1", 2)
    assert _stopped(bench.succeed("c1")) == [("c1", LATER)]
    assert bench.ids_started() == ["c2"]
    assert [batch[0] for batch in dispatched(bench.ready("c2"))] == ["c2"]


def test_an_idle_container_that_retires_ends_at_once():
    bench = Bench(containers=1)
    commands = bench.do(bench.scheduler.retire_container("c1", bench.now))
    assert _stopped(commands) == [("c1", LATER)]
    assert bench.do(bench.scheduler.retire_container("c1", bench.now)) == []
