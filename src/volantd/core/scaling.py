"""Starting and retiring containers: the autoscaler's hands, and fair sharing of the machine.

A pool that wants a container and finds no room in the ledger waits in ``state.waiting``; the pool
with the fewest containers is served first, and among equals the one that waits longest. Whatever
frees room serves the waiting pools. Idle containers that their pool can spare leave for a waiting
pool, and busy ones yield between two batches when their pool holds more than its share. Queued
inputs are looked at, never moved.

GPUs are kept for who waits before others: no pool gets a device that suits one which is served
before it, so that who needs eight is not starved by those who need one. Who lacks nothing but GPUs
holds up only those that want the same ones. A pool whose GPUs this machine has not does not wait
for room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.autoscale import desired_containers
from volantd.core.commands import StartContainer
from volantd.core.containers import arm_idle, idle_due, longest_idle, stop
from volantd.core.model import INFINITY, Container, ContainerState, Fault
from volantd.core.queueing import fail_waiting
from volantd.core.sharing import needs_another

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Pool, State
    from volantd.core.records.gpus import Gpu
    from volantd.core.records.ledger import Shortage

#: Why a container is stopped whose pool was given a lower maximum.
SURPLUS = "its function has more containers than its maximum"


def starts_wanted(state: State, pool: Pool, now: float) -> int:
    """How many starts the pool wants at once, were there room for all."""
    config = pool.config
    if pool.removed or (pool.broken and not pool.queued_inputs):
        return 0
    if pool.need.gpus and state.ledger.lacks_gpus(pool.need):
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
    if missing <= 0:
        return 0
    if now < pool.start_not_before:
        state.arm(pool, pool.start_not_before)
        return 0
    # As many again as work already, so that what starts slowly does not grow by a few at a time.
    at_once = max(state.limits.starts_in_flight_max, pool.ready)
    return min(missing, at_once - pool.starting)


def scale(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Starts the containers that the pool wants now, as far as there is room."""
    if state.waiting:
        if starts_wanted(state, pool, now) > 0:
            state.waiting.setdefault(pool, now)
        serve_waiting(state, now, out)
        return
    config = pool.config
    live = pool.starting + pool.ready
    if (
        not pool.ring
        and live >= config.min_containers
        and not config.buffer_containers
        and not config.target_inputs
    ):
        return
    wanted = starts_wanted(state, pool, now)
    for _ in range(wanted):
        gpus = state.ledger.grant(pool.need)
        if gpus is None:
            state.waiting[pool] = now
            serve_waiting(state, now, out)
            return
        _start(state, pool, gpus, now, out)


def _start(state: State, pool: Pool, gpus: tuple[Gpu, ...], now: float, out: list[Command]) -> None:
    container = Container(state.id_factory(), pool, gpus, now)
    assert container.container_id not in state.containers, container.container_id
    state.containers[container.container_id] = container
    pool.containers[container.container_id] = container
    pool.starting += 1
    state.ledger.book(container)
    state.arm(container, now + pool.config.startup_timeout_s)
    arm_idle(state, pool)
    limit = container.need.memory_limit_bytes
    out.append(StartContainer(pool.pool_id, container.container_id, gpus, limit))
    if state.events is not None:
        state.events.append((now, "starting", container.container_id, pool.pool_id))


def serve_waiting(state: State, now: float, out: list[Command]) -> None:
    """Gives free room to the waiting pools, one container each in turn.

    Pools with inputs come before those that fill up their minimum, and among them those with the
    fewest containers. One without any may pass those before it, which lack room, once; so a large
    request at the head does not keep the others from working.
    """
    waiting = state.waiting
    served = True
    while served and waiting:
        served = False
        head_since: float | None = None
        withheld: set[Gpu] = set()
        for pool, since in sorted(waiting.items(), key=_urgency):
            if starts_wanted(state, pool, now) <= 0:
                del waiting[pool]
                continue
            if head_since is not None and (pool.live or pool.passed == head_since):
                continue
            gpus = state.ledger.grant(pool.need, withheld)
            if gpus is not None:
                if head_since is not None:
                    pool.passed = head_since
                del waiting[pool]
                _start(state, pool, gpus, now, out)
                if starts_wanted(state, pool, now) > 0:
                    waiting[pool] = now
                served = True
                break
            if not state.ledger.fits_ever(pool.need):
                del waiting[pool]
                if not pool.live:
                    _fail_oversized(state, pool, out)
                continue
            withheld |= state.ledger.gpus.suiting(pool.need.gpus)
            if state.ledger.fits(pool.need):
                _make_room(state, pool, now, out)
            elif head_since is None:
                head_since = since
                _make_room(state, pool, now, out)


def is_room(state: State, pool: Pool) -> bool:
    """Whether a container of the pool, which does not wait for room, could start now."""
    withheld: set[Gpu] = set()
    for other in state.waiting:
        if not state.ledger.fits(other.need):
            return False
        withheld |= state.ledger.gpus.suiting(other.need.gpus)
    return state.ledger.grant(pool.need, withheld) is not None


def _fail_oversized(state: State, pool: Pool, out: list[Command]) -> None:
    detail = (
        f"a container of this function requests {pool.need.memory_bytes} bytes of memory,"
        f" and the machine gives {state.ledger.memory_bytes} bytes"
        f" to at most {state.ledger.containers_max} containers"
    )
    pool.broken = True
    fail_waiting(state, pool, Fault.START_FAILED, detail, out)


def _is_starved(state: State, pool: Pool, now: float) -> bool:
    """Whether a waiting pool has work, no container, and waited too long for one."""
    if pool.live or not pool.queued_inputs:
        return False
    due = state.waiting[pool] + state.limits.starved_s
    if due > now:
        state.arm(pool, due)
        return False
    return True


def _make_room(state: State, head: Pool, now: float, out: list[Command]) -> None:
    """Stops idle containers that other pools can spare, if that makes room for ``head``."""
    shortage = state.ledger.shortage(head.need)
    starved = _is_starved(state, head, now)
    if shortage.is_over:
        return
    candidates: list[Container] = []
    for pool in state.pools.values():
        if pool is not head and pool.idle:
            spare = len(pool.idle) - pool.gathering if starved else pool.live - pool.floor
            candidates += [one for one in pool.idle if not one.commands][: max(spare, 0)]
    candidates.sort(key=_idle_since)
    for model, count in shortage.gpus or [("", 0)]:
        chosen = _who_has(candidates, shortage, model, count)
        for container in chosen:
            stop(state, container, False, "another function needs the room", now, out)
        if chosen:
            return


def _who_has(
    candidates: list[Container], shortage: Shortage, model: str, gpu_count: int
) -> list[Container]:
    """The first containers whose ends make up for a shortage; none when all of them do not."""
    short_bytes, short_count = shortage.memory_bytes, shortage.containers_count
    chosen: list[Container] = []
    for container in candidates:
        if short_bytes <= 0 and short_count <= 0 and gpu_count <= 0:
            break
        suiting = sum(gpu.model == model for gpu in container.gpus) if gpu_count > 0 else 0
        memory_bytes = container.need.memory_bytes
        if short_count <= 0 and not suiting and (short_bytes <= 0 or not memory_bytes):
            continue
        chosen.append(container)
        short_bytes -= memory_bytes
        short_count -= 1
        gpu_count -= suiting
    return chosen if short_bytes <= 0 and short_count <= 0 and gpu_count <= 0 else []


def _urgency(waiting: tuple[Pool, float]) -> float:
    """Sorts waiting pools: those with inputs by how few containers they have; then the others.

    Whoever has many and waits for more must not stand before one with few: nobody would yield to
    it, and so nobody would get any.
    """
    pool, _ = waiting
    return pool.live if pool.queued_inputs else INFINITY


def _idle_since(container: Container) -> float:
    return container.idle_since


def has_surplus(pool: Pool) -> bool:
    """Whether a pool has more containers than its maximum, which was lowered."""
    return pool.starting + pool.ready > pool.config.max_containers


def should_yield(state: State, container: Container, now: float) -> bool:
    """Whether a container shall leave, once it is free.

    For a waiting pool that has fewer, or because its own was given a lower maximum.
    """
    pool = container.pool
    if container.commands:
        return False
    if has_surplus(pool):
        return True
    for head, _ in sorted(state.waiting.items(), key=_urgency):
        if head is pool or not head.queued_inputs:
            return False
        shortage = state.ledger.shortage(head.need)
        if shortage.is_relieved_by(container):
            if _is_starved(state, head, now):
                return True
            return pool.live > max(pool.config.min_containers, head.live + 1)
        if not state.ledger.fits(head.need):
            return False
    return False


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
        if state.waiting:
            serve_waiting(state, now, out)
    scale_down(state, pool, now, out)


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
        fail_waiting(state, pool, Fault.START_FAILED, reason, out)
