"""Containers whose server does not answer: given up after several looks, replaced where needed."""

from __future__ import annotations

from tests.unit.core.bench import Bench
from volantd.core import FailInput, Fault, PoolConfig, StopContainer

SERVER = PoolConfig(has_leases=True, min_containers=1, max_containers=1, max_inputs=2)


def _look(bench, *answers):
    for answer in answers:
        bench.do(bench.scheduler.checked("c1", answer, bench.now))


def _of(bench, kind):
    return [command for command in bench.commands if isinstance(command, kind)]


def test_a_container_is_given_up_at_the_third_look_in_a_row_without_an_answer():
    bench = Bench(containers=1, config=SERVER)
    _look(bench, False, False, True, False, False)
    assert _of(bench, StopContainer) == []
    _look(bench, False)
    [stopped] = _of(bench, StopContainer)
    assert stopped.reason == "its server does not answer"


def test_its_slots_are_taken_back_and_another_starts_where_one_is_needed():
    bench = Bench(containers=1, config=SERVER)
    bench.scheduler.open_call("a", "p", bench.now, True)
    lending, commands = bench.scheduler.lend("a", "a", "", bench.now)
    assert lending == "lent"
    bench.do(commands)
    _look(bench, False, False, False)
    assert [(one.call_id, one.fault) for one in _of(bench, FailInput)] == [("a", Fault.LOST)]
    bench.exit("c1")
    assert bench.ids_started() == ["c2"]


def test_looks_at_a_container_that_ends_or_is_gone_change_nothing():
    bench = Bench(containers=1, config=SERVER)
    _look(bench, False, False, False, False, False, False)
    assert len(_of(bench, StopContainer)) == 1
    bench.exit("c1")
    _look(bench, False)
    assert len(_of(bench, StopContainer)) == 1
