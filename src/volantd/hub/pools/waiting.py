"""What a function waits for when no container of it can start, in words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volant import gpus

if TYPE_CHECKING:
    from volantd.core import Scheduler
    from volantd.hub.records import Function


def text_of(scheduler: Scheduler, function: Function) -> str:
    """What the inputs of a function wait for, beyond a container that is free; "" is nothing."""
    state = scheduler.state
    pool = state.pools.get(function.function_id)
    if pool is None or not pool.queued_inputs or pool.starting:
        return ""
    wished = gpus.in_words(function.options["gpu"])
    if state.ledger.lacks_gpus(pool.need):
        return f"waiting for a GPU: {wished}; {machine_in_words(scheduler)}"
    if pool not in state.waiting:
        return ""
    if state.ledger.fits(pool.need):
        return f"waiting for a GPU: {wished}; those of this machine are in use"
    if pool.live:
        return ""  # it goes on with what it has
    return f"waiting for room: {pool.need.memory_bytes >> 20} MiB of memory"


def machine_in_words(scheduler: Scheduler) -> str:
    """Which GPUs this machine has, such as `this machine has H100:2`."""
    models = [gpu.model for gpu in scheduler.state.ledger.gpus.installed]
    if not models:
        return "this machine has none"
    counts = [f"{model}:{models.count(model)}" for model in dict.fromkeys(models)]
    return f"this machine has {', '.join(counts)}"
