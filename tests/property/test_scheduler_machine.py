"""The scheduler against a naive model, in any order of events that hypothesis can think of.

The model is a set of inputs with counters and a table of who holds what; it does not queue, scale
or time anything. It knows which answers are right whatever the scheduler chose to dispatch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from volantd.core import (
    CallCancelled,
    CallFinished,
    CancelRunning,
    Dispatch,
    ExitCause,
    FailInput,
    Fault,
    Flush,
    Gpu,
    GpuWish,
    PoolConfig,
    Reclaim,
    RetryPolicy,
    Scheduler,
    StartContainer,
    StopContainer,
)

if TYPE_CHECKING:
    from volantd.core import Command

CAPACITY = 5
GPUS = tuple(Gpu(index=number, uuid=f"GPU-{number}", model="AAAB"[number]) for number in range(4))
CONFIGS = {
    "plain": PoolConfig(max_containers=3, max_platform_retries=1, timeout_s=5.0, memory_bytes=1),
    "retrying": PoolConfig(
        max_containers=2,
        buffer_containers=1,
        retries=RetryPolicy(max_retries=1, initial_delay_s=0.5),
        scaledown_window_s=0.0,
        memory_bytes=2,
    ),
    "single": PoolConfig(min_containers=1, max_containers=2, single_use=True, memory_bytes=1),
    "pairs": PoolConfig(
        max_containers=2, gpus=(GpuWish("A", 2), GpuWish("B", 1)), scaledown_window_s=0.0
    ),
    "triples": PoolConfig(max_containers=2, gpus=(GpuWish("A", 3),), memory_bytes=1),
    "absent": PoolConfig(gpus=(GpuWish("C", 1),), memory_bytes=1),
    "threads": PoolConfig(
        max_containers=2, max_inputs=3, max_platform_retries=3, timeout_s=5.0, memory_bytes=1
    ),
    "tasks": PoolConfig(
        max_containers=3,
        max_inputs=4,
        target_inputs=2,
        interruptible=True,
        timeout_s=5.0,
        retries=RetryPolicy(max_retries=1, initial_delay_s=0.5),
        memory_bytes=1,
    ),
}
Item = tuple[str, int]


@dataclass
class ModelCall:
    """What a client knows about its call."""

    pool_id: str
    submitted: set[int] = field(default_factory=set)
    outcomes: set[int] = field(default_factory=set)
    closed: bool = False
    finished: bool = False
    cancelled: bool = False


@dataclass
class ModelContainer:
    """What an agent knows about a container."""

    pool_id: str
    gpus: tuple[Gpu, ...] = ()
    ready: bool = False
    stopped: bool = False
    batches: dict[int, list[Item]] = field(default_factory=dict)
    #: When each batch was given to it, and when it was asked to end one early.
    since: dict[int, float] = field(default_factory=dict)
    asked: dict[int, float] = field(default_factory=dict)
    #: Commands of clients that run in it.
    commands: int = 0

    @property
    def is_shared(self) -> bool:
        return CONFIGS[self.pool_id].max_inputs > 1

    def running(self) -> list[Item]:
        """What it has begun, as far as the hub can know."""
        items = [item for batch in self.batches.values() for item in batch]
        return items if self.is_shared else items[:1]

    def late(self, now: float) -> list[int]:
        """The batches for whose timeout a shared container is stopped."""
        config = CONFIGS[self.pool_id]
        if config.interruptible:
            return [b for b, asked in self.asked.items() if b in self.batches and asked + 10 <= now]
        return [b for b in self.batches if self.since[b] + config.timeout_s <= now]


class SchedulerMachine(RuleBasedStateMachine):
    """Rules are events; each carries out the commands that come back and checks them."""

    @initialize()
    def begin(self) -> None:
        numbers = count(1)
        self.now = 0.0
        self.scheduler = Scheduler(lambda: f"c{next(numbers)}")
        self.calls: dict[str, ModelCall] = {}
        self.containers: dict[str, ModelContainer] = {}
        self.failures: dict[Item, int] = {}
        self.deaths: dict[Item, int] = {}
        self.call_numbers = count(1)
        self.do(self.scheduler.set_capacity(CAPACITY, CAPACITY, self.now, GPUS))
        for pool_id, config in CONFIGS.items():
            self.do(self.scheduler.add_pool(pool_id, config, self.now))

    # Events of operators

    @rule(pool_id=st.sampled_from(sorted(CONFIGS)), at_once=st.booleans())
    def renew(self, pool_id: str, at_once: bool) -> None:
        before = {c: one for c, one in self.containers.items() if one.pool_id == pool_id}
        self.do(self.scheduler.renew_pool(pool_id, at_once, self.now))
        assert not at_once or all(container.stopped for container in before.values())
        assert all(container.ready or container.stopped for container in before.values())

    @precondition(lambda self: bool(self.containers))
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        container_id = data.draw(st.sampled_from(sorted(self.containers)))
        self.do(self.scheduler.retire_container(container_id, self.now))

    # Events of clients

    @rule(pool_id=st.sampled_from(sorted(CONFIGS)), total=st.integers(1, 6))
    def call(self, pool_id: str, total: int) -> None:
        call_id = f"k{next(self.call_numbers)}"
        self.calls[call_id] = ModelCall(pool_id)
        self.do(self.scheduler.open_call(call_id, pool_id, self.now))
        self._submit(call_id, 0, total)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), first_index=st.integers(0, 12), total=st.integers(1, 6))
    def submit_more(self, data: st.DataObject, first_index: int, total: int) -> None:
        self._submit(self._some_call(data), first_index, total)

    def _submit(self, call_id: str, first_index: int, total: int) -> None:
        call = self.calls[call_id]
        indexes = range(first_index, first_index + total)
        if not call.cancelled:
            call.finished = call.finished and call.submitted.issuperset(indexes)
            call.submitted.update(indexes)
        payload = [(call_id, index) for index in indexes]
        self.do(self.scheduler.submit(call_id, first_index, total, payload, self.now))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        call_id = self._some_call(data)
        self.calls[call_id].closed = True
        self.do(self.scheduler.close_call(call_id, len(self.calls[call_id].submitted), self.now))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), terminate=st.booleans())
    def cancel(self, data: st.DataObject, terminate: bool) -> None:
        call_id = self._some_call(data)
        call = self.calls[call_id]
        wanted = not call.cancelled and not call.finished
        call.cancelled = call.cancelled or wanted
        commands = self.scheduler.cancel_call(call_id, terminate, self.now)
        assert (CallCancelled(call_id) in commands) == wanted
        self.do(commands)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        call_id = self._some_call(data)
        del self.calls[call_id]
        self.do(self.scheduler.forget_call(call_id, self.now))

    def _some_call(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.calls)))

    # Events of containers

    @precondition(lambda self: any(not c.ready for c in self.containers.values()))
    @rule()
    def ready(self) -> None:
        """All that start are ready: most rules are about containers that work."""
        for container_id, container in list(self.containers.items()):
            if not container.ready:
                container.ready = True
                self.do(self.scheduler.container_ready(container_id, self.now))

    @precondition(lambda self: any(not c.ready for c in self.containers.values()))
    @rule(data=st.data(), retryable=st.booleans())
    def start_failed(self, data: st.DataObject, retryable: bool) -> None:
        ids = [c for c, container in self.containers.items() if not container.ready]
        container_id = data.draw(st.sampled_from(ids))
        del self.containers[container_id]
        self.do(self.scheduler.container_start_failed(container_id, "why", retryable, self.now))

    @precondition(lambda self: any(c.batches or c.stopped for c in self.containers.values()))
    @rule(data=st.data(), cause=st.sampled_from(ExitCause))
    def exited(self, data: st.DataObject, cause: ExitCause) -> None:
        ids = [
            c for c, container in self.containers.items() if container.batches or container.stopped
        ]
        container_id = data.draw(st.sampled_from(ids))
        container = self.containers.pop(container_id)
        if cause is not ExitCause.STOPPED:
            for item in container.running():
                self.deaths[item] = self.deaths.get(item, 0) + 1
        self.do(self.scheduler.container_exited(container_id, cause, None, self.now))

    @precondition(lambda self: bool(self.containers))
    @rule(data=st.data(), number=st.integers(0, 2))
    def commands_run(self, data: st.DataObject, number: int) -> None:
        container_id = data.draw(st.sampled_from(sorted(self.containers)))
        self._set_commands(container_id, number)

    def _set_commands(self, container_id: str, number: int) -> None:
        self.containers[container_id].commands = number
        self.do(self.scheduler.commands_run(container_id, number, self.now))

    @precondition(lambda self: any(c.batches for c in self.containers.values()))
    @rule(data=st.data(), exec_us=st.sampled_from((0, 10, 5_000, 1_000_000)))
    def succeeded(self, data: st.DataObject, exec_us: int) -> None:
        container_id, batch_id, items = self._running(data)
        number = data.draw(st.integers(1, len(items)))
        taken = self._take(container_id, batch_id, number)
        deliver, commands = self.scheduler.succeeded(
            container_id, batch_id, number, exec_us, self.now
        )
        call = self.calls.get(taken[0][0])
        assert deliver == (call is not None and not call.cancelled)
        if deliver:
            self._settle(taken)
        self.do(commands)

    @precondition(lambda self: any(c.batches for c in self.containers.values()))
    @rule(data=st.data(), retryable=st.booleans())
    def failed(self, data: st.DataObject, retryable: bool) -> None:
        container_id, batch_id, _ = self._running(data)
        late = self.containers[container_id].is_shared and self._was_late(container_id, batch_id)
        [item] = self._take(container_id, batch_id, 1)
        verdict, commands = self.scheduler.failed(container_id, batch_id, retryable, self.now)
        call = self.calls.get(item[0])
        if call is None or call.cancelled or late:
            assert verdict == "drop"
            self.failures[item] = self.failures.get(item, 0) + late
        elif retryable and self.failures.get(item, 0) < CONFIGS[call.pool_id].retries.max_retries:
            assert verdict == "retry"
            self.failures[item] = self.failures.get(item, 0) + 1
        else:
            assert verdict == "deliver"
            self._settle([item])
        self.do(commands)

    def _was_late(self, container_id: str, batch_id: int) -> bool:
        return batch_id in self.containers[container_id].asked

    @precondition(lambda self: any(c.batches and not c.is_shared for c in self.containers.values()))
    @rule(data=st.data())
    def returned(self, data: st.DataObject) -> None:
        container_id, batch_id, items = self._running(data, shared_too=False)
        number = data.draw(st.integers(0, len(items)))
        batch = self.containers[container_id].batches[batch_id]
        del batch[len(batch) - number :]
        if not batch:
            del self.containers[container_id].batches[batch_id]
        self.do(self.scheduler.returned(container_id, batch_id, number, self.now))

    def _running(
        self, data: st.DataObject, *, shared_too: bool = True
    ) -> tuple[str, int, list[Item]]:
        ids = [
            c
            for c, container in self.containers.items()
            if container.batches and (shared_too or not container.is_shared)
        ]
        container_id = data.draw(st.sampled_from(ids))
        container = self.containers[container_id]
        batch_id, items = next(iter(container.batches.items()))
        if container.is_shared:
            batch_id = data.draw(st.sampled_from(sorted(container.batches)))
            items = container.batches[batch_id]
        return container_id, batch_id, items

    def _take(self, container_id: str, batch_id: int, number: int) -> list[Item]:
        batch = self.containers[container_id].batches[batch_id]
        taken = batch[:number]
        del batch[:number]
        if not batch:
            del self.containers[container_id].batches[batch_id]
        return taken

    # Time

    @rule(delay_s=st.sampled_from((0.001, 0.03, 0.03, 0.5, 1.0, 6.0)))
    def time_passes(self, delay_s: float) -> None:
        self.now += delay_s
        self.do(self.scheduler.tick(self.now))
        wake = self.scheduler.next_wake()
        assert wake is None or wake > self.now

    # Commands

    def _settle(self, items: list[Item]) -> None:
        for call_id, index in items:
            assert index not in self.calls[call_id].outcomes
            self.calls[call_id].outcomes.add(index)

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case StartContainer(pool_id, container_id, gpus):
                assert container_id not in self.containers
                assert all(not {*gpus} & {*other.gpus} for other in self.containers.values())
                wished = [(wish.model, wish.count) for wish in CONFIGS[pool_id].gpus]
                granted = [(model, len(gpus)) for model in {gpu.model for gpu in gpus}]
                assert granted == [] == wished or granted[0] in wished
                self.containers[container_id] = ModelContainer(pool_id, gpus)
            case StopContainer(container_id, _, reason):
                container = self.containers[container_id]
                if reason in {"idle", "another function needs the room"}:
                    assert not container.commands
                if reason == "timeout":
                    self._time_out(container)
                container.stopped = True
                container.batches = {}
            case Dispatch(container_id):
                self._dispatch(self.containers[container_id], command)
            case FailInput(call_id, first_index, number, fault, _):
                if fault is Fault.LOST:
                    config = CONFIGS[self.calls[call_id].pool_id]
                    most = config.max_platform_retries, config.max_exhaustion_retries
                    assert min(most) < self.deaths[call_id, first_index] <= most[0] + 1
                self._settle([(call_id, first_index + n) for n in range(number)])
            case CallFinished(call_id):
                call = self.calls[call_id]
                assert call.closed
                assert not call.finished
                assert call.outcomes == call.submitted
                call.finished = True
            case Reclaim(container_id, batch_id):
                assert batch_id in self.containers[container_id].batches
                assert not self.containers[container_id].is_shared
            case Flush(container_id, batch_id):
                assert len(self.containers[container_id].batches[batch_id]) > 1
            case CancelRunning(container_id, batch_id):
                container = self.containers[container_id]
                assert batch_id in container.batches
                assert batch_id not in container.asked or not container.is_shared
                container.asked[batch_id] = self.now

    def _time_out(self, container: ModelContainer) -> None:
        late = container.running()
        if container.is_shared:
            late = [
                item
                for batch_id in container.late(self.now)
                for item in container.batches[batch_id]
            ]
        assert late
        for item in late:
            self.failures[item] = self.failures.get(item, 0) + 1

    def _dispatch(self, container: ModelContainer, command: Dispatch) -> None:
        batch = command.batch
        call = self.calls[batch.call_id]
        assert container.ready
        assert not container.stopped
        assert call.pool_id == container.pool_id
        assert not call.cancelled
        assert isinstance(batch.payload, list)
        items = batch.payload[batch.offset : batch.offset + batch.count]
        assert items == [(batch.call_id, batch.first_index + n) for n in range(batch.count)]
        held = {
            item
            for other in self.containers.values()
            for held_batch in other.batches.values()
            for item in held_batch
        }
        assert held.isdisjoint(items)
        assert call.outcomes.isdisjoint(index for _, index in items)
        assert batch.attempt == self.failures.get(items[0], 0)
        assert batch.platform_attempt == self.deaths.get(items[0], 0)
        container.batches[batch.batch_id] = list(items)
        container.since[batch.batch_id] = self.now
        if container.is_shared:
            assert len(items) == 1
            assert len(container.batches) <= CONFIGS[container.pool_id].max_inputs

    # What always holds

    @invariant()
    def the_state_is_consistent(self) -> None:
        if hasattr(self, "scheduler"):
            self.scheduler.check_invariants()

    @invariant()
    def no_input_is_lost(self) -> None:
        """Every submitted input of a live call has its outcome, or is counted as unfinished."""
        if not hasattr(self, "scheduler"):
            return
        for call in self.scheduler.call_statistics():
            model = self.calls[call.call_id]
            if not call.cancelled:
                assert call.submitted == len(model.submitted)
                assert call.unfinished == len(model.submitted) - len(model.outcomes)

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        booked = sum(CONFIGS[c.pool_id].memory_bytes for c in self.containers.values())
        assert booked <= CAPACITY
        assert len(self.containers) <= CAPACITY
        for pool_id, config in CONFIGS.items():
            live = [c for c in self.containers.values() if c.pool_id == pool_id and not c.stopped]
            assert len(live) <= config.max_containers

    def teardown(self) -> None:
        """Left alone with good containers, everything is finished and scales down."""
        if not hasattr(self, "scheduler"):
            return
        for container_id in list(self.containers):
            self._set_commands(container_id, 0)
        somebody_put_one_in = (*GPUS, Gpu(index=4, uuid="GPU-4", model="C"))
        self.do(self.scheduler.set_capacity(CAPACITY, CAPACITY, self.now, somebody_put_one_in))
        for _ in range(3000):
            if not self._live_on():
                break
        else:
            raise AssertionError("it does not come to rest")
        for call in self.scheduler.call_statistics():
            assert not call.unfinished
        for pool in self.scheduler.statistics():
            assert pool.idle == pool.ready <= CONFIGS[pool.pool_id].min_containers

    def _live_on(self) -> bool:
        """One step of a world without trouble; False when nothing is left to do."""
        for container_id, container in list(self.containers.items()):
            if container.stopped:
                del self.containers[container_id]
                cause = ExitCause.STOPPED
                self.do(self.scheduler.container_exited(container_id, cause, None, self.now))
                return True
            if not container.ready:
                container.ready = True
                self.do(self.scheduler.container_ready(container_id, self.now))
                return True
            if container.batches:
                batch_id = next(iter(container.batches))
                taken = self._take(container_id, batch_id, 1)
                deliver, commands = self.scheduler.succeeded(
                    container_id, batch_id, 1, 10, self.now
                )
                if deliver:
                    self._settle(taken)
                self.do(commands)
                return True
        wake = self.scheduler.next_wake()
        if wake is None:
            return False
        self.now = max(self.now, wake)
        self.do(self.scheduler.tick(self.now))
        return True


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True
)
