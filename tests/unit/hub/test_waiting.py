"""What people are told that a function waits for, and what user code in containers may ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.core.bench import Bench
from volant.errors import PermissionDeniedError
from volant.sdk.options import checked_resources
from volantd.core import GpuWish, PoolConfig
from volantd.hub.checks import confine_options
from volantd.hub.pools.configuration import gpu_wishes
from volantd.hub.pools.waiting import text_of
from volantd.sim.devices import machine_of


def _text(bench: Bench, gpu: list[list[object]], pool_id: str = "p") -> str:
    function: Any = SimpleNamespace(function_id=pool_id, options={"gpu": gpu})
    return text_of(bench.scheduler, function)


def _bench(capacity: float = float("inf"), models: tuple[str, ...] = (), **config) -> Bench:
    bench = Bench(config=PoolConfig(**config))
    gpus = machine_of(models)
    bench.do(bench.scheduler.set_capacity(capacity, float("inf"), bench.now, gpus))
    return bench


def test_a_machine_without_gpus_is_said_to_have_none():
    """Behaviour 138."""
    bench = _bench(gpus=(GpuWish("H100", 2),))
    bench.call("k", 1)
    assert _text(bench, [["H100", 2]]) == (
        "waiting for a GPU: H100:2; this machine has none, "
        "and VOLANT_WITHOUT_GPUS=1 runs it without"
    )


def test_other_gpus_are_named():
    bench = _bench(models=("T4",), gpus=(GpuWish("H100", 2),))
    bench.call("k", 1)
    told = "waiting for a GPU: H100:2 or L4; this machine has T4:8"
    assert _text(bench, [["H100", 2], ["L4", 1]]) == told


def test_gpus_that_others_have_are_waited_for():
    bench = _bench(models=("T4",), gpus=(GpuWish("T4", 8),), max_containers=1)
    bench.call("k", 1)
    assert _text(bench, [["T4", 8]]) == "", "it starts"
    other = PoolConfig(gpus=(GpuWish("T4", 1),))
    bench.do(bench.scheduler.add_pool("other", other, bench.now))
    bench.call("other-call", 1, "other")
    told = "waiting for a GPU: T4; those of this machine are in use"
    assert _text(bench, [["T4", 1]], "other") == told


def test_memory_that_others_have_is_waited_for():
    bench = _bench(600 << 20, memory_bytes=512 << 20, max_containers=1)
    bench.call("k", 1)
    bench.do(bench.scheduler.add_pool("other", PoolConfig(memory_bytes=256 << 20), bench.now))
    bench.call("other-call", 1, "other")
    assert _text(bench, [], "other") == ("waiting for memory: needs 256 MiB, 88 MiB free of 600")


def test_who_waits_for_nothing_is_told_nothing():
    bench = _bench()
    assert _text(bench, []) == ""
    assert _text(bench, [], "gone") == ""


def test_each_wish_means_the_models_that_fulfil_it():
    wished = list(gpu_wishes([["h100".upper(), 2], ["any", 1]]))
    assert wished == [GpuWish("H100", 2), GpuWish("H200", 2), GpuWish("", 1)]
    assert list(gpu_wishes([["H100!", 1]])) == [GpuWish("H100", 1)]


def _options(gpu: list[list[object]], **changes: object) -> dict[str, Any]:
    resources = checked_resources(cpu=None, memory=None, timeout=1)
    retries = {"max_retries": 1, "memory_multiplier": 2.0}
    return {
        **resources, "gpu": gpu, "block_network": False, "ephemeral_disk_mib": None,
        "retries": retries, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "own", "allowed"),
    [([["T4", 1]], [["T4", 2]], []), ([["T4", 1]], [], [["T4", 1]]), ([], [], [])],
    ids=["fewer", "of the function called", "none"],
)
def test_user_code_may_give_the_gpus_that_its_function_has(asked, own, allowed):
    confine_options(_options(asked), _options(own), allowed)


@pytest.mark.parametrize(
    ("asked", "own"),
    [([["T4", 1]], []), ([["T4", 2]], [["T4", 1]]), ([["any", 1]], [["T4", 1]])],
    ids=["none", "more", "others"],
)
def test_user_code_may_not_give_other_gpus(asked, own):
    with pytest.raises(PermissionDeniedError, match="GPUs that its own function has not"):
        confine_options(_options(asked), _options(own))


def test_user_code_under_a_limit_gives_neither_more_memory_nor_more_disk():
    options = _options([], ephemeral_disk_mib=4096)
    own = _options([], memory_limit_mib=256, ephemeral_disk_mib=64)
    confine_options(options, own)
    assert options["memory_limit_mib"] == 256
    assert options["retries"]["memory_multiplier"] == 1.0
    assert options["ephemeral_disk_mib"] == 64
