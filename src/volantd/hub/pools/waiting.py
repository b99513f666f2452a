"""What a function waits for when no container of it can start, in words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volant import gpus
from volantd.core import LOCAL, lack_of_room

if TYPE_CHECKING:
    from volantd.core import Scheduler
    from volantd.core.statistics import LackOfRoom
    from volantd.hub.records import Function

_HAS_NONE = "this machine has none"


def text_of(scheduler: Scheduler, function: Function) -> str:
    """What a function waits for, beyond a container that is free; "" is nothing."""
    state = scheduler.state
    pool = state.pools.get(function.function_id)
    if pool is None:
        return ""
    wished = gpus.in_words(function.options["gpu"])
    if pool.queued_inputs and state.fleet.lacks_gpus(pool.need):
        has = machine_in_words(scheduler)
        without = ", and VOLANT_WITHOUT_GPUS=1 runs it without" if has == _HAS_NONE else ""
        return f"waiting for a GPU: {wished}; {has}{without}"
    if pool not in state.waiting:
        return ""
    shortage = lack_of_room(state, pool)
    if shortage is None:
        return f"waiting for a GPU: {wished}; those of this machine are in use"
    return lack_in_words(shortage)


def lack_in_words(short: LackOfRoom) -> str:
    """Which room is lacking, such as "waiting for memory: needs 250 MiB, 200 MiB free of 400"."""
    if short.is_of_memory:
        return (
            f"waiting for memory: needs {_mib(short.memory_bytes)} MiB, "
            f"{_mib(short.memory_free_bytes)} MiB free of {_mib(short.memory_total_bytes)}"
        )
    return (
        f"waiting for a container to end: {short.containers} run, "
        f"{short.containers_max:.0f} are the most"
    )


def machine_in_words(scheduler: Scheduler) -> str:
    """Which GPUs this machine has, such as `this machine has H100:2`."""
    ledger = scheduler.state.fleet.nodes[LOCAL].ledger
    models = [gpu.model for gpu in ledger.gpus.installed]
    if not models:
        return _HAS_NONE
    counts = [f"{model}:{models.count(model)}" for model in dict.fromkeys(models)]
    return f"this machine has {', '.join(counts)}"


def _mib(size_bytes: float) -> int:
    return int(size_bytes) >> 20
