"""Who is granted which GPUs, and who waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.core.bench import Bench
from volantd.core import (
    ANY_MODEL,
    ExitCause,
    GpuWish,
    PoolConfig,
    StartContainer,
    StopContainer,
)
from volantd.core.records.gpus import GpuAccount
from volantd.sim.devices import machine_of

if TYPE_CHECKING:
    from volantd.core import Gpu

INFINITY = float("inf")
EIGHT = machine_of(("H100",))
MIXED = machine_of(("H100", "A100-80GB"))


def _bench(gpus: tuple[Gpu, ...], *wishes: GpuWish, **config) -> Bench:
    bench = Bench(config=PoolConfig(gpus=wishes, **config))
    _install(bench, gpus)
    return bench


def _install(bench: Bench, gpus: tuple[Gpu, ...]):
    return bench.do(bench.scheduler.set_capacity(INFINITY, INFINITY, bench.now, gpus))


def _grants(commands) -> list[list[int]]:
    return [[gpu.index for gpu in c.gpus] for c in commands if isinstance(c, StartContainer)]


def _add(bench: Bench, pool_id: str, *wishes: GpuWish, **config):
    config = PoolConfig(gpus=wishes, **config)
    return bench.do(bench.scheduler.add_pool(pool_id, config, bench.now))


def test_each_container_gets_devices_of_its_own():
    bench = _bench(EIGHT, GpuWish("H100", 2))
    assert _grants(bench.call("k", 3)) == [[0, 1], [2, 3], [4, 5]]


def test_a_device_is_free_again_when_its_container_is_gone_and_not_before():
    bench = _bench(EIGHT, GpuWish("H100", 8))
    bench.call("k", 2)
    bench.ready("c1")
    assert len(bench.scheduler.state.fleet.nodes["local"].ledger.gpus.granted) == 8
    assert _grants(bench.commands) == [list(range(8))]
    assert _grants(bench.exit("c1")) == [list(range(8))]


def test_the_first_alternative_that_is_free_is_taken():
    bench = _bench(MIXED, GpuWish("A100-80GB", 8), GpuWish("H100", 2))
    assert _grants(bench.call("k", 2)) == [list(range(8, 16)), [0, 1]]


def test_any_takes_devices_of_one_model():
    bench = _bench(machine_of(("T4", "L4"))[6:12], GpuWish(ANY_MODEL, 3))
    assert _grants(bench.call("k", 1)) == [[8, 9, 10]]


@pytest.mark.parametrize("gpus", [(), EIGHT], ids=["no GPU", "others"])
def test_who_wants_what_the_machine_has_not_waits_without_failing(gpus):
    """Behaviour 138: the inputs stay queued until somebody puts the card in."""
    bench = _bench(gpus, GpuWish("B200", 1))
    assert bench.call("k", 1) == []
    [pool] = bench.scheduler.statistics()
    assert pool.lacks_gpus
    assert not pool.waits_for_room
    assert bench.tick(bench.now + 1e6) == []
    assert _grants(_install(bench, machine_of(("B200",)))) == [[0]]


def test_who_waits_for_gpus_holds_up_nobody_who_wants_none():
    bench = _bench(EIGHT, GpuWish("H100", 8))
    bench.call("k", 2)
    _add(bench, "plain")
    bench.open("plain-call", "plain")
    commands = bench.submit("plain-call", 0, 3)
    assert _grants(commands) == [[], [], []]


def test_who_came_first_is_served_first_although_others_would_fit():
    bench = _bench(EIGHT, GpuWish("H100", 1))
    bench.call("k", 1)
    bench.ready("c1")
    _add(bench, "large", GpuWish("H100", 8))
    assert _grants(bench.call("large-call", 1, "large")) == []
    _add(bench, "small", GpuWish("H100", 1))
    assert _grants(bench.call("small-call", 1, "small")) == []
    assert _grants(bench.exit("c1", ExitCause.CRASHED)) == [list(range(8))]


def test_an_idle_container_leaves_for_who_needs_its_device():
    bench = _bench(EIGHT, GpuWish("H100", 1))
    bench.call("k", 1)
    bench.ready("c1")
    bench.succeed("c1")
    _add(bench, "large", GpuWish("H100", 8))
    commands = bench.call("large-call", 1, "large")
    assert [c.container_id for c in commands if isinstance(c, StopContainer)] == ["c1"]
    assert _grants(bench.exit("c1", ExitCause.STOPPED)) == [list(range(8))]


def test_an_idle_container_without_gpus_stays_when_only_gpus_are_short():
    bench = _bench(EIGHT, GpuWish("H100", 8))
    bench.call("k", 2)
    _add(bench, "plain")
    bench.call("plain-call", 1, "plain")
    bench.ready("c2")
    commands = bench.succeed("c2")
    assert not [c for c in commands if isinstance(c, StopContainer)]


def test_missing_devices_count_those_that_are_leaving_as_free():
    account = GpuAccount()
    account.install(EIGHT)
    account.grant(EIGHT[:6])
    assert account.missing([GpuWish("H100", 8)]) == [("H100", 6)]
    account.leave(EIGHT[:6])
    assert account.missing([GpuWish("H100", 8)]) == []
    assert account.missing([GpuWish("B200", 1)]) == []


def test_devices_that_were_taken_out_stay_granted_and_free_nothing():
    account = GpuAccount()
    account.install(EIGHT)
    account.grant(EIGHT[:2])
    account.install(EIGHT[1:])
    assert account.free_counts() == {"H100": 6}
    account.release(EIGHT[:2])
    assert account.free_counts() == {"H100": 7}
    account.install(())
    account.release(EIGHT[2:3])
    assert account.free_counts() == {}
