"""Containers that leave for a waiting pool: idle ones now, busy ones once they are free.

Idle containers that their pool can spare leave, and busy ones yield between two batches when their
pool holds more than its share. On which machine room is made and kept for a waiting pool is its
nominee.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.containers import stop

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Container, Pool, State
    from volantd.core.nodes.node import Node
    from volantd.core.records.ledger import Shortage

#: Needs for which a container that is free is looked at whether it shall leave.
HEADS_MAX = 8


def choose(state: State, pool: Pool, node: Node | None) -> None:
    """Keeps and makes room for a waiting pool on another machine, or none, from now on."""
    if pool.nominee is not None and pool.nominee is not node:
        state.fleet.news[pool.nominee] = None  # what was kept there, others can have
    pool.nominee = node
    if node is not None and pool.need.gpus:
        pool.kept = node.ledger.gpus.suiting(pool.need.gpus)


def is_starved(state: State, pool: Pool, now: float) -> bool:
    """Whether a waiting pool has work, no container, and waited too long for one."""
    if pool.live or not pool.queued_inputs:
        return False
    due = state.waiting.since(pool) + state.limits.starved_s
    state.arm(pool, due if due > now else now + state.limits.starved_s)
    return due <= now


def make_room(state: State, head: Pool, now: float, out: list[Command]) -> None:
    """Stops idle containers that other pools can spare, if that makes room for ``head``.

    All of them are on one machine: the nominee, or else one of a few others that have any.
    """
    if head.looked_as is not None and not state.fleet.idled:
        return
    starved = is_starved(state, head, now)
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
                choose(state, head, node)
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
        short_count -= container.need.places
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
            if is_starved(state, head, now) or (
                pool.live > pool.config.min_containers
                and pool.weight - pool.config.gang_size >= head.weight + head.config.gang_size
            ):
                choose(state, head, node)
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
