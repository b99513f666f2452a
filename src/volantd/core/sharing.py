"""Containers that run several inputs at the same time: who has room, what is due, what is asked.

Pools with ``max_inputs`` above 1 are shared: a container holds up to so many batches of one input
each, and runs them all, so nothing is prefetched, reclaimed or stalled there. Below the target
inputs go to the container that was used last; above it only when no other is there. It must not
dispatch or stop anything: callers do.

    fewer than the target: pool.roomy    none: pool.idle    the target or more: pool.bursting

Where the user's code takes inputs together (``batch_size``) a container gets a whole group when it
is idle, and nothing beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.commands import CancelRunning
from volantd.core.model import INFINITY

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Batch, Container, Pool, State


def runs_alone(state: State, batch: Batch) -> bool:
    """Whether an input is suspected of killing its containers, so that it gets no neighbours."""
    return batch.platform_attempt >= state.limits.deaths_until_alone


def needs_another(state: State, pool: Pool) -> bool:
    """Whether no busy container takes the next queued input, however few inputs there are."""
    if runs_alone(state, pool.ring[0].queue[0]):
        return True
    return not pool.roomy and not pool.bursting


def sort_in(state: State, container: Container) -> None:
    """Notes that a shared container was used, and how much room it has now."""
    pool = container.pool
    config = pool.config
    container_id = container.container_id
    pool.roomy.pop(container_id, None)
    pool.bursting.pop(container_id, None)
    inputs = container.inputs
    if not 0 < inputs < config.max_inputs or config.batch_size or container.is_outdated:
        return
    if inputs == 1 and runs_alone(state, next(iter(container.outstanding.values()))):
        return
    group = pool.roomy if inputs < config.inputs_per_container else pool.bursting
    group[container_id] = container


def next_with_room(state: State, pool: Pool, withheld: Container | None) -> Container | None:
    """Takes the container out that gets the next queued input of a shared pool; None: no room.

    Args:
        state: the state.
        pool: a shared pool with queued inputs.
        withheld: a busy container that gets none.
    """
    if not runs_alone(state, pool.ring[0].queue[0]):
        for container in reversed(pool.roomy.values()):
            if container is not withheld:
                return container
    elif not pool.idle:
        return None
    if pool.idle:
        return pool.idle.pop()
    for container in reversed(pool.bursting.values()):
        if container is not withheld:
            return container
    return None


def group_due(pool: Pool, now: float) -> float:
    """When the next group of a pool with queued inputs is sent, whether it is full or not."""
    if pool.queued_inputs >= pool.config.batch_size:
        return now
    return pool.ring[0].queue[0].queued_at + pool.config.batch_wait_s


def due_of(state: State, batch: Batch) -> float:
    """When something is done about a running input: its timeout, or the end of its grace."""
    if batch.interrupted_at < INFINITY:
        return batch.interrupted_at + state.limits.cancel_grace_s
    if batch.call.is_lease:
        return INFINITY
    return batch.started_at + batch.call.pool.config.timeout_s


def earliest_due(state: State, container: Container) -> float:
    """When the first input of a busy shared container is due."""
    return min([due_of(state, batch) for batch in container.outstanding.values()])


def interrupt(container: Container, batch: Batch, now: float, out: list[Command]) -> None:
    """Asks for the early end of a running input; its neighbours go on."""
    if batch.interrupted_at == INFINITY:
        batch.interrupted_at = now
        out.append(CancelRunning(container.container_id, batch.batch_id))
