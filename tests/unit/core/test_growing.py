"""Memory that grows when a container ran out of it: which containers get it, and who runs there."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import Bench, dispatched
from volantd.core import (
    ExitCause,
    FailInput,
    Fault,
    Loss,
    PoolConfig,
    RetryPolicy,
    StartContainer,
    StopContainer,
)

OOM = ExitCause.OOM


def _bench(containers: int = 1, *, capacity: float = 10_000, retries: int = 3, **config) -> Bench:
    policy = RetryPolicy(max_retries=retries, initial_delay_s=0.5, memory_multiplier=2.0)
    made = PoolConfig(memory_bytes=100, memory_limit_bytes=200, retries=policy, **config)
    bench = Bench(containers=containers, config=made)
    bench.do(bench.scheduler.set_capacity(capacity, float("inf"), bench.now))
    bench.commands.clear()
    return bench


def _limits(commands) -> list[int | None]:
    return [c.memory_limit_bytes for c in commands if isinstance(c, StartContainer)]


def _stopped(commands) -> list[str]:
    return [c.container_id for c in commands if isinstance(c, StopContainer)]


def test_an_input_that_ran_out_of_memory_runs_again_with_more_after_its_delay():
    bench = _bench()
    bench.call("k", 1)
    assert _limits(bench.exit("c1", OOM)) == []
    assert _limits(bench.tick(bench.now + 0.5)) == [400]
    assert bench.scheduler.state.fleet.nodes["local"].ledger.booked_bytes == 200
    [(container_id, index, number)] = dispatched(bench.ready("c2"))
    assert (container_id, index, number) == ("c2", 0, 1)
    assert bench.scheduler.state.containers["c2"].outstanding


def test_it_counts_as_one_of_the_users_retries():
    bench = _bench(retries=1)
    bench.call("k", 1)
    bench.exit("c1", OOM)
    bench.tick(bench.now + 0.5)
    bench.ready("c2")
    commands = bench.exit("c2", OOM)
    [failed] = [c for c in commands if isinstance(c, FailInput)]
    assert failed.fault is Fault.LOST
    assert failed.detail == Loss(OOM, "signal 9", 2)


def test_no_limit_exceeds_the_machine_and_there_it_fails():
    bench = _bench(capacity=300)
    bench.call("k", 1)
    bench.exit("c1", OOM)
    assert _limits(bench.tick(bench.now + 0.5)) == [300]
    bench.ready("c2")
    assert [type(c) for c in bench.exit("c2", OOM)][:1] == [FailInput]


def test_idle_containers_with_the_old_limit_leave_and_busy_ones_do_when_they_are_free():
    bench = _bench(3, max_containers=3)
    bench.open("k")
    for index in range(2):
        bench.submit("k", index, 1)
    busy = [c for c in ("c1", "c2", "c3") if bench.outstanding(c)]
    [idle] = {"c1", "c2", "c3"} - set(busy)
    assert _stopped(bench.exit(busy[0], OOM)) == [idle]
    assert _stopped(bench.succeed(busy[1])) == [busy[1]]


def test_two_that_run_out_of_the_same_limit_raise_it_once():
    bench = _bench(2, max_containers=2)
    bench.open("k")
    for index in range(2):
        bench.submit("k", index, 1)
    bench.exit("c1", OOM)
    bench.exit("c2", OOM)
    assert set(_limits(bench.tick(bench.now + 0.5))) == {400}


@pytest.mark.parametrize("cause", [ExitCause.CRASHED, ExitCause.KILLED, ExitCause.DISK_FULL])
def test_other_deaths_raise_nothing(cause):
    bench = _bench()
    bench.call("k", 1)
    assert _limits(bench.exit("c1", cause)) == [200]


def test_a_shared_container_with_the_old_limit_gets_no_more_inputs():
    bench = _bench(2, max_containers=2, max_inputs=2)
    bench.open("k")
    for index in range(3):
        bench.submit("k", index, 1)
    full = next(c for c in ("c1", "c2") if len(bench.outstanding(c)) == 2)
    other = {"c1": "c2", "c2": "c1"}[full]
    bench.exit(full, OOM)
    bench.submit("k", 3, 1)
    assert len(bench.outstanding(other)) == 1
    assert _stopped(bench.succeed(other)) == [other]
