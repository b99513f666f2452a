"""Slots that are lent at once or not at all: to any container, or to the one that is wanted."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.bench import Bench, dispatched
from volantd.core import ExitCause, PoolConfig, StartContainer

SERVER = PoolConfig(has_leases=True, max_containers=3, max_inputs=2, target_inputs=2)


def _lend(bench, name, wanted=""):
    bench.scheduler.open_call(name, "p", bench.now, True)
    lending, commands = bench.scheduler.lend(name, name, wanted, bench.now)
    bench.do(commands)
    if lending != "lent":
        bench.forget(name)
        return lending
    [(container_id, _, _)] = dispatched(commands)
    return container_id


def test_nothing_is_lent_without_a_container_and_none_is_started():
    bench = Bench(config=SERVER)
    assert _lend(bench, "a") == "absent"
    assert bench.commands == []


def test_a_container_that_starts_lends_nothing():
    bench = Bench(config=SERVER)
    bench.scheduler.open_call("waits", "p", bench.now, True)
    bench.submit("waits", 0, 1)
    assert _lend(bench, "a") == "absent"
    bench.ready("c1")
    assert _lend(bench, "b") == "c1"


def test_no_more_is_lent_than_containers_take():
    bench = Bench(containers=2, config=replace(SERVER, max_containers=2))
    assert sorted(_lend(bench, name) for name in "abcd") == ["c1", "c1", "c2", "c2"]
    assert _lend(bench, "e") == "full"


def test_a_container_for_one_request_at_a_time_lends_one_slot():
    bench = Bench(containers=1, config=PoolConfig(has_leases=True, max_containers=1))
    assert _lend(bench, "a") == "c1"
    assert _lend(bench, "b") == "full"


def test_the_container_that_is_wanted_gets_it_idle_or_busy():
    bench = Bench(containers=3, config=SERVER)
    assert _lend(bench, "a", "c1") == "c1"
    assert _lend(bench, "b", "c2") == "c2"
    assert _lend(bench, "c", "c1") == "c1"


def test_nothing_is_lent_elsewhere_while_the_one_that_is_wanted_is_full():
    bench = Bench(containers=2, config=SERVER)
    assert [_lend(bench, name, "c1") for name in "ab"] == ["c1", "c1"]
    assert _lend(bench, "c", "c1") == "full"
    assert _lend(bench, "d") == "c2"


def test_another_gets_it_when_the_one_that_is_wanted_is_gone():
    bench = Bench(containers=2, config=SERVER)
    bench.exit("c1", ExitCause.CRASHED)
    assert _lend(bench, "a", "c1") == "c2"


def test_another_gets_it_when_the_one_that_is_wanted_gives_way():
    bench = Bench(containers=1, config=SERVER)
    assert _lend(bench, "a", "c1") == "c1"
    bench.do(bench.scheduler.renew_pool("p", False, bench.now))
    assert _lend(bench, "b", "c1") == "c1"
    bench.ready("c2")
    assert _lend(bench, "c", "c1") == "c2"


def test_what_is_lent_above_the_target_starts_another_container():
    bench = Bench(containers=1, config=replace(SERVER, max_inputs=10))
    for name in "ab":
        _lend(bench, name)
    assert bench.commands == [] or not any(isinstance(c, StartContainer) for c in bench.commands)
    assert _lend(bench, "c") == "c1"
    assert StartContainer("p", "c2") in bench.commands


def test_a_new_target_counts_for_what_runs_already():
    bench = Bench(containers=2, config=replace(SERVER, max_inputs=10, max_containers=2))
    assert [_lend(bench, name, "c1") for name in "ab"] == ["c1", "c1"]
    config = replace(SERVER, max_inputs=10, max_containers=2, target_inputs=5)
    bench.do(bench.scheduler.update_pool_config("p", config, bench.now))
    assert _lend(bench, "c") == "c1"


def test_containers_that_are_needed_get_as_much_and_others_nothing():
    bench = Bench(containers=3, config=replace(SERVER, max_inputs=10, target_inputs=5))
    assert [_lend(bench, name) for name in "abcd"] == [_lend(bench, "e")] * 4
    bench = Bench(containers=3, config=replace(SERVER, max_inputs=10, min_containers=3))
    assert sorted(_lend(bench, name) for name in "abcdef") == ["c1", "c1", "c2", "c2", "c3", "c3"]


def test_another_is_started_once_more_has_been_needed_for_the_window():
    bench = Bench(containers=1, config=replace(SERVER, target_inputs=1, scaleup_window_s=5.0))
    assert [_lend(bench, name) for name in "ab"] == ["c1", "c1"]
    assert bench.ids_started() == []
    bench.tick(104.9)
    assert bench.ids_started() == []
    bench.tick(105.0)
    assert bench.ids_started() == ["c2"]


def test_the_window_begins_anew_when_there_was_enough_in_between():
    bench = Bench(containers=1, config=replace(SERVER, target_inputs=1, scaleup_window_s=5.0))
    assert [_lend(bench, name) for name in "ab"] == ["c1", "c1"]
    bench.now = 104.0
    bench.succeed("c1")
    assert _lend(bench, "c") == "c1"
    bench.tick(108.9)
    assert bench.ids_started() == []
    bench.tick(109.0)
    assert bench.ids_started() == ["c2"]


def test_no_window_delays_the_first_container_or_the_minimum():
    config = replace(SERVER, scaleup_window_s=5.0)
    bench = Bench(config=config)
    bench.scheduler.open_call("waits", "p", bench.now, True)
    bench.submit("waits", 0, 1)
    assert bench.ids_started() == ["c1"]
    bench.do(bench.scheduler.update_pool_config("p", replace(config, min_containers=3), bench.now))
    assert bench.ids_started() == ["c1", "c2", "c3"]
