"""Containers that their own pool does not need any more, and the end of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.containers import arm_idle, close, idle_due, longest_idle, stop
from volantd.core.model import ContainerState, Fault
from volantd.core.queueing import fail_waiting
from volantd.core.scaling.waiting import leave, serve_waiting
from volantd.core.scaling.yielding import has_surplus

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Container, Pool, State

#: Why a container is stopped whose pool was given a lower maximum.
SURPLUS = "its function has more containers than its maximum"


def drop_pool(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Removes a pool: fails all its inputs as stopped, and ends its containers."""
    del state.pools[pool.pool_id]
    pool.removed = True
    leave(state, pool)
    state.stranded.pop(pool, None)
    for container in list(pool.containers.values()):
        if container.state is not ContainerState.STOPPING:
            close(state, container, "its app was stopped", now, out)
    fail_waiting(state, pool, Fault.STOPPED, None, out)
    serve_waiting(state, now, out)


def scale_down(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Stops containers that were idle for the pool's window, the longest idle first.

    Those above the pool's maximum do not wait for that.
    """
    if has_surplus(pool):
        _drop_surplus(state, pool, now, out)
    while pool.idle and pool.live > pool.floor:
        container = longest_idle(pool)
        if container is None:
            return
        due = idle_due(pool, container)
        if due > now:
            state.arm(container, due)
            return
        stop(state, container, False, "idle", now, out)


def note_demand(state: State, pool: Pool, now: float) -> None:
    """Remembers what a pool with a reserve needs, and has it looked at when that may be less."""
    pool.recent_demand.note(pool.demand, now, pool.config.scaledown_window_s)
    arm_idle(state, pool)


def _drop_surplus(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Stops containers above the pool's maximum that run nothing: the latest starts first."""
    starting = [c for c in pool.containers.values() if c.state is ContainerState.STARTING]
    idle = [container for container in pool.idle if not container.commands]
    for container in [*reversed(starting), *idle]:
        if not has_surplus(pool):
            return
        is_starting = container.state is ContainerState.STARTING
        stop(state, container, is_starting, SURPLUS, now, out)


def set_commands(
    state: State, container: Container, count: int, now: float, out: list[Command]
) -> None:
    """Notes how many commands run in a container; with the last of them its idle window begins."""
    had_some = container.commands > 0
    container.commands = count
    pool = container.pool
    if container not in pool.idle:
        return
    if had_some and not count:
        pool.idle.remove(container)
        container.idle_since = now
        pool.idle.append(container)
        state.fleet.note_idle(container)
        if state.waiting:
            serve_waiting(state, now, out)
    scale_down(state, pool, now, out)
