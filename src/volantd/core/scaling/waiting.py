"""Pools that want containers: started where there is room, served in turn where there is none.

A pool that finds no room in the ledger waits in ``state.waiting``; the pool with the fewest
containers is served first, and among equals the one that waits longest. Whatever frees room serves
the waiting pools. Queued inputs are looked at, never moved.

GPUs are kept for who waits before others: no pool gets a device that suits one which is served
before it, so that who needs eight is not starved by those who need one. Who lacks nothing but GPUs
holds up only those that want the same ones. A pool whose GPUs this machine has not does not wait
for room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.model import Fault
from volantd.core.nodes.fleet import NO_GPUS, NO_NODES
from volantd.core.nodes.lack import Lack
from volantd.core.queueing import fail_waiting
from volantd.core.scaling.starting import start, starts_wanted
from volantd.core.scaling.yielding import choose, make_room

if TYPE_CHECKING:
    from collections.abc import Collection, Set

    from volantd.core.commands import Command
    from volantd.core.model import Pool, State
    from volantd.core.nodes.node import Node
    from volantd.core.records.gpus import Gpu


def scale(state: State, pool: Pool, now: float, out: list[Command]) -> None:
    """Starts the containers that the pool wants now, as far as there is room."""
    if state.waiting:
        if starts_wanted(state, pool, now) > 0:
            state.waiting.join(pool, now)
        else:
            leave(state, pool)
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
        start(state, pool, *spot, now, out)


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

    Who found no room before finds some only on machines of which there is news. That is the way of
    nearly all heads, so it is a short one.
    """
    fleet = state.fleet
    first: Pool | None = None
    barred: Collection[Node] = NO_NODES
    withheld: dict[Node, Set[Gpu]] = {}
    news_bytes = fleet.news_bytes()
    for head in state.waiting.heads():
        lacking, need = head.lacking, head.need
        if lacking is Lack.TURN:
            has_turn = first is None
        else:
            has_turn = lacking is Lack.UNKNOWN or head.nominated_at != fleet.version
        if has_turn or (need.memory_bytes <= news_bytes and fleet.has_news_for(head)):
            pool = _try(state, head, first, withheld, barred, now, out)
            if pool is None:
                return True
            lacking = pool.lacking
        elif lacking is Lack.MEMORY and first is not None and not need.gpus:
            continue
        else:
            pool = head
        if lacking is Lack.TURN:
            continue
        node = nominate(state, pool, withheld)
        if need.gpus:
            kept = withheld.get(node, NO_GPUS)
            withheld[node] = kept | pool.kept if kept else pool.kept
        if lacking is Lack.MEMORY:
            if first is not None:
                continue
            first, barred = pool, (node,)
        if pool.looked_as is None or fleet.idled:
            make_room(state, pool, now, out)
    return _has_new_first(state, first)


def _try(
    state: State, head: Pool, first: Pool | None, withheld: dict[Node, Set[Gpu]],
    barred: Collection[Node], now: float, out: list[Command],
) -> Pool | None:  # fmt: skip
    """Serves a head, or who needs the same and may pass the first one; None: the line changed.

    Else who was looked at, with what it lacks.
    """
    fleet = state.fleet
    pool = head
    is_new = head.lacking is Lack.UNKNOWN or head.nominated_at != fleet.version
    if starts_wanted(state, head, now) <= 0:
        leave(state, head)
        return None
    spot = None
    if is_new or head.lacking is Lack.TURN or fleet.has_news_for(head, barred):
        spot = fleet.place(head, withheld, barred)
    if spot is None and first is not None:
        passer = _passer(state, head, first)
        if passer is None:
            head.lacking = Lack.TURN
            return head
        if starts_wanted(state, passer, now) <= 0:
            leave(state, passer)
            return None
        pool, spot = passer, fleet.place(passer, withheld)
        if spot is not None:
            pool.passed = state.waiting.since(first)
    if spot is not None:
        _serve(state, pool, spot, now, out)
        return None
    if is_new and not fleet.fits_ever(pool.need):
        _strand(state, pool, out)
        return None
    pool.lacking = Lack.GPUS if fleet.fits(pool.need) else Lack.MEMORY
    return pool


def _serve(
    state: State, pool: Pool, spot: tuple[Node, tuple[Gpu, ...]], now: float, out: list[Command]
) -> None:
    """Starts a container for a waiting pool, and has it wait for the next one it wants."""
    leave(state, pool)
    start(state, pool, *spot, now, out)
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


def leave(state: State, pool: Pool) -> None:
    """Has a pool wait no more, and keeps no room for it."""
    state.waiting.leave(pool)
    choose(state, pool, None)


def _strand(state: State, pool: Pool, out: list[Command]) -> None:
    """Has a pool wait no more that no machine could ever hold; it fails if it has no container."""
    leave(state, pool)
    state.stranded[pool] = None
    if pool.live:
        return
    largest = state.fleet.largest(pool.need)
    memory_bytes, containers_max = (
        (0, 0) if largest is None else (largest.memory_bytes, largest.containers_max)
    )
    places = pool.need.places
    what = "a container" if places == 1 else f"a cluster of {places} containers"
    detail = (
        f"{what} of this function requests {pool.need.memory_bytes} bytes of memory,"
        f" and the machine gives {memory_bytes} bytes to at most {containers_max} containers"
    )
    pool.broken = True
    fail_waiting(state, pool, Fault.START_FAILED, detail, out)


def nominate(state: State, pool: Pool, taken: Collection[Node]) -> Node:
    """The machine on which room is kept and made for a waiting pool that some machine could hold.

    It stays the same while it can, and is another than those taken if there is another.
    """
    node = pool.nominee
    if node is not None and pool.nominated_at == state.fleet.version:
        return node
    pool.nominated_at = state.fleet.version
    if node is None or node.removed or not node.could_hold(pool.need):
        fleet = state.fleet
        node = fleet.roomiest(pool.need, taken) or fleet.roomiest(pool.need)
        assert node is not None, pool.need
    choose(state, pool, node)
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
