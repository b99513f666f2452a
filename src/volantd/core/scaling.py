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
from volantd.core.containers import arm_idle, close, idle_due, longest_idle, stop
from volantd.core.model import Container, ContainerState, Fault
from volantd.core.nodes.fleet import NO_GPUS, NO_NODES
from volantd.core.nodes.lack import Lack
from volantd.core.queueing import fail_waiting
from volantd.core.sharing import needs_another

if TYPE_CHECKING:
    from collections.abc import Collection, Set

    from volantd.core.commands import Command
    from volantd.core.model import Pool, State
    from volantd.core.nodes.node import Node
    from volantd.core.records.gpus import Gpu
    from volantd.core.records.ledger import Shortage

#: Why a container is stopped whose pool was given a lower maximum.
SURPLUS = "its function has more containers than its maximum"
#: Needs for which a container that is free is looked at whether it shall leave.
HEADS_MAX = 8


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
            state.waiting.join(pool, now)
        else:
            _leave(state, pool)
        serve_waiting(state, now, out)
        return
    config = pool.config
    live = pool.starting + pool.ready
    if (
        not pool.ring
        and live >= config.min_containers
        and not config.buffer_containers
        and not config.target_inputs
        and not pool.is_renewing
    ):
        return
    wanted = starts_wanted(state, pool, now)
    for _ in range(wanted):
        spot = state.fleet.place(pool)
        if spot is None:
            state.waiting.join(pool, now)
            serve_waiting(state, now, out)
            return
        _start(state, pool, *spot, now, out)


def _start(
    state: State, pool: Pool, node: Node, gpus: tuple[Gpu, ...], now: float, out: list[Command]
) -> None:
    container = Container(state.id_factory(), pool, node, gpus, now)
    assert container.container_id not in state.containers, container.container_id
    state.containers[container.container_id] = container
    pool.containers[container.container_id] = container
    pool.starting += 1
    state.fleet.book(container)
    state.arm(container, now + pool.config.startup_timeout_s)
    arm_idle(state, pool)
    limit = container.need.memory_limit_bytes
    out.append(StartContainer(pool.pool_id, container.container_id, gpus, limit, node.node_id))
    if state.events is not None:
        state.events.append((now, "starting", container.container_id, pool.pool_id))


def serve_waiting(state: State, now: float, out: list[Command]) -> None:
    """Gives free room to the waiting pools, one container each in turn.

    Pools with inputs come before those that fill up their minimum, and among them those with the
    fewest containers. What the first one that lacks memory waits for is kept for it on one machine;
    there a pool without a container may pass it, once; so a large request at the head does not keep
    the others from working.
    """
    fleet, waiting = state.fleet, state.waiting
    if waiting.settled and not fleet.news and not fleet.idled:
        return
    while waiting and _serve_one(state, now, out):
        pass
    waiting.settled = True
    fleet.forget_news()


def _serve_one(state: State, now: float, out: list[Command]) -> bool:
    """Serves the first waiting pool that can be; False when nothing changed by which others can.

    Who found no room before finds some only on machines of which there is news.
    """
    fleet, waiting = state.fleet, state.waiting
    first: Pool | None = None
    barred: Collection[Node] = NO_NODES
    withheld: dict[Node, Set[Gpu]] = {}
    for head in waiting.heads():
        has_turn = first is None and head.lacking is Lack.TURN
        if head.lacking is not Lack.UNKNOWN and not has_turn and not fleet.has_news_for(head):
            pool = head
            if head.lacking is Lack.TURN:
                continue
        else:
            if starts_wanted(state, head, now) <= 0:
                _leave(state, head)
                return True
            pool, spot = head, fleet.place(head, withheld, barred)
            if spot is None and first is not None:
                passer = _passer(state, head, first)
                if passer is None:
                    head.lacking = Lack.TURN
                    continue
                if starts_wanted(state, passer, now) <= 0:
                    _leave(state, passer)
                    return True
                pool, spot = passer, fleet.place(passer, withheld)
                if spot is not None:
                    pool.passed = waiting.since(first)
            if spot is not None:
                _serve(state, pool, spot, now, out)
                return True
            if not fleet.fits_ever(pool.need):
                _strand(state, pool, out)
                return True
            pool.lacking = Lack.GPUS if fleet.fits(pool.need) else Lack.MEMORY
        node = _nominate(state, pool, withheld)
        if pool.need.gpus:
            withheld[node] = withheld.get(node, NO_GPUS) | pool.kept
        if pool.lacking is Lack.MEMORY:
            if first is not None:
                continue
            first, barred = pool, (node,)
        _make_room(state, pool, now, out)
    return _has_new_first(state, first)


def _serve(
    state: State, pool: Pool, spot: tuple[Node, tuple[Gpu, ...]], now: float, out: list[Command]
) -> None:
    """Starts a container for a waiting pool, and has it wait for the next one it wants."""
    _leave(state, pool)
    _start(state, pool, *spot, now, out)
    if starts_wanted(state, pool, now) > 0:
        state.waiting.join(pool, now)


def _has_new_first(state: State, first: Pool | None) -> bool:
    """Whether what was kept for another first pool is free for all who wait, so that they try."""
    waiting = state.waiting
    old, waiting.first = waiting.first, first
    if old is first:
        return False
    nodes = [one.nominee for one in (old, first) if one is not None and one.nominee is not None]
    state.fleet.news |= dict.fromkeys(nodes)
    return bool(nodes)


def _passer(state: State, head: Pool, first: Pool) -> Pool | None:
    """Who of those that need what ``head`` needs may pass the first one that lacks memory."""
    if head.live:
        return None  # the others have some, too
    since = state.waiting.since(first)
    passer = head if head.passed != since else state.waiting.next_like(head, since)
    return None if passer is None or passer.live else passer


def _leave(state: State, pool: Pool) -> None:
    state.waiting.leave(pool)
    _choose(state, pool, None)


def _choose(state: State, pool: Pool, node: Node | None) -> None:
    """Keeps and makes room for a waiting pool on another machine, or none, from now on."""
    if pool.nominee is not None and pool.nominee is not node:
        state.fleet.news[pool.nominee] = None  # what was kept there, others can have
    pool.nominee = node
    if node is not None and pool.need.gpus:
        pool.kept = node.ledger.gpus.suiting(pool.need.gpus)


def _strand(state: State, pool: Pool, out: list[Command]) -> None:
    """Has a pool wait no more that no machine could ever hold; it fails if it has no container."""
    _leave(state, pool)
    state.stranded[pool] = None
    if pool.live:
        return
    largest = state.fleet.largest(pool.need)
    memory_bytes, containers_max = (
        (0, 0) if largest is None else (largest.memory_bytes, largest.containers_max)
    )
    detail = (
        f"a container of this function requests {pool.need.memory_bytes} bytes of memory,"
        f" and the machine gives {memory_bytes} bytes to at most {containers_max} containers"
    )
    pool.broken = True
    fail_waiting(state, pool, Fault.START_FAILED, detail, out)


def _nominate(state: State, pool: Pool, taken: Collection[Node]) -> Node:
    """The machine on which room is kept and made for a waiting pool that some machine could hold.

    It stays the same while it can, and is another than those taken if there is another.
    """
    node = pool.nominee
    if node is not None and pool.looked_as is not None:
        return node
    if node is None or node.removed or not node.could_hold(pool.need):
        fleet = state.fleet
        node = fleet.roomiest(pool.need, taken) or fleet.roomiest(pool.need)
        assert node is not None, pool.need
    _choose(state, pool, node)
    return node


def is_room(state: State, pool: Pool) -> bool:
    """Whether a container of the pool, which does not wait for room, could start now."""
    withheld: dict[Node, Set[Gpu]] = {}
    for other in state.waiting.heads():
        if not state.fleet.fits(other.need):
            return False
        if other.nominee is not None and other.need.gpus:
            withheld[other.nominee] = withheld.get(other.nominee, NO_GPUS) | other.kept
    return state.fleet.place(pool, withheld) is not None


def _is_starved(state: State, pool: Pool, now: float) -> bool:
    """Whether a waiting pool has work, no container, and waited too long for one."""
    if pool.live or not pool.queued_inputs:
        return False
    due = state.waiting.since(pool) + state.limits.starved_s
    state.arm(pool, due if due > now else now + state.limits.starved_s)
    return due <= now


def _make_room(state: State, head: Pool, now: float, out: list[Command]) -> None:
    """Stops idle containers that other pools can spare, if that makes room for ``head``.

    All of them are on one machine: the nominee, or else one of a few others that have any.
    """
    if head.looked_as is not None and not state.fleet.idled:
        return
    starved = _is_starved(state, head, now)
    nominee, fleet = head.nominee, state.fleet
    assert nominee is not None, head.pool_id
    nodes = fleet.with_idle(nominee)
    if head.looked_as == starved:
        nodes = iter(list(fleet.idled))  # it has looked at the others
    head.looked_as = starved
    for node in nodes:
        shortage = node.ledger.shortage(head.need)
        if shortage.is_over:
            if node is nominee:
                return
            continue
        if not node.idle or not node.could_hold(head.need):
            continue
        candidates = _spare(node, head, starved)
        for model, count in shortage.gpus or [("", 0)]:
            chosen = _who_has(candidates, shortage, model, count)
            for container in chosen:
                stop(state, container, False, "another function needs the room", now, out)
            if chosen:
                _choose(state, head, node)
                return


def _spare(node: Node, head: Pool, starved: bool) -> list[Container]:
    """The idle containers of a machine that can go, the longest idle one first."""
    left: dict[Pool, int] = {head: 0}
    spare: list[Container] = []
    for container in node.idle:
        if container.commands:
            continue
        pool = container.pool
        if pool not in left:
            left[pool] = len(pool.idle) - pool.gathering if starved else pool.live - pool.floor
        if left[pool] > 0:
            left[pool] -= 1
            spare.append(container)
    return spare


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


def has_surplus(pool: Pool) -> bool:
    """Whether a pool has more containers than its maximum, which was lowered."""
    return pool.starting + pool.ready > pool.config.max_containers


def should_yield(state: State, container: Container, now: float) -> bool:
    """Whether a container shall leave, once it is free.

    For a waiting pool that has fewer, or because its own was given a lower maximum.
    """
    pool, node = container.pool, container.node
    if container.commands:
        return False
    if has_surplus(pool):
        return True
    for head in state.waiting.heads()[:HEADS_MAX]:
        if head is pool or not head.queued_inputs:
            return False
        shortage = node.ledger.shortage(head.need)
        if shortage.is_relieved_by(container) and _is_the_place(head, container, shortage):
            if _is_starved(state, head, now) or (
                pool.live > max(pool.config.min_containers, head.live + 1)
            ):
                _choose(state, head, node)
                return True
            return False
        if not node.ledger.fits(head.need):
            return False
    return False


def _is_the_place(head: Pool, container: Container, shortage: Shortage) -> bool:
    """Whether room for a waiting pool is to be made where a container is.

    That is on its nominee; or elsewhere, if the end of this one container is enough and nothing is
    about to end on the nominee.
    """
    node, nominee = container.node, head.nominee
    if nominee is None or nominee is node or nominee.removed:
        return node.could_hold(head.need)
    if not _who_has([container], shortage, *next(iter(shortage.gpus), ("", 0))):
        return False
    return node.could_hold(head.need) and not nominee.ledger.shortage(head.need).is_over


def drop_pool(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Removes a pool: fails all its inputs as stopped, and ends its containers."""
    del state.pools[pool.pool_id]
    pool.removed = True
    _leave(state, pool)
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
