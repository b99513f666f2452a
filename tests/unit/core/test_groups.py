"""Inputs that the user's code takes together: when a group goes, with whom, and how it ends."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import Bench, dispatched
from volantd.core import CancelRunning, Dispatch, ExitCause, FailInput, PoolConfig, StopContainer

GROUPS = PoolConfig(max_containers=1, max_inputs=3, batch_size=3, batch_wait_s=0.5, timeout_s=5.0)


def _more(commands):
    return [c.more for c in commands if isinstance(c, Dispatch)]


def test_a_full_group_goes_at_once_and_the_rest_waits_for_the_container():
    bench = Bench(containers=1, config=GROUPS)
    commands = bench.call("k", 4)
    assert dispatched(commands) == [("c1", 0, 1), ("c1", 1, 1), ("c1", 2, 1)]
    assert _more(commands) == [True, True, False]
    for _ in range(2):
        assert dispatched(bench.succeed("c1")) == []
    assert dispatched(bench.succeed("c1")) == []
    assert dispatched(bench.tick(100.49)) == []
    assert dispatched(bench.tick(100.5)) == [("c1", 3, 1)]


def test_the_window_opens_with_the_first_input():
    bench = Bench(containers=1, config=GROUPS)
    bench.call("first", 1)
    bench.tick(100.3)
    assert dispatched(bench.call("second", 1)) == []
    commands = bench.tick(100.5)
    assert len(dispatched(commands)) == 2
    assert _more(commands) == [True, False]


def test_a_group_that_fills_does_not_wait():
    bench = Bench(containers=1, config=GROUPS)
    bench.call("first", 2)
    assert len(dispatched(bench.call("second", 1))) == 3


def test_a_container_starts_while_the_window_is_open():
    bench = Bench(config=GROUPS)
    bench.call("first", 1)
    assert bench.ids_started() == ["c1"]
    bench.tick(100.2)
    assert dispatched(bench.ready("c1")) == []
    assert dispatched(bench.tick(100.5)) == [("c1", 0, 1)]


def test_a_window_that_has_passed_is_not_opened_again():
    """Who waited while the container was busy goes as soon as it is free."""
    bench = Bench(containers=1, config=GROUPS)
    bench.call("first", 3)
    bench.call("second", 1)
    bench.now = 101.0
    bench.succeed("c1")
    bench.succeed("c1")
    assert dispatched(bench.succeed("c1")) == [("c1", 0, 1)]


def test_who_is_cancelled_leaves_the_others_alone_until_nobody_waits():
    bench = Bench(containers=1, config=GROUPS)
    bench.call("first", 2)
    bench.call("second", 1)
    asked = [c for c in bench.cancel("first") if isinstance(c, CancelRunning | StopContainer)]
    assert not asked
    asked = [c for c in bench.cancel("second") if isinstance(c, CancelRunning)]
    assert len(asked) == 3


def test_a_deaf_group_is_killed_after_its_grace():
    bench = Bench(containers=1, config=GROUPS)
    bench.call("first", 3)
    bench.cancel("first")
    stops = [c for c in bench.tick(110.0) if isinstance(c, StopContainer)]
    assert [(c.kill, c.reason) for c in stops] == [(True, "cancelled")]


def test_a_group_times_out_together():
    bench = Bench(containers=1, config=GROUPS)
    bench.call("first", 3)
    failed = [c for c in bench.tick(105.0) if isinstance(c, FailInput)]
    assert [c.first_index for c in failed] == [0, 1, 2]


def test_a_suspect_goes_alone():
    """All of a group are suspected of a death; from the second on each runs by itself."""
    bench = Bench(containers=1, config=GROUPS)
    bench.call("first", 3)
    for number in (1, 2):
        bench.exit(f"c{number}", ExitCause.CRASHED)
        bench.ready(f"c{number + 1}")
    assert bench.holds("c3") == [("first", 0, 1)]


@pytest.mark.parametrize("size", [1, 2])
def test_a_group_is_never_larger_than_asked(size):
    config = PoolConfig(max_containers=1, max_inputs=size, batch_size=size)
    bench = Bench(containers=1, exec_us=1, config=config)
    assert len(dispatched(bench.call("k", 10))) == size
