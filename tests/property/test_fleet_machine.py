"""Many machines that come, change and go, in any order with what is heard of their containers.

The model has only what agents know: which machine runs which containers, and how much they booked.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, permutations
from typing import TYPE_CHECKING

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from volantd.core import (
    Dispatch,
    ExitCause,
    Gpu,
    GpuWish,
    PoolConfig,
    Scheduler,
    StartContainer,
    StopContainer,
)

if TYPE_CHECKING:
    from volantd.core import Command

NODES = ("a", "b", "c")
GPUS = tuple(Gpu(index=number, uuid=f"GPU-{number}", model="H100") for number in range(4))
CONFIGS = {
    "small": PoolConfig(max_containers=4, memory_bytes=1, scaledown_window_s=0.0),
    "kept": PoolConfig(min_containers=1, max_containers=2, memory_bytes=2),
    "large": PoolConfig(max_containers=2, memory_bytes=4, scaledown_window_s=1.0),
    "device": PoolConfig(max_containers=3, gpus=(GpuWish("H100", 1),), memory_bytes=1),
    "devices": PoolConfig(max_containers=1, gpus=(GpuWish("H100", 4),)),
}


@dataclass
class Running:
    """A container as its machine knows it."""

    pool_id: str
    node_id: str
    gpus: tuple[Gpu, ...]
    ready: bool = False
    stopped: bool = False
    batch_id: int | None = None


class FleetMachine(RuleBasedStateMachine):
    """Rules are events; commands are carried out at once and checked."""

    @initialize()
    def begin(self) -> None:
        numbers = count(1)
        self.now = 0.0
        self.scheduler = Scheduler(lambda: f"c{next(numbers)}", local=False)
        self.lives = dict.fromkeys(NODES, 0)
        self.memory: dict[str, int] = {}
        self.containers: dict[str, Running] = {}
        #: Containers whose machine is known to be lost; news of their ends may still come.
        self.lost: list[str] = []
        self.calls = count(1)
        for pool_id, config in CONFIGS.items():
            self.do(self.scheduler.add_pool(pool_id, config, self.now))
        self._set("a", 6, GPUS)
        self._set("b", 4, ())

    @rule(node_id=st.sampled_from(NODES), memory=st.integers(0, 6), devices=st.integers(0, 4))
    def added_or_changed(self, node_id: str, memory: int, devices: int) -> None:
        self._set(node_id, memory, GPUS[:devices])

    def _set(self, node_id: str, memory: int, gpus: tuple[Gpu, ...]) -> None:
        held = [c for c in self.containers.values() if c.node_id == node_id]
        if any(set(container.gpus) - set(gpus) for container in held):
            gpus = GPUS
        self.memory[node_id] = memory
        self.do(
            self.scheduler.set_capacity(memory, 5, self.now, gpus, node_id, self.lives[node_id])
        )

    @precondition(lambda self: self.memory)
    @rule(data=st.data(), overtaken=st.booleans(), heard=st.booleans())
    def removed(self, data: st.DataObject, overtaken: bool, heard: bool) -> None:
        """Its next life may be heard of before its end, its containers' ends before that."""
        node_id = data.draw(st.sampled_from(sorted(self.memory)))
        ids = [c for c, container in self.containers.items() if container.node_id == node_id]
        life = self.lives[node_id]
        for container_id in ids[: len(ids) // 2] if heard else []:
            del self.containers[container_id]
            self._exited(container_id, ExitCause.KILLED)
        memory = self.memory.pop(node_id)
        self.lives[node_id] += 1
        gone = [c for c, container in self.containers.items() if container.node_id == node_id]
        for container_id in gone:
            del self.containers[container_id]
        self.lost += gone
        if overtaken:
            self._set(node_id, memory, GPUS)
        self.do(self.scheduler.remove_node(node_id, self.now, life))

    @rule(node_id=st.sampled_from(NODES))
    def late_news_of_an_earlier_life(self, node_id: str) -> None:
        before = self._accounts()
        for life in range(self.lives[node_id]):
            self.do(self.scheduler.set_capacity(99, 99, self.now, (), node_id, life))
            self.do(self.scheduler.remove_node(node_id, self.now, life))
        assert self._accounts() == before

    @precondition(lambda self: self.lost)
    @rule(cause=st.sampled_from(ExitCause))
    def late_end_of_a_lost_container(self, cause: ExitCause) -> None:
        before = self._accounts()
        assert not self.scheduler.container_exited(self.lost.pop(), cause, None, self.now)
        assert self._accounts() == before

    @rule(pool_id=st.sampled_from(sorted(CONFIGS)), number=st.integers(1, 4))
    def call(self, pool_id: str, number: int) -> None:
        call_id = f"k{next(self.calls)}"
        self.do(self.scheduler.open_call(call_id, pool_id, self.now))
        self.do(self.scheduler.submit(call_id, 0, number, None, self.now))

    @rule()
    def ready(self) -> None:
        for container_id, container in list(self.containers.items()):
            if not container.ready and not container.stopped and container_id in self.containers:
                container.ready = True
                self.do(self.scheduler.container_ready(container_id, self.now))

    @precondition(lambda self: any(c.batch_id for c in self.containers.values()))
    @rule()
    def succeeded(self) -> None:
        self._succeed()

    def _succeed(self) -> None:
        for container_id, container in list(self.containers.items()):
            if container.batch_id is not None and not container.stopped:
                batch_id, container.batch_id = container.batch_id, None
                self.do(self.scheduler.succeeded(container_id, batch_id, 1, 200_000, self.now)[1])
                return

    @precondition(lambda self: self._ending())
    @rule(data=st.data(), cause=st.sampled_from(ExitCause))
    def exited(self, data: st.DataObject, cause: ExitCause) -> None:
        container_id = data.draw(st.sampled_from(self._ending()))
        del self.containers[container_id]
        self._exited(container_id, cause)

    def _ending(self) -> list[str]:
        return sorted(c for c, one in self.containers.items() if one.stopped or one.ready)

    def _exited(self, container_id: str, cause: ExitCause) -> None:
        self.do(self.scheduler.container_exited(container_id, cause, None, self.now))

    @rule(delay_s=st.sampled_from((0.01, 0.5, 1.0, 3.0)))
    def time_passes(self, delay_s: float) -> None:
        self.now += delay_s
        self.do(self.scheduler.tick(self.now))

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, StartContainer):
                self._start(command)
            elif isinstance(command, StopContainer) and command.container_id in self.containers:
                self.containers[command.container_id].stopped = True
            elif isinstance(command, Dispatch):
                assert self.containers[command.container_id].ready
                command.batch.payload = None
                self.containers[command.container_id].batch_id = command.batch.batch_id

    def _start(self, command: StartContainer) -> None:
        node_id, config = command.node_id, CONFIGS[command.pool_id]
        assert node_id in self.memory, "started on a machine that is gone"
        there = [c for c in self.containers.values() if c.node_id == node_id]
        booked = sum(CONFIGS[c.pool_id].memory_bytes for c in there) + config.memory_bytes
        assert booked <= self.memory[node_id], "the memory of a machine is over-committed"
        assert len(there) < 5, "a machine has too many containers"
        assert not {gpu for c in there for gpu in c.gpus} & {*command.gpus}, "a GPU has two owners"
        assert len(command.gpus) == sum(wish.count for wish in config.gpus)
        self.containers[command.container_id] = Running(command.pool_id, node_id, command.gpus)

    def _accounts(self) -> list[tuple[object, ...]]:
        return [
            (node.node_id, node.incarnation, node.ledger.booked_bytes, sorted(node.containers))
            for node in self.scheduler.state.fleet.nodes.values()
        ]

    @invariant()
    def the_accounts_are_those_of_the_machines(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        self.scheduler.check_invariants()
        held = {c: container.node_id for c, container in self.containers.items()}
        state = self.scheduler.state
        assert {c: one.node.node_id for c, one in state.containers.items()} == held
        assert set(state.fleet.nodes) == set(self.memory)

    @invariant()
    def nobody_waits_beside_room(self) -> None:
        """Whoever is the first to wait finds room on no machine: each release woke who waits."""
        if not hasattr(self, "scheduler"):
            return
        state = self.scheduler.state
        heads = state.waiting.heads() if state.waiting else []
        for head in heads[:1]:
            assert state.fleet.place(head) is None, f"{head.pool_id} waits beside room"

    def teardown(self) -> None:
        """With one more machine that is large enough, and time, all inputs have their outcome."""
        if not hasattr(self, "scheduler"):
            return
        self.memory["large"] = 100
        self.do(self.scheduler.set_capacity(100, 5, self.now, GPUS, "large"))
        for _ in range(2000):
            if not any(call.unfinished for call in self.scheduler.call_statistics()):
                return
            self.ready()
            self._succeed()
            for container_id, container in list(self.containers.items()):
                if container.stopped:
                    del self.containers[container_id]
                    self._exited(container_id, ExitCause.STOPPED)
            wake = self.scheduler.next_wake()
            self.now = max(self.now, min(wake or self.now, self.now + 0.5))
            self.do(self.scheduler.tick(self.now))
        raise AssertionError("somebody waits for ever")


TestFleetMachine = FleetMachine.TestCase
TestFleetMachine.settings = settings(
    max_examples=300, stateful_step_count=60, deadline=None, derandomize=True
)


@given(order=st.sampled_from(sorted(permutations(range(4)))))
def test_lives_of_a_machine_heard_of_in_any_order_end_in_the_same_account(order) -> None:
    """The classic: what was added is overtaken by the end of what was there before."""
    scheduler = Scheduler(iter("abcdefgh").__next__, local=False)
    scheduler.add_pool("p", PoolConfig(min_containers=1, memory_bytes=1), 0.0)
    events = [
        lambda: scheduler.set_capacity(4, 4, 0.0, (), "n", 1),
        lambda: scheduler.remove_node("n", 0.0, 1),
        lambda: scheduler.set_capacity(8, 4, 0.0, (), "n", 2),
        lambda: scheduler.container_exited("a", ExitCause.KILLED, None, 0.0),
    ]
    if order.index(3) < max(order.index(0), order.index(2)):
        order = [*(number for number in order if number != 3), 3]
    for number in order:
        if number != 3 or scheduler.state.fleet.nodes["n"].incarnation == 2:
            events[number]()
        scheduler.check_invariants()
    scheduler.tick(10.0)
    [node] = scheduler.state.fleet.nodes.values()
    assert (node.incarnation, node.ledger.memory_bytes, node.ledger.booked_bytes) == (2, 8, 1)
    assert len(node.containers) == 1
