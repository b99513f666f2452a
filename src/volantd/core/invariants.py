"""What is true between any two events. Asserted by the simulator and the tests after each one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from volantd.core.containers import idle_due, longest_idle
from volantd.core.model import INFINITY, ContainerState
from volantd.core.sharing import earliest_due, runs_alone

if TYPE_CHECKING:
    from volantd.core.model import Batch, Container, Pool, State
    from volantd.core.records.ledger import Ledger


def check(state: State) -> None:
    """Asserts every invariant; linear in the size of the state."""
    _check_nodes(state)
    _check_calls(state)
    for pool in state.pools.values():
        assert not pool.removed
        _check_containers(state, pool)
        _check_queues(pool)
        _check_progress(state, pool)


def _check_nodes(state: State) -> None:
    """Each machine's account is what its containers add up to, and the index knows it."""
    fleet = state.fleet
    held = {c.container_id for node in fleet.nodes.values() for c in node.containers.values()}
    assert held == set(state.containers), "a container is on no machine"
    for node_id, node in fleet.nodes.items():
        assert node.node_id == node_id
        assert fleet.numbered[node.order] is node
        assert not node.removed
        containers = list(node.containers.values())
        _check_ledger(node.ledger, containers)
        idle = {c for c in containers if c.state is ContainerState.READY and not c.outstanding}
        assert set(node.idle) == idle
        assert not idle or node in fleet.idling
        fleet.check_filed(node)
    assert len(fleet.numbered) == len(fleet.nodes)
    for container_id, container in state.containers.items():
        assert container.container_id == container_id
        assert container.pool.containers[container_id] is container
        assert not (container.pool.removed and container.state is not ContainerState.STOPPING)
    for pool in state.waiting:
        assert state.pools.get(pool.pool_id) is pool
        assert state.waiting.urgency(pool) == pool.urgency or not pool.queued_inputs


def _check_ledger(ledger: Ledger, containers: list[Container]) -> None:
    stopping = [c for c in containers if c.state is ContainerState.STOPPING]
    assert ledger.booked_count == sum(c.need.places for c in containers)
    assert ledger.booked_bytes == sum(c.need.memory_bytes for c in containers)
    assert ledger.leaving_count == sum(c.need.places for c in stopping)
    assert ledger.leaving_bytes == sum(c.need.memory_bytes for c in stopping)
    granted = [gpu for c in containers for gpu in c.gpus]
    assert len(granted) == len(set(granted)), "a GPU has two owners"
    assert ledger.gpus.granted == set(granted)
    assert ledger.gpus.leaving == {gpu for c in stopping for gpu in c.gpus}


def _check_containers(state: State, pool: Pool) -> None:
    containers = list(pool.containers.values())
    ready = [c for c in containers if c.state is ContainerState.READY]
    idle = [c for c in ready if not c.outstanding]
    assert pool.ready == len(ready)
    assert pool.starting == sum(c.state is ContainerState.STARTING for c in containers)
    assert pool.stalled == sum(c.stalled for c in containers)
    assert len(pool.idle) == len(idle)
    assert set(map(id, pool.idle)) == set(map(id, idle))
    since = [c.idle_since for c in pool.idle]
    assert since == sorted(since)
    assert not any(c.is_outdated for c in pool.idle)
    assert pool.running_inputs == sum(c.inputs for c in ready)
    counts = Counter(container.node for container in containers)
    assert {node: count for node, count in pool.nodes.items() if count} == counts
    for container in containers:
        _check_container(container)
    for container in pool.roomy.values():
        assert container.state is ContainerState.READY
    if pool.config.max_inputs > 1:
        _check_shared(state, pool, ready)


def _check_shared(state: State, pool: Pool, ready: list[Container]) -> None:
    """Each busy container is filed by the room that it has, and holds no more than it may."""
    config = pool.config
    filed: dict[int, str] = {id(c): "below" for c in pool.roomy.values()}
    filed |= {id(c): "above" for c in pool.bursting.values()}
    assert len(filed) == len(pool.roomy) + len(pool.bursting)
    assert not pool.stalled
    for container in ready:
        batches = list(container.outstanding.values())
        assert len(batches) <= config.max_inputs, "too many inputs at once"
        assert all(batch.count == 1 and not batch.reclaiming for batch in batches)
        alone = any(runs_alone(state, batch) for batch in batches)
        assert len(batches) <= 1 or not alone, "a suspect has neighbours"
        where = "above" if len(batches) >= config.inputs_per_container else "below"
        full = alone or len(batches) in {0, config.max_inputs}
        full = full or config.batch_size > 0 or container.is_outdated
        assert filed.get(id(container)) == (None if full else where)
        if batches:
            assert container.timer_due <= earliest_due(state, container)


def _check_container(container: Container) -> None:
    left = 0
    for batch_id, batch in container.outstanding.items():
        assert batch.batch_id == batch_id
        assert 0 <= batch.done < batch.count
        assert batch.call.pool is container.pool
        left += batch.count - batch.done
    assert container.inputs == left
    assert container.commands >= 0
    if container.state is not ContainerState.READY:
        assert not container.outstanding
        assert not container.stalled
    if container.need.places > 1:
        assert len(container.gpus) % container.need.places == 0, "a gang shares a GPU"
    if container.pool.config.single_use or container.pool.config.gang_size > 1:
        assert left <= 1
    if container.outstanding:
        endless = all(batch.call.is_lease for batch in container.outstanding.values())
        endless = endless or container.pool.config.timeout_s == INFINITY
        assert container.timer_due < INFINITY or endless


def _check_queues(pool: Pool) -> None:
    queued = 0
    assert len({call.call_id for call in pool.ring}) == len(pool.ring)
    for call in pool.ring:
        assert call.in_ring
        assert call.pool is pool
        assert call.queue
        assert not call.cancelled
        for batch in call.queue:
            assert batch.count > 0
            assert batch.done == 0
            assert batch.call is call
            assert batch.count == 1 or (not batch.attempt and not batch.platform_attempt)
            queued += batch.count
    assert pool.queued_inputs == queued


def _check_calls(state: State) -> None:
    unfinished: dict[int, int] = {}
    delayed: dict[int, int] = {}
    held: list[Batch] = [
        batch for c in state.containers.values() for batch in c.outstanding.values()
    ]
    for batch in held:
        left = batch.count - batch.done
        unfinished[id(batch.call)] = unfinished.get(id(batch.call), 0) + left
    for call in state.calls.values():
        assert call.in_ring == bool(call.queue)
        waiting = list(call.queue)
        if call.delayed:
            waiting += call.delayed.values()
            total = sum(batch.count for batch in call.delayed.values())
            delayed[id(call.pool)] = delayed.get(id(call.pool), 0) + total
        known = unfinished.get(id(call), 0) + sum(batch.count for batch in waiting)
        assert call.unfinished == known, (call.call_id, call.unfinished, known)
        assert not (call.cancelled and waiting)
        assert not (call.finished and call.unfinished)
        assert call.cancelled or not call.closed or call.finished == (not call.unfinished)
    for pool in state.pools.values():
        assert pool.delayed_inputs == delayed.get(id(pool), 0)


def _check_progress(state: State, pool: Pool) -> None:
    """No pool is left where only luck would move it on."""
    config = pool.config
    if pool.idle and pool.ring:
        is_gathering = config.batch_size > pool.queued_inputs and pool.timer_due < INFINITY
        assert is_gathering, "idle container beside a queued input"
    longest = longest_idle(pool)
    if longest is not None and pool.live > pool.floor:
        assert longest.timer_due <= idle_due(pool, longest)
    if pool.ring and not pool.live:
        waits_for_time = pool.timer_due < INFINITY
        waits = waits_for_time or state.fleet.lacks_gpus(pool.need)
        assert pool in state.waiting or waits, "nobody will start a container"
    for container in pool.containers.values():
        if container.state is ContainerState.STARTING:
            assert container.timer_due <= container.started_at + config.startup_timeout_s
