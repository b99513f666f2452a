"""The simulated hub: feeds the real scheduler, carries out its commands, keeps the results.

What the real hub does with sockets this does with links. A crash replaces it by a new one with a
new scheduler; its containers die with it and its clients come back by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core import (
    LOCAL,
    CallCancelled,
    CallFinished,
    CancelRunning,
    Command,
    Dispatch,
    ExitCause,
    FailInput,
    Fault,
    Flush,
    Reclaim,
    Scheduler,
    StartContainer,
    StopContainer,
    UnknownIdError,
)
from volantd.sim.containers import Item, SimContainer
from volantd.sim.judge import Judge
from volantd.sim.sharing import SharedSimContainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.sim.clients import SimClient
    from volantd.sim.machines import MachinePlan
    from volantd.sim.scenario import PoolPlan, Scenario
    from volantd.sim.world import Link, World


class SimHub:
    """One life of a hub, from its start to its crash or the end of the history."""

    def __init__(
        self, world: World, scenario: Scenario, new_container_id: Callable[[], str]
    ) -> None:
        self.world = world
        self.scenario = scenario
        self.alive = True
        self.judge = Judge(world, scenario)
        self.scheduler = Scheduler(new_container_id)
        self.plans: dict[str, PoolPlan] = {}
        #: Machines that are there, and the last life of each that was heard of.
        self.machines: dict[MachinePlan, None] = {}
        self.lives: dict[str, int] = {}
        self.containers: dict[str, SimContainer] = {}
        #: Who called, and the connection that it opened the call on.
        self.clients: dict[str, tuple[SimClient, Link]] = {}
        #: What was sent on the present connection of a call.
        self.told: dict[str, set[int]] = {}
        self.outcomes: dict[str, dict[int, str]] = {}
        self.dispatches = 0
        self.starts = 0
        self.reclaims = 0
        self._wake = float("inf")
        self._do(
            self.scheduler.set_capacity(
                scenario.memory_bytes, scenario.max_containers, world.now, scenario.gpus
            )
        )
        for plan in scenario.pools:
            self.add_pool(plan)

    # Operators

    def add_pool(self, plan: PoolPlan) -> None:
        """Deploys a pool."""
        self.plans[plan.pool_id] = plan
        self._do(self.scheduler.add_pool(plan.pool_id, plan.config, self.world.now))

    def remove_pool(self, plan: PoolPlan) -> None:
        """Stops a pool."""
        self.world.log("remove pool", plan.pool_id)
        self._do(self.scheduler.remove_pool(plan.pool_id, self.world.now))

    def update_pool(self, plan: PoolPlan) -> None:
        """Deploys a pool's new configuration."""
        if self.scheduler.has_pool(plan.pool_id):
            self.world.log("update pool", plan.pool_id, plan.config)
            now = self.world.now
            self._do(self.scheduler.update_pool_config(plan.pool_id, plan.config, now))

    def renew_pool(self, plan: PoolPlan, *, at_once: bool) -> None:
        """Deploys a new version of a pool's function."""
        self.world.log("renew pool", plan.pool_id, at_once)
        self._do(self.scheduler.renew_pool(plan.pool_id, at_once, self.world.now))

    def set_capacity(self, memory_bytes: float, max_containers: float) -> None:
        """Changes what the machine has."""
        self.world.log("capacity", memory_bytes, max_containers)
        self.judge.rooms[LOCAL] = memory_bytes, max_containers
        gpus, now = self.scenario.gpus, self.world.now
        self._do(self.scheduler.set_capacity(memory_bytes, max_containers, now, gpus))

    def join(self, plan: MachinePlan) -> None:
        """A machine is added; its earlier life, should it not have left, ends with that."""
        if not self.alive:
            return
        self.world.log("join", plan)
        room, life = (plan.memory_bytes, plan.max_containers), plan.incarnation
        if life > self.lives.get(plan.node_id, 0):  # else this news is late
            self.lives[plan.node_id] = life
            for other in list(self.machines):
                if other.node_id == plan.node_id:
                    self._lose_all(other)
            self.machines[plan] = None
            self.judge.rooms[plan.node_id] = room
        now = self.world.now
        self._do(self.scheduler.set_capacity(*room, now, plan.gpus, plan.node_id, life))

    def leave(self, plan: MachinePlan) -> None:
        """A machine is gone; what it ran dies, which is heard of later or never."""
        if self.alive:
            self.world.log("leave", plan.node_id, plan.incarnation)
            self._lose_all(plan)
            now, life = self.world.now, plan.incarnation
            self._do(self.scheduler.remove_node(plan.node_id, now, life))

    def _lose_all(self, plan: MachinePlan) -> None:
        if plan not in self.machines:
            return
        del self.machines[plan], self.judge.rooms[plan.node_id]
        for container_id, holding in list(self.judge.holdings.items()):
            if holding.node_id == plan.node_id:
                if not holding.served:
                    self.judge.troubled.add(holding.pool_id)
                self.judge.on_gone(container_id, ExitCause.KILLED)
                self.containers[container_id].die(ExitCause.KILLED)

    def crash(self) -> None:
        """Everything of this hub is gone at once."""
        self.world.log("hub crashed")
        self.alive = False
        for container in self.containers.values():
            container.die(ExitCause.KILLED)
            container.alive = False
            container.inbox.cut = container.outbox.cut = True

    # Clients

    def on_open(self, client: SimClient, link: Link, call_id: str, pool_id: str) -> None:
        """A client begins a call, or comes back to it."""
        self.clients[call_id] = client, link
        self.told[call_id] = set()
        try:
            self._do(self.scheduler.open_call(call_id, pool_id, self.world.now))
        except UnknownIdError:
            link.send(client.on_refused)
            return
        self.outcomes.setdefault(call_id, {})

    def on_submit(self, call_id: str, first_index: int, count: int) -> None:
        """Inputs arrive; outcomes that are there already are sent again."""
        if call_id not in self.outcomes:
            return
        there = self.outcomes[call_id]
        for index in range(first_index, first_index + count):
            if index in there:
                self._tell(call_id, index, there[index])
        payload = [(call_id, index) for index in range(first_index, first_index + count)]
        self._do(self.scheduler.submit(call_id, first_index, count, payload, self.world.now))

    def on_close(self, call_id: str, total: int) -> None:
        """The client has submitted everything."""
        if call_id in self.outcomes:
            self._do(self.scheduler.close_call(call_id, total, self.world.now))

    def on_cancel(self, call_id: str, terminate: bool) -> None:
        """The client wants no more of the call; one that asks again missed the answer."""
        if call_id in self.judge.cancelled:
            client, link = self.clients[call_id]
            link.send(client.on_cancelled)
        elif call_id in self.outcomes:
            self._do(self.scheduler.cancel_call(call_id, terminate, self.world.now))

    def on_forget(self, call_id: str) -> None:
        """The client has everything, or is gone."""
        if self.outcomes.pop(call_id, None) is None:
            return
        self.judge.cancelled.add(call_id)
        self._do(self.scheduler.forget_call(call_id, self.world.now))

    def _tell(self, call_id: str, index: int, outcome: str) -> None:
        client, link = self.clients[call_id]
        if index not in self.told[call_id]:
            self.told[call_id].add(index)
            link.send(lambda: client.on_outcome(index, outcome))

    def _settle(self, item: Item, outcome: str) -> None:
        call_id, index = item
        self.outcomes[call_id][index] = outcome
        self._tell(call_id, index, outcome)

    # Containers

    def on_ready(self, container_id: str) -> None:
        """A container takes inputs."""
        if self.alive:
            holding = self.judge.holdings.get(container_id)
            if holding is not None:
                holding.ready = True
            self._do(self.scheduler.container_ready(container_id, self.world.now))

    def on_start_failed(self, container_id: str, retryable: bool) -> None:
        """A container did not come up, and is gone."""
        if self.alive:
            holding = self.judge.holdings.get(container_id)
            if holding is not None:
                self.judge.troubled.add(holding.pool_id)
            self.judge.on_gone(container_id, None)
            now = self.world.now
            self._do(
                self.scheduler.container_start_failed(container_id, "as planned", retryable, now)
            )

    def on_exited(self, container_id: str, cause: ExitCause) -> None:
        """A container is gone."""
        if self.alive:
            holding = self.judge.holdings.get(container_id)
            if holding is not None and not holding.served:
                self.judge.troubled.add(holding.pool_id)
            self.judge.on_gone(container_id, cause)
            self._do(self.scheduler.container_exited(container_id, cause, None, self.world.now))

    def on_command(self, container_id: str, change: int) -> None:
        """A command of a client begins or ends in a container, which may be gone meanwhile."""
        holding = self.judge.holdings.get(container_id)
        if self.alive and holding is not None:
            holding.commands += change
            now = self.world.now
            self._do(self.scheduler.commands_run(container_id, holding.commands, now))

    def on_succeeded(self, container_id: str, batch_id: int, count: int, exec_us: int) -> None:
        """Results of a batch's next inputs arrive."""
        if not self.alive:
            return
        items = self.judge.on_success(container_id, batch_id, count)
        now = self.world.now
        deliver, commands = self.scheduler.succeeded(container_id, batch_id, count, exec_us, now)
        wanted = bool(items) and items[0][0] not in self.judge.cancelled
        assert deliver == wanted, f"results of {items} are delivered: {deliver}"
        if deliver:
            for item in items:
                self.judge.settle(item)
                self._settle(item, "ok")
        self._do(commands)

    def on_failed(self, container_id: str, batch_id: int) -> None:
        """A user's exception arrives."""
        if not self.alive:
            return
        late = self.judge.was_late(container_id, batch_id)
        item = self.judge.on_failure(container_id, batch_id)
        now = self.world.now
        verdict, commands = self.scheduler.failed(container_id, batch_id, True, now)
        if item is None:
            assert verdict == "drop", "a late exception is not dropped"
        elif item[0] in self.judge.cancelled:
            assert verdict == "drop", "an exception of a cancelled call is not dropped"
        elif late:
            assert verdict == "drop", "an exception is delivered that only says it was too late"
            self._do(commands)
            self.judge.on_late(item)
            return
        else:
            retries = self.scheduler.state.calls[item[0]].pool.config.retries
            self.judge.on_verdict(item, verdict, retries.max_retries)
            if verdict == "deliver":
                self._settle(item, "raised")
        self._do(commands)

    def on_returned(self, container_id: str, batch_id: int, count: int) -> None:
        """Unstarted inputs come back."""
        if self.alive:
            self.judge.on_returned(container_id, batch_id, count)
            self._do(self.scheduler.returned(container_id, batch_id, count, self.world.now))

    # Commands

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            self._carry_out(command)
        rng = self.world.rng
        if self.world.steps < 300 or rng.random() < 0.1:
            self.scheduler.check_invariants()
        self._rearm()

    def _carry_out(self, command: Command) -> None:
        match command:
            case Dispatch(container_id):
                self._dispatch(command, container_id)
            case StartContainer(pool_id, container_id):
                plan = self.plans[pool_id]
                self.world.log("start", container_id, pool_id)
                self.starts += 1
                pool = self.scheduler.state.pools[pool_id]
                config = pool.config
                self.judge.on_start(command, config, pool.need.memory_bytes)
                kind = SimContainer if config.max_inputs == 1 else SharedSimContainer
                self.containers[container_id] = kind(self, plan, container_id)
            case StopContainer(container_id, kill, reason):
                self._stop(container_id, kill, reason)
            case Reclaim(container_id, batch_id):
                self.world.log("reclaim", container_id, batch_id)
                self.reclaims += 1
                container = self.containers[container_id]
                container.inbox.send(lambda: container.on_reclaim(batch_id))
            case Flush(container_id, batch_id):
                self.world.log("flush", container_id, batch_id)  # nothing is held back here
            case CancelRunning(container_id, batch_id):
                self.judge.on_asked(container_id, batch_id)
                container = self.containers[container_id]
                container.inbox.send(lambda: container.on_cancel(batch_id))
            case FailInput():
                self._fail(command)
            case CallCancelled(call_id):
                self.world.log("cancelled", call_id)
                self.judge.cancelled.add(call_id)
                client, link = self.clients[call_id]
                link.send(client.on_cancelled)
            case CallFinished(call_id):
                self.world.log("finished", call_id)

    def _dispatch(self, command: Dispatch, container_id: str) -> None:
        batch = command.batch
        assert isinstance(batch.payload, list)
        items: list[Item] = batch.payload[batch.offset : batch.offset + batch.count]
        self.world.log("dispatch", container_id, batch)
        self.judge.on_dispatch(command, items)
        self.dispatches += 1
        container = self.containers[container_id]
        container.inbox.send(lambda: container.on_dispatch(batch.batch_id, items))

    def _stop(self, container_id: str, kill: bool, reason: str) -> None:
        self.world.log("stop", container_id, kill, reason)
        holding = self.judge.holdings.get(container_id)
        if holding is None:
            return
        late: list[Item] = []
        if reason == "timeout":
            config = self.scheduler.state.pools[holding.pool_id].config
            late = self.judge.on_timeout_of(container_id, config.timeout_s)
        if not holding.ready:
            self.judge.troubled.add(holding.pool_id)
        self.judge.on_stop(container_id, reason)
        for item in late:
            self.judge.on_late_retry(item)
        container = self.containers[container_id]
        container.inbox.send(lambda: container.on_stop(kill))

    def _fail(self, command: FailInput) -> None:
        self.world.log("fail", command)
        pool = self.scheduler.state.calls[command.call_id].pool
        self.judge.on_fail_input(command, pool)
        if command.fault is Fault.STOPPED:
            assert pool.removed, "inputs of a pool that was not removed are stopped"
        for index in range(command.first_index, command.first_index + command.count):
            self._settle((command.call_id, index), command.fault.name)

    # Time

    def _rearm(self) -> None:
        due = self.scheduler.next_wake()
        if due is None or due >= self._wake:
            return
        self._wake = due
        late_s = self.world.rng.random() * 0.002
        self.world.after(max(due - self.world.now, 0.0) + late_s, lambda: self._tick(due))

    def _tick(self, due: float) -> None:
        if not self.alive or due != self._wake:
            return
        self._wake = float("inf")
        commands = self.scheduler.tick(self.world.now)
        next_due = self.scheduler.next_wake()
        assert next_due is None or next_due > self.world.now, "a tick leaves work that was due"
        self._do(commands)
