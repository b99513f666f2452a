"""Leases that do not wait: a slot of a container now, or none.

What is lent so is an input like any other from then on. Nobody is started for one that gets
nothing: whoever asked has another input wait, if there shall be a container.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Literal, TypeAlias

from volantd.core.dispatch import balance, send, withheld
from volantd.core.model import ContainerState
from volantd.core.queueing import new_batch, requeue

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Call, Container, ContainerId, Pool, State

#: What became of it: lent; its container, or all of them, are full; no container takes inputs.
Lending: TypeAlias = Literal["lent", "full", "absent"]


def lend(
    state: State, call: Call, payload: object, wanted: ContainerId, now: float, out: list[Command]
) -> Lending:
    """Dispatches the one input of a lease at once, or not at all: see ``Scheduler.lend``."""
    pool = call.pool
    container = _taker(state, pool, wanted, now)
    if container is None:
        return "full" if pool.ready else "absent"
    call.add_known(0, 1)
    call.submitted, call.unfinished = 1, 1
    batch = new_batch(state, call, 0, 1, payload, 0)
    batch.queued_at = now
    requeue(pool, batch)  # ahead of what waits
    if container in pool.idle:
        pool.idle.remove(container)
    send(state, pool, container, now, out)
    balance(state, pool, now, out)
    return "lent"


def _taker(state: State, pool: Pool, wanted: ContainerId, now: float) -> Container | None:
    """The container wanted if it lives, else one that has room; None: there is none.

    Where there are more than are needed, few get all, so that the others can leave; else all get
    as much.
    """
    container = state.containers.get(wanted)
    if (
        container is not None
        and container.pool is pool
        and container.state is ContainerState.READY
        and not container.is_outdated
    ):
        return container if container.inputs < pool.config.max_inputs else None
    yielding = withheld(state, pool, now)
    takers = [one for one in _by_use(pool) if one is not yielding]
    needed = ceil((pool.running_inputs + 1) / pool.config.inputs_per_container)
    if pool.ready > max(needed, pool.config.min_containers):
        return takers[0] if takers else None
    return min(takers, key=_inputs, default=None)


def _by_use(pool: Pool) -> list[Container]:
    """Containers that have room: up to the target the one used last first, as for any input."""
    groups = (pool.roomy.values(), pool.idle, pool.bursting.values())
    return [container for group in groups for container in reversed(group)]


def _inputs(container: Container) -> int:
    return container.inputs
