"""The core's view of a function's options."""

from __future__ import annotations

import os
from math import ceil
from typing import TYPE_CHECKING, Any

from volant import gpus
from volantd.core import ANY_MODEL, GpuWish, PoolConfig, RetryPolicy
from volantd.hub.web import checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.hub.records import Function

#: Containers for each core of this machine, of a function that names no maximum: what fits when
#: each asks for the eighth of a core that is asked for by default.
CONTAINERS_PER_CORE = 8
#: Time for one attempt in an app whose containers may be joined to a terminal.
INTERACTIVE_TIMEOUT_S = 7 * 86400.0
#: How long the exit hooks of a class may take, all together.
EXIT_GRACE_S = 30.0


def pool_config(function: Function) -> PoolConfig:
    """The core's view of a function's options."""
    options = {**function.options, **function.scaling}
    retries = options["retries"]
    low, limit_mib = options["min_containers"], options["memory_limit_mib"]
    high = options["max_containers"] or max(1, low, _containers_max())
    size = max(1, options["cluster_size"])
    return PoolConfig(
        # Users count containers; the core counts gangs.
        min_containers=min(ceil(low / size), max(1, high // size)),
        max_containers=max(1, high // size),
        buffer_containers=ceil(options["buffer_containers"] / size),
        scaledown_window_s=options["scaledown_window_s"],
        timeout_s=_timeout_s(function),
        startup_timeout_s=options["startup_timeout_s"],
        retries=RetryPolicy(
            max_retries=retries["max_retries"],
            backoff_coefficient=retries["backoff_coefficient"],
            initial_delay_s=retries["initial_delay_s"],
            max_delay_s=retries["max_delay_s"],
            memory_multiplier=retries["memory_multiplier"],
        ),
        single_use=options["single_use"],
        memory_bytes=int(options["memory_mib"]) << 20,
        memory_limit_bytes=int(limit_mib * (1 << 20)) if limit_mib else None,
        gpus=tuple(gpu_wishes(options["gpu"])),
        max_inputs=options["max_inputs"],
        target_inputs=options["target_inputs"],
        # A task can be cancelled; a thread cannot.
        interruptible=_is_async(function) and not options["batch_size"],
        batch_size=options["batch_size"],
        batch_wait_s=options["batch_wait_s"],
        exit_grace_s=exit_grace_s(function),
        scaleup_window_s=function.scaling.get(
            "scaleup_window_s", checked.scaleup_window_s_of(function.spec)
        ),
        has_leases=bool(checked.forms_of(function.spec)),
        gang_size=size,
    )


def exit_grace_s(function: Function) -> float | None:
    """How long its containers may take to end by themselves; None: nothing of the user's does."""
    if not function.options["has_exit"]:
        return None
    return EXIT_GRACE_S + (checked.drain_s_of(function.spec) or 0.0)


def gpu_wishes(wishes: list[list[Any]]) -> Iterator[GpuWish]:
    """The models of devices that checked wishes mean, the best first."""
    for name, count in wishes:
        if name == gpus.ANY:
            yield GpuWish(ANY_MODEL, count)
        else:
            for model in gpus.MODELS[name]:
                yield GpuWish(model, count)


def _timeout_s(function: Function) -> float:
    """Time for one attempt; who looks for a mistake is not hurried."""
    timeout_s = float(function.options["timeout_s"])
    return max(timeout_s, INTERACTIVE_TIMEOUT_S) if function.app.interactive else timeout_s


def _containers_max() -> int:
    return CONTAINERS_PER_CORE * len(os.sched_getaffinity(0))


def _is_async(function: Function) -> bool:
    methods = function.spec["methods"] or [function.spec]
    return all(method["is_async"] for method in methods)
