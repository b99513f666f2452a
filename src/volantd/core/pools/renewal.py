"""Containers that give way to later ones: of a new version of their function, or all at once.

    rolling    old containers work on until the first new one is ready; from then on they get no
               more inputs, and each ends with those that it has
    at once    every container is stopped; what it ran is run again by a new one

There is one container more than are needed while a pool is renewed, if there is room for it and its
maximum allows. Otherwise old ones make room: they get no more inputs from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.containers import advance, close, stop
from volantd.core.deadlines import look_at
from volantd.core.dispatch import balance, reclaim
from volantd.core.model import ContainerState
from volantd.core.scaling.retiring import scale_down
from volantd.core.sharing import sort_in

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Container, Pool, State
    from volantd.core.records.configuration import PoolConfig

#: The generation of a container that takes no more inputs, whatever its pool's.
RETIRED = -1
#: Why a container is stopped that is not of the latest version.
REPLACED = "a new version takes its place"


def reconfigure(
    state: State, pool: Pool, config: PoolConfig, now: float, out: list[Command]
) -> None:
    """Replaces the configuration of a pool, but for how its containers share inputs."""
    assert config.max_inputs == pool.config.max_inputs, config
    assert config.gang_size == pool.config.gang_size, config
    pool.configure(config)
    for container in list(pool.containers.values()):
        if container.outstanding and config.max_inputs > 1:
            sort_in(state, container)  # there may be another target
        look_at(state, container, now, out)
    scale_down(state, pool, now, out)
    if pool.is_renewing and pool.live >= config.max_containers:
        advance(state, pool, pool.coming, REPLACED, now, out)
    balance(state, pool, now, out)


def renew(state: State, pool: Pool, at_once: bool, now: float, out: list[Command]) -> None:
    """Has the containers that there are give way to ones that are started from now on."""
    pool.coming += 1
    pool.broken = False
    for container in list(pool.containers.values()):
        if container.state is ContainerState.STARTING:
            stop(state, container, True, REPLACED, now, out)
        elif at_once and container.state is ContainerState.READY:
            close(state, container, REPLACED, now, out)
    if not pool.ready or not _has_room_for_another(state, pool, now, out):
        advance(state, pool, pool.coming, REPLACED, now, out)
    balance(state, pool, now, out)


def _has_room_for_another(state: State, pool: Pool, now: float, out: list[Command]) -> bool:
    """Whether a new container can start beside the old ones; an idle one may make room for it."""
    if pool.live >= pool.config.max_containers and len(pool.idle) > 1:
        stop(state, pool.idle[0], False, REPLACED, now, out)
    if pool.live >= pool.config.max_containers or state.waiting:
        return False
    return state.fleet.place(pool) is not None


def retire(state: State, container: Container, now: float, out: list[Command]) -> None:
    """Lets one container finish what it runs, and then end, because it asked for that."""
    pool = container.pool
    container.generation = RETIRED
    pool.roomy.pop(container.container_id, None)
    pool.bursting.pop(container.container_id, None)
    if container in pool.idle:
        stop(state, container, False, "it takes no more inputs", now, out)
    elif pool.config.max_inputs == 1:
        reclaim(container, out)
    if not pool.removed:
        balance(state, pool, now, out)


def on_ready(state: State, container: Container, now: float, out: list[Command]) -> None:
    """Lets the old containers go when the first new one takes inputs."""
    pool = container.pool
    if container.generation > pool.generation:
        advance(state, pool, container.generation, REPLACED, now, out)
