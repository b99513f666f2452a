"""Machines that come, change and go, and containers that go with them.

What is heard of a machine may come late, and in any order with what is heard of its containers.
So each life of a machine has a number, its incarnation; a removal ends that life for ever, and the
start of a later one ends those before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.containers import blame_death, bury, take_back
from volantd.core.dispatch import balance
from volantd.core.model import ContainerState, ExitCause
from volantd.core.scaling.starting import start_failed
from volantd.core.scaling.waiting import serve_waiting

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Container, Pool, State
    from volantd.core.nodes.node import NodeId
    from volantd.core.records.gpus import Gpu


def set_capacity(
    state: State, node_id: NodeId, incarnation: int, memory_bytes: float, containers_max: float,
    gpus: tuple[Gpu, ...], now: float, out: list[Command],
) -> None:  # fmt: skip
    """Adds a machine, or says what one has now; running containers are left alone."""
    fleet = state.fleet
    if fleet.is_over(node_id, incarnation):
        return
    node = fleet.nodes.get(node_id)
    if node is not None and node.incarnation < incarnation:
        remove(state, node_id, node.incarnation, now, out)
        node = None
    if node is None:
        node = fleet.add(node_id, incarnation)
    fleet.set_capacity(node, memory_bytes, containers_max, gpus)
    state.waiting.all_look_again()
    serve_waiting(state, now, out)
    stranded, state.stranded = state.stranded, {}
    for pool in stranded:
        if not pool.removed:
            pool.broken = False
            balance(state, pool, now, out)


def remove(state: State, node_id: NodeId, incarnation: int, now: float, out: list[Command]) -> None:
    """A machine is gone, and its containers with it: what they held runs elsewhere."""
    node = state.fleet.bury(node_id, incarnation)
    if node is None:
        return
    pools: dict[Pool, None] = {}
    for container in list(node.containers.values()):
        pools[container.pool] = None
        lose(state, container, ExitCause.KILLED, None, now, out)
    for pool in pools:
        if not pool.removed:
            balance(state, pool, now, out)
    state.waiting.all_look_again()
    serve_waiting(state, now, out)


def lose(
    state: State, container: Container, cause: ExitCause, detail: object, now: float,
    out: list[Command],
) -> None:  # fmt: skip
    """Takes a container out that is gone; its pool is to be balanced afterwards."""
    if state.events is not None:
        state.events.append((now, "exited", container.container_id, cause.name))
    # One that dies before it did anything would be started again for ever.
    unused = not container.outstanding and not container.completed
    failed_early = unused and container.state is not ContainerState.STOPPING
    if container.outstanding and cause is not ExitCause.STOPPED:
        blame_death(state, container, cause, detail, now, out)
    take_back(state, container, out)
    bury(state, container)
    if failed_early:
        reason = cause if detail is None else detail
        start_failed(state, container, reason, True, now, out)
