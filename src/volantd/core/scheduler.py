"""The one object that decides: events in, commands out, time as an argument.

Owns ``State`` and is the only door to it. Events that name a container which is unknown, or a
batch which the container does not hold any more, are late and change nothing; events that name an
unknown call or pool are mistakes of the caller and raise ``UnknownIdError``. ``now`` is monotonic
seconds and never goes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core import statistics
from volantd.core.commands import CallCancelled, StopContainer
from volantd.core.containers import bury, cancel, take_back
from volantd.core.deadlines import look_at
from volantd.core.dispatch import balance, place
from volantd.core.invariants import check
from volantd.core.model import (
    INFINITY,
    Batch,
    Call,
    ContainerState,
    ExitCause,
    Fault,
    Pool,
    State,
    UnknownIdError,
)
from volantd.core.nodes import changes
from volantd.core.nodes.node import LOCAL
from volantd.core.pools import health, lending, renewal
from volantd.core.queueing import (
    enqueue,
    fail_waiting,
    new_batch,
    settle,
)
from volantd.core.records.configuration import Limits
from volantd.core.reports import Reports
from volantd.core.scaling.retiring import drop_pool, scale_down, set_commands
from volantd.core.scaling.starting import start_failed
from volantd.core.scaling.waiting import serve_waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core.commands import Command
    from volantd.core.model import CallId, ContainerId, Event, PoolId
    from volantd.core.nodes.node import NodeId
    from volantd.core.pools.lending import Lending
    from volantd.core.records.configuration import PoolConfig
    from volantd.core.records.gpus import Gpu
    from volantd.core.statistics import CallStatistics, ContainerStatistics, PoolStatistics


class Scheduler(Reports):
    """Calls, pools, machines and containers of one hub.

    Args:
        id_factory: gives the id of each new container; never the same twice.
        limits: the scheduler's own thresholds.
        local: whether there is a machine, without limits, from the start.
    """

    __slots__ = ()

    def __init__(
        self,
        id_factory: Callable[[], ContainerId],
        limits: Limits | None = None,
        *,
        local: bool = True,
    ) -> None:
        super().__init__(State(id_factory, limits or Limits()))
        if local:
            self.set_capacity(INFINITY, INFINITY, 0.0)

    # Pools and machines

    def set_capacity(
        self,
        memory_bytes: float,
        max_containers: float,
        now: float,
        gpus: tuple[Gpu, ...] = (),
        node_id: NodeId = LOCAL,
        incarnation: int = 0,
    ) -> list[Command]:
        """Adds a machine, or says what it has now; running containers are left alone.

        ``inf`` is no limit. Of a machine that comes back the incarnation is higher than before.
        """
        out: list[Command] = []
        changes.set_capacity(
            self.state, node_id, incarnation, memory_bytes, max_containers, gpus, now, out
        )
        return out

    def remove_node(self, node_id: NodeId, now: float, incarnation: int = 0) -> list[Command]:
        """A machine is gone for ever, with its containers; only a later incarnation comes back."""
        out: list[Command] = []
        changes.remove(self.state, node_id, incarnation, now, out)
        return out

    def add_pool(self, pool_id: PoolId, config: PoolConfig, now: float) -> list[Command]:
        """Adds a pool; one of the same id must not exist."""
        assert pool_id not in self.state.pools, pool_id
        out: list[Command] = []
        pool = self.state.pools[pool_id] = Pool(pool_id, config)
        balance(self.state, pool, now, out)
        return out

    def has_pool(self, pool_id: PoolId) -> bool:
        """Whether the pool exists."""
        return pool_id in self.state.pools

    def update_pool_config(self, pool_id: PoolId, config: PoolConfig, now: float) -> list[Command]:
        """Replaces all but ``max_inputs`` and ``gang_size``; containers keep their booking."""
        out: list[Command] = []
        renewal.reconfigure(self.state, self._pool(pool_id), config, now, out)
        return out

    def renew_pool(self, pool_id: PoolId, at_once: bool, now: float) -> list[Command]:
        """Has the pool's containers give way to ones that are started from now on.

        Args:
            pool_id: the pool.
            at_once: stop them, and run their inputs again; else they end when they have finished
                theirs, and work on until the first new one is ready.
            now: the time.
        """
        out: list[Command] = []
        renewal.renew(self.state, self._pool(pool_id), at_once, now, out)
        return out

    def remove_pool(self, pool_id: PoolId, now: float) -> list[Command]:
        """Removes a pool: fails all its inputs as stopped, and ends its containers."""
        out: list[Command] = []
        drop_pool(self.state, self._pool(pool_id), now, out)
        return out

    # Calls

    def open_call(
        self, call_id: CallId, pool_id: PoolId, now: float, is_lease: bool = False
    ) -> list[Command]:
        """Begins a call; opening it again does nothing."""
        state = self.state
        if call_id not in state.calls:
            state.calls[call_id] = Call(call_id, self._pool(pool_id), is_lease)
            if state.events is not None:
                state.events.append((now, "opened", call_id, pool_id))
        return []

    def has_call(self, call_id: CallId) -> bool:
        """Whether the call was opened and not forgotten."""
        return call_id in self.state.calls

    def skip(self, call_id: CallId, first_index: int, count: int) -> None:
        """Notes that inputs of an open call had their outcome before; they are not run again."""
        self._call(call_id).add_known(first_index, count)

    def submit(
        self, call_id: CallId, first_index: int, count: int, payload: object, now: float
    ) -> list[Command]:
        """Accepts inputs of an open call; those whose index is known already are ignored.

        Args:
            call_id: an open call.
            first_index: index of the payload's first item in the call.
            count: how many items the payload has, at least 1.
            payload: opaque; the batches made of it share it.
        """
        assert count > 0, count
        assert first_index >= 0, first_index
        out: list[Command] = []
        call = self._call(call_id)
        if call.cancelled:
            return out
        state = self.state
        pool = call.pool
        for first, fresh in call.add_known(first_index, count):
            batch = new_batch(state, call, first, fresh, payload, first - first_index)
            batch.queued_at = now
            call.submitted += fresh
            call.unfinished += fresh
            call.finished = False
            enqueue(pool, batch)
        if pool.removed:
            fail_waiting(state, pool, Fault.STOPPED, None, out)
            return out
        pool.broken = False
        if state.events is not None:
            state.events.append((now, "submitted", call_id, first_index))
        balance(state, pool, now, out)
        return out

    def lend(
        self, call_id: CallId, payload: object, wanted: ContainerId, now: float
    ) -> tuple[Lending, list[Command]]:
        """Has the one input of a lease run at once, or not at all; then the lease has no input.

        Args:
            call_id: an open lease without inputs.
            payload: opaque.
            wanted: the container that gets it if that takes inputs; else any that has room.
            now: the time.

        Returns:
            What became of it, and the commands.
        """
        out: list[Command] = []
        return lending.lend(self.state, self._call(call_id), payload, wanted, now, out), out

    def close_call(self, call_id: CallId, total: int, now: float) -> list[Command]:
        """Says that the call has ``total`` inputs and all were submitted."""
        out: list[Command] = []
        call = self._call(call_id)
        call.closed = True
        call.total = total
        settle(call, 0, out)
        return out

    def cancel_call(self, call_id: CallId, terminate: bool, now: float) -> list[Command]:
        """Drops what waits and interrupts what runs; nothing of the call is delivered any more.

        Args:
            call_id: a call; cancelling twice, or after its end, does nothing.
            terminate: kill the containers that run it, instead of interrupting them.
        """
        out: list[Command] = []
        call = self._call(call_id)
        if not call.cancelled and not call.finished:
            self._cancel(call, terminate, now, out)
            out.append(CallCancelled(call_id))
        return out

    def forget_call(self, call_id: CallId, now: float) -> list[Command]:
        """Removes a call; one that is not finished is cancelled silently."""
        out: list[Command] = []
        call = self.state.calls.pop(call_id, None)
        if call is not None and not call.cancelled:
            if call.unfinished:
                self._cancel(call, False, now, out)
            call.cancelled = True
        return out

    def _cancel(self, call: Call, terminate: bool, now: float, out: list[Command]) -> None:
        cancel(self.state, call, terminate, now, out)
        if not call.pool.removed:
            scale_down(self.state, call.pool, now, out)
            balance(self.state, call.pool, now, out)

    # Containers

    def container_ready(self, container_id: ContainerId, now: float) -> list[Command]:
        """A container that was asked for takes inputs."""
        out: list[Command] = []
        state = self.state
        container = state.containers.get(container_id)
        if container is None:
            out.append(StopContainer(container_id, True, "unknown container"))
            return out
        if container.state is not ContainerState.STARTING:
            return out
        pool = container.pool
        container.state = ContainerState.READY
        pool.starting -= 1
        pool.ready += 1
        pool.start_failures = 0
        pool.start_not_before = -INFINITY
        if state.events is not None:
            state.events.append((now, "ready", container_id, pool.pool_id))
        renewal.on_ready(state, container, now, out)
        place(state, container, now, out)
        balance(state, pool, now, out)
        return out

    def container_start_failed(
        self, container_id: ContainerId, reason: object, retryable: bool, now: float
    ) -> list[Command]:
        """A container that was asked for did not come up, and is gone.

        Args:
            container_id: the container; ``container_exited`` need not follow and is ignored.
            reason: opaque; goes into the ``FailInput`` of the inputs that fail for it.
            retryable: False when the user's code failed to load, so that trying again is no use.
        """
        out: list[Command] = []
        container = self.state.containers.get(container_id)
        if container is None:
            return out
        starting = container.state is ContainerState.STARTING
        take_back(self.state, container, out)
        bury(self.state, container)
        if starting:
            if self.state.events is not None:
                self.state.events.append((now, "start failed", container_id, ""))
            start_failed(self.state, container, reason, retryable, now, out)
        self._after_removal(container.pool, now, out)
        return out

    def container_exited(
        self, container_id: ContainerId, cause: ExitCause, detail: object, now: float
    ) -> list[Command]:
        """A container is gone, whatever it did before; what it held runs elsewhere.

        Args:
            container_id: the container.
            cause: why it is gone.
            detail: opaque; goes into the ``Loss`` of an input that it takes along.
            now: the time.
        """
        out: list[Command] = []
        state = self.state
        container = state.containers.get(container_id)
        if container is None:
            return out
        changes.lose(state, container, cause, detail, now, out)
        self._after_removal(container.pool, now, out)
        return out

    def commands_run(self, container_id: ContainerId, count: int, now: float) -> list[Command]:
        """So many commands of clients run in a container now; while any do, it is not idle."""
        out: list[Command] = []
        container = self.state.containers.get(container_id)
        if container is not None:
            set_commands(self.state, container, count, now, out)
        return out

    def retire_container(self, container_id: ContainerId, now: float) -> list[Command]:
        """A container takes no more inputs than it has begun, and ends then."""
        out: list[Command] = []
        container = self.state.containers.get(container_id)
        if container is not None and container.state is not ContainerState.STOPPING:
            renewal.retire(self.state, container, now, out)
        return out

    def checked(self, container_id: ContainerId, answers: bool, now: float) -> list[Command]:
        """Somebody has looked whether the server in a container answers."""
        out: list[Command] = []
        container = self.state.containers.get(container_id)
        if container is not None:
            health.note(self.state, container, answers, now, out)
        return out

    def _after_removal(self, pool: Pool, now: float, out: list[Command]) -> None:
        if not pool.removed:
            balance(self.state, pool, now, out)
        if self.state.waiting:
            serve_waiting(self.state, now, out)

    # Time

    def next_wake(self) -> float | None:
        """When to call ``tick`` if nothing else happens; None: there is nothing to wait for."""
        timers = self.state.timers
        while timers:
            due, _, owner = timers[0]
            if isinstance(owner, Batch):
                delayed = owner.call.delayed
                if delayed is not None and owner.batch_id in delayed:
                    return due
            elif owner.timer_due == due:
                return due
            self.state.pop_timer()
        return None

    def tick(self, now: float) -> list[Command]:
        """Does what is due."""
        out: list[Command] = []
        due = self.next_wake()
        while due is not None and due <= now:
            look_at(self.state, self.state.pop_timer(), now, out)
            due = self.next_wake()
        return out

    def drain_events(self) -> list[Event]:
        """The transitions since the last call, oldest first; the oldest are lost beyond a limit."""
        events = self.state.events
        if not events:
            return []
        drained = list(events)
        events.clear()
        return drained

    def statistics(self) -> list[PoolStatistics]:
        """The pools."""
        return statistics.pools(self.state)

    def snapshot(self) -> list[ContainerStatistics]:
        """The containers."""
        return statistics.containers(self.state)

    def call_statistics(self) -> list[CallStatistics]:
        """The calls."""
        return statistics.calls(self.state)

    def check_invariants(self) -> None:
        """Asserts that the state is consistent. Slow: for tests and the simulator."""
        check(self.state)

    def _pool(self, pool_id: PoolId) -> Pool:
        pool = self.state.pools.get(pool_id)
        if pool is None:
            message = f"no pool has the id {pool_id!r}"
            raise UnknownIdError(message)
        return pool

    def _call(self, call_id: CallId) -> Call:
        call = self.state.calls.get(call_id)
        if call is None:
            message = f"no call has the id {call_id!r}"
            raise UnknownIdError(message)
        return call
