"""Plain records that tell people and programs what the scheduler holds. Reading changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.core.model import ContainerState

if TYPE_CHECKING:
    from volantd.core.model import CallId, ContainerId, Pool, PoolId, State


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatistics:
    """One container; times are on the caller's monotonic clock."""

    container_id: ContainerId
    pool_id: PoolId
    state: ContainerState
    idle: bool
    started_at: float
    progress_at: float
    #: Inputs it holds, and inputs it finished.
    inputs: int
    completed: int
    #: Calls of the batches that it holds, the running one first.
    call_ids: tuple[CallId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LackOfRoom:
    """What a pool that waits for room on the machine wants, and what there is of it."""

    memory_bytes: int
    memory_free_bytes: float
    memory_total_bytes: float
    containers: int
    containers_max: float

    @property
    def is_of_memory(self) -> bool:
        """Whether memory is what lacks; else it is the number of containers."""
        return self.memory_bytes > self.memory_free_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """One pool's backlog and containers."""

    pool_id: PoolId
    queued_inputs: int
    running_inputs: int
    delayed_inputs: int
    starting: int
    ready: int
    idle: int
    stopping: int
    waits_for_room: bool
    #: It has inputs, and this machine no GPU that would do.
    lacks_gpus: bool
    start_failures: int
    estimate_s: float | None
    #: Inputs that run, as far as can be known: containers hold further ones ahead.
    begun_inputs: int
    #: Inputs that ready containers could begin at once.
    headroom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStatistics:
    """One call's progress: of ``submitted`` inputs, ``unfinished`` have no outcome yet."""

    call_id: CallId
    pool_id: PoolId
    submitted: int
    unfinished: int
    closed: bool
    cancelled: bool
    finished: bool


def containers(state: State) -> list[ContainerStatistics]:
    """All containers that are not gone, oldest first."""
    return [
        ContainerStatistics(
            container_id=container.container_id,
            pool_id=container.pool.pool_id,
            state=container.state,
            idle=container.state is ContainerState.READY and not container.outstanding,
            started_at=container.started_at,
            progress_at=container.progress_at,
            inputs=container.inputs,
            completed=container.completed,
            call_ids=tuple(batch.call_id for batch in container.outstanding.values()),
        )
        for container in state.containers.values()
    ]


def pools(state: State) -> list[PoolStatistics]:
    """All pools, oldest first."""
    return [of_pool(state, pool) for pool in state.pools.values()]


def of_pool(state: State, pool: Pool) -> PoolStatistics:
    """One pool."""
    idle, max_inputs = len(pool.idle), pool.config.max_inputs
    begun = pool.running_inputs if max_inputs > 1 else pool.ready - idle
    return PoolStatistics(
        pool_id=pool.pool_id,
        queued_inputs=pool.queued_inputs,
        running_inputs=pool.running_inputs,
        delayed_inputs=pool.delayed_inputs,
        starting=pool.starting,
        ready=pool.ready,
        idle=idle,
        stopping=len(pool.containers) - pool.starting - pool.ready,
        waits_for_room=pool in state.waiting,
        lacks_gpus=pool.queued_inputs > 0 and state.fleet.lacks_gpus(pool.need),
        start_failures=pool.start_failures,
        estimate_s=pool.estimate_s,
        begun_inputs=begun,
        headroom=pool.ready * max_inputs - begun,
    )


def lack_of_room(state: State, pool: Pool) -> LackOfRoom | None:
    """What a pool waits for on the machine that lacks least; None while it waits for no room."""
    need, fleet = pool.need, state.fleet
    node = pool.nominee or fleet.roomiest(need)
    if pool not in state.waiting or fleet.fits(need) or node is None:
        return None
    ledger = node.ledger
    return LackOfRoom(
        memory_bytes=need.memory_bytes,
        memory_free_bytes=max(ledger.memory_bytes - ledger.booked_bytes, 0),
        memory_total_bytes=ledger.memory_bytes,
        containers=ledger.booked_count,
        containers_max=ledger.containers_max,
    )


def calls(state: State) -> list[CallStatistics]:
    """All calls that were not forgotten, oldest first."""
    return [
        CallStatistics(
            call_id=call.call_id,
            pool_id=call.pool.pool_id,
            submitted=call.submitted,
            unfinished=call.unfinished,
            closed=call.closed,
            cancelled=call.cancelled,
            finished=call.finished,
        )
        for call in state.calls.values()
    ]
