"""Which input goes to which container: dispatch, prefetching, sharing and reclaiming.

Every change of a pool ends in ``balance``, which leaves no idle container beside a queued input.
The most recently used idle container is taken first, so that the others can scale down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.autoscale import portion
from volantd.core.commands import Dispatch, Flush, Reclaim
from volantd.core.containers import arm_idle, blame_death, busy_deadline, clear_stall, stop
from volantd.core.model import INFINITY, ContainerState, ExitCause
from volantd.core.queueing import take
from volantd.core.scaling.retiring import SURPLUS, note_demand
from volantd.core.scaling.waiting import is_room, scale, serve_waiting
from volantd.core.scaling.yielding import has_surplus, should_yield
from volantd.core.sharing import group_due, next_with_room, runs_alone, sort_in

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Container, Pool, State

READY = ContainerState.READY


def balance(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Dispatches what can be dispatched, starts what must be started."""
    config = pool.config
    if not pool.ring:
        pass
    elif config.batch_size:
        _send_groups(state, pool, now, out)
    elif config.max_inputs > 1:
        _share_out(state, pool, now, out)
    else:
        idle = pool.idle
        while idle:
            send(state, pool, idle.pop(), now, out)
            if not pool.ring:
                break
        else:
            _prefetch(state, pool, now, out)
            watch(state, pool, now)
    scale(state, pool, now, out)
    if config.has_reserve:
        note_demand(state, pool, now)


def _send_groups(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Gives idle containers the inputs that are taken together, when enough came or it is time."""
    while pool.ring and pool.idle:
        due = group_due(pool, now)
        if due > now:
            state.arm(pool, due)
            return
        container, group = pool.idle.pop(), len(out)
        for _ in range(pool.config.batch_size):
            alone = runs_alone(state, pool.ring[0].queue[0])
            if alone and container.outstanding:
                break
            send(state, pool, container, now, out)
            if alone or not pool.ring:
                break
        for command in out[group:-1]:
            assert isinstance(command, Dispatch), command
            command.more = True


def send(state: State, pool: Pool, container: Container, now: float, out: list[Command]) -> None:
    """Dispatches the next queued inputs to a container that has room."""
    queue = pool.ring[0].queue
    size = queue[0].count
    if size > 1:
        size = _portion(state, pool, size)
    batch = take(state, pool, size)
    outstanding = container.outstanding
    if not outstanding:
        container.node.idle.pop(container, None)
        container.progress_at = now
        due = now + pool.config.timeout_s
        if due < container.timer_due:
            state.arm(container, due)
    outstanding[batch.batch_id] = batch
    container.inputs += size
    pool.running_inputs += size
    if pool.config.max_inputs > 1:
        batch.started_at = now
        state.arm(container, now + pool.config.timeout_s)
        sort_in(state, container)
    else:
        if pool.estimate_s is not None:
            pool.roomy[container.container_id] = container
        if container.inputs > 1:
            watch(state, pool, now)
    out.append(Dispatch(container.container_id, batch))
    if state.events is not None:
        state.events.append((now, "dispatched", container.container_id, batch.batch_id))


def _portion(state: State, pool: Pool, count: int) -> int:
    if pool.config.single_use or pool.config.max_inputs > 1 or pool.config.batch_size:
        return 1
    others = len(pool.ring) + len(pool.ring[0].queue) - 2
    return portion(
        count=count,
        estimate_s=pool.estimate_s,
        takers=len(pool.idle) + 1 - others,
        share_above_s=state.limits.share_above_s,
        batch_s_max=state.limits.batch_s_max,
    )


def _share_out(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Gives queued inputs one by one to the containers of a shared pool that have room."""
    yielding = withheld(state, pool, now)
    while pool.ring:
        container = next_with_room(state, pool, yielding)
        if container is None:
            break
        send(state, pool, container, now, out)


def withheld(state: State, pool: Pool, now: float) -> Container | None:
    """The busy container of a shared pool that gets no inputs, because it shall leave."""
    if not state.waiting and not has_surplus(pool):
        return None
    busy = [c for c in pool.containers.values() if c.outstanding and not c.commands]
    emptiest = min(busy, key=_inputs, default=None)
    # Among a steady stream of inputs no container would ever run empty, and then leave.
    if emptiest is not None and should_yield(state, emptiest, now):
        return emptiest
    return None


def _inputs(container: Container) -> int:
    return container.inputs


def _has_room(state: State, pool: Pool, container: Container) -> bool:
    """Whether a busy container is about to run dry."""
    limits = state.limits
    return (
        pool.estimate_s is not None
        and not container.stalled
        and 0 < len(container.outstanding) <= limits.prefetch_batches_max
        and container.inputs * pool.estimate_s < limits.prefetch_below_s
        and container.kill_due == INFINITY
        and not container.is_outdated
    )


def _prefetch(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Gives queued inputs to busy containers that are about to run dry."""
    if pool.config.single_use:
        return
    roomy = pool.roomy
    while pool.ring and roomy:
        container_id, container = next(iter(roomy.items()))
        del roomy[container_id]
        if _has_room(state, pool, container) and not should_yield(state, container, now):
            send(state, pool, container, now, out)


def refill(state: State, container: Container, now: float, out: list[Command]) -> None:
    """Decides what a container that made progress does next."""
    pool = container.pool
    if pool.config.max_inputs > 1:
        sort_in(state, container)
        if container.outstanding:
            if pool.config.has_reserve:
                note_demand(state, pool, now)
            return
    if not container.outstanding:
        container.kill_due = INFINITY
        if pool.config.single_use:
            stop(state, container, False, "single use", now, out)
        else:
            place(state, container, now, out)
        return
    if container.kill_due != INFINITY:
        state.arm(container, busy_deadline(state, container))
    if not pool.ring:
        pool.roomy[container.container_id] = container
    elif not should_yield(state, container, now):
        while pool.ring and _has_room(state, pool, container):
            send(state, pool, container, now, out)
    watch(state, pool, now)


def place(state: State, container: Container, now: float, out: list[Command]) -> None:
    """Gives a free container work, lets it go for another pool, or leaves it idle."""
    pool = container.pool
    clear_stall(container)
    config = pool.config
    live = pool.starting + pool.ready
    if container.is_outdated:
        stop(state, container, False, "it takes no more inputs", now, out)
        return
    if live > config.max_containers and not container.commands:
        stop(state, container, False, SURPLUS, now, out)
        return
    if state.waiting and should_yield(state, container, now):
        stop(state, container, False, "another function needs the room", now, out)
        return
    if pool.ring and not pool.config.batch_size:
        send(state, pool, container, now, out)
        return
    container.idle_since = now
    pool.idle.append(container)
    state.fleet.note_idle(container)
    if config.has_reserve:
        note_demand(state, pool, now)
    elif live > config.min_containers:
        arm_idle(state, pool)
    if state.waiting:
        serve_waiting(state, now, out)
    if pool.running_inputs > pool.ready - len(pool.idle):
        check_stalls(state, pool, now, out)


def break_off(state: State, container: Container, now: float, out: list[Command]) -> None:
    """Kills a container that reports what cannot be."""
    blame_death(state, container, ExitCause.CRASHED, "it broke the protocol", now, out)
    stop(state, container, True, "it broke the protocol", now, out)
    balance(state, container.pool, now, out)


def watch(state: State, pool: Pool, now: float) -> None:
    """Has the pool looked at again should its busy containers make no progress."""
    due = now + state.limits.stall_s
    if due < pool.timer_due:
        busy = pool.ready - len(pool.idle)
        if pool.stalled < busy and (pool.ring or pool.running_inputs > busy):
            state.arm(pool, due)


def check_stalls(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Marks containers without progress, and asks back what they did not start."""
    if pool.config.max_inputs > 1:
        return
    stall_s = state.limits.stall_s
    live_wanted = not pool.config.single_use and pool.live < pool.config.max_containers
    for container in pool.containers.values():
        if container.state is not READY or not container.outstanding:
            continue
        due = container.progress_at + stall_s
        if due > now:
            state.arm(pool, due)
            continue
        if not container.stalled:
            container.stalled = True
            pool.stalled += 1
            flush(container, out)
        if container.inputs <= 1:
            continue
        if pool.idle or (live_wanted and is_room(state, pool)):
            reclaim(container, out)
        elif live_wanted:
            # Room on the machine comes without an event for this pool.
            state.arm(pool, now + state.limits.starved_s)


def flush(container: Container, out: list[Command]) -> None:
    """Asks a container for results that it may hold back: what runs now may run for long."""
    batch = next(iter(container.outstanding.values()))
    if batch.count - batch.done > 1 and not batch.call.cancelled:
        out.append(Flush(container.container_id, batch.batch_id))


def reclaim(container: Container, out: list[Command]) -> None:
    """Asks a container for the inputs that it has not begun."""
    running = True
    for batch in container.outstanding.values():
        unstarted = batch.count - batch.done - running
        running = False
        if unstarted and not batch.reclaiming and not batch.call.cancelled:
            batch.reclaiming = True
            out.append(Reclaim(container.container_id, batch.batch_id))
