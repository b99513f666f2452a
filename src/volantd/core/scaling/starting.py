"""How many containers a pool wants, and the start of one where there is room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.autoscale import desired_containers
from volantd.core.commands import StartContainer
from volantd.core.containers import arm_idle
from volantd.core.model import INFINITY, Container, Fault
from volantd.core.queueing import fail_waiting
from volantd.core.sharing import needs_another

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Pool, State
    from volantd.core.nodes.node import Node
    from volantd.core.records.gpus import Gpu


def starts_wanted(state: State, pool: Pool, now: float) -> int:
    """How many starts the pool wants at once, were there room for all."""
    config = pool.config
    if pool.removed or (pool.broken and not pool.queued_inputs):
        return 0
    if pool.need.gpus and state.fleet.lacks_gpus(pool.need):
        state.stranded[pool] = None
        return 0
    if pool.queued_inputs:
        shared = config.max_inputs > 1
        desired = desired_containers(
            queued=pool.queued_inputs,
            running=pool.running_inputs,
            estimate_s=None if shared else pool.estimate_s,
            stalled=pool.stalled,
            containers_min=config.min_containers,
            containers_max=config.max_containers,
            buffer=config.buffer_containers,
            single_use=config.single_use,
            backlog_per_container_s=state.limits.backlog_per_container_s,
            inputs_per_container=config.inputs_per_container,
        )
        if shared and needs_another(state, pool):
            busy = pool.ready - len(pool.idle)
            desired = max(desired, min(busy + 1, config.max_containers))
    else:
        desired = pool.floor
    missing = desired - pool.starting - pool.ready
    if pool.is_renewing and not pool.starting and pool.ready < config.max_containers:
        missing = max(missing, 1)
    if missing <= 0:
        pool.short_since = INFINITY
        return 0
    if not _has_lasted(state, pool, now):
        return 0
    if now < pool.start_not_before:
        state.arm(pool, pool.start_not_before)
        return 0
    # As many again as work already, so that what starts slowly does not grow by a few at a time.
    at_once = max(state.limits.starts_in_flight_max // config.gang_size, pool.ready, 1)
    return min(missing, at_once - pool.starting)


def _has_lasted(state: State, pool: Pool, now: float) -> bool:
    """Whether a pool has needed more for so long that it shall get it."""
    window_s = pool.config.scaleup_window_s
    if not window_s or pool.live < max(1, pool.config.min_containers) or pool.is_renewing:
        return True
    pool.short_since = min(pool.short_since, now)
    due = pool.short_since + window_s
    if now < due:
        state.arm(pool, due)
    return now >= due


def start(
    state: State, pool: Pool, node: Node, gpus: tuple[Gpu, ...], now: float, out: list[Command]
) -> None:
    """Starts a container of a pool on a machine that has room for it."""
    container = Container(state.id_factory(), pool, node, gpus, now)
    assert container.container_id not in state.containers, container.container_id
    state.containers[container.container_id] = container
    pool.containers[container.container_id] = container
    pool.starting += 1
    state.fleet.book(container)
    state.arm(container, now + pool.config.startup_timeout_s)
    arm_idle(state, pool)
    limit = container.need.memory_limit_bytes
    out.append(StartContainer(
        pool.pool_id, container.container_id, gpus, limit, node.node_id, container.need.places
    ))  # fmt: skip
    if state.events is not None:
        state.events.append((now, "starting", container.container_id, pool.pool_id))


def start_failed(
    state: State,
    container: Container,
    reason: object,
    retryable: bool,
    now: float,
    out: list[Command],
) -> None:
    """Backs off after a failed start, and fails the waiting inputs when starts are hopeless.

    Starts that were under way together count as one attempt. While some container of the pool
    works, starting is possible, so nothing is failed.
    """
    limits = state.limits
    pool = container.pool
    if container.started_at > pool.failed_at:
        pool.start_failures += 1
        doublings = min(pool.start_failures - 1, 30)
        delay_s = min(limits.start_backoff_s * 2.0**doublings, limits.start_backoff_s_max)
        pool.start_not_before = now + delay_s
        pool.failed_at = now
    if pool.ready:
        return
    if not retryable or pool.start_failures >= limits.start_attempts_max:
        pool.start_failures = 0
        pool.broken = True
        state.stranded[pool] = None
        fail_waiting(state, pool, Fault.START_FAILED, reason, out)
