"""Watches a history from outside the core and asserts what must hold whatever happens.

Keeps its own books from the commands and events that it sees: who holds which input, who was
blamed for which death, what the machine has booked. Its rules are written down twice on purpose,
here and in the core, and in different words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core import LOCAL, Dispatch, ExitCause, FailInput, Fault, Loss
from volantd.core.containers import deaths_survived
from volantd.sim.devices import check_grant

if TYPE_CHECKING:
    from volantd.core import Pool, PoolConfig, StartContainer
    from volantd.sim.containers import Item
    from volantd.sim.scenario import Scenario
    from volantd.sim.world import World

PREFETCH_BATCHES_MAX = 2
STARTS_MAX = 8
DEATHS_UNTIL_ALONE = 2
CANCEL_GRACE_S = 10.0


class Holding:
    """What the hub must believe about one container."""

    def __init__(self, command: StartContainer, config: PoolConfig, booked_bytes: int) -> None:
        self.pool_id = command.pool_id
        self.node_id = command.node_id
        self.config = config
        self.booked_bytes = booked_bytes
        self.size = command.size
        self.memory_limit_bytes = command.memory_limit_bytes
        self.gpus = command.gpus
        self.ready = False
        self.stopped = False
        self.served = 0
        #: Commands of clients that run in it.
        self.commands = 0
        #: Inputs it was given and has not reported, in order, by batch.
        self.batches: dict[int, list[Item]] = {}
        #: When each batch was given to it, and when it was asked to end one early.
        self.since: dict[int, float] = {}
        self.asked: dict[int, float] = {}

    @property
    def grows(self) -> bool:
        """Whether later containers of its pool get more memory should it run out of it."""
        return self.memory_limit_bytes is not None and self.config.retries.memory_multiplier > 1.0

    def running(self) -> list[Item]:
        """The inputs that it runs, as far as the hub can know."""
        if self.config.max_inputs > 1:
            return [item for items in self.batches.values() for item in items]
        head = self.head()
        return [] if head is None else [head]

    def head(self) -> Item | None:
        """The input that it runs, as far as the hub can know."""
        for items in self.batches.values():
            if items:
                return items[0]
        return None


class Judge:
    """Asserts the rules of one life of a hub, and counts what happened for the summary."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world = world
        self.scenario = scenario
        self.holdings: dict[str, Holding] = {}
        self.holder: dict[Item, str] = {}
        self.blamed: dict[Item, int] = {}
        self.raised: dict[Item, int] = {}
        self.settled: set[Item] = set()
        #: The next index of a call that was never dispatched before.
        self.fresh: dict[str, int] = {}
        self.cancelled: set[str] = set()
        #: Pools of which some container did not come up.
        self.troubled: set[str] = set()
        self._seen: dict[str, set[Item]] = {}
        #: Indexes of a call that were taken from a container and must come before all others.
        self._returned: dict[str, set[int]] = {}
        #: The memory of each machine, and how many containers it takes.
        self.rooms = {LOCAL: (scenario.memory_bytes, scenario.max_containers)}

    # Containers

    def on_start(self, command: StartContainer, config: PoolConfig, booked_bytes: int) -> None:
        """A start was commanded."""
        pool_id, container_id = command.pool_id, command.container_id
        assert container_id not in self.holdings, "a container's id was used twice"
        self.holdings[container_id] = Holding(command, config, booked_bytes)
        memory_bytes, max_containers = self.rooms[command.node_id]
        there = [h for h in self.holdings.values() if h.node_id == command.node_id]
        others = {gpu for holding in there[:-1] for gpu in holding.gpus}
        check_grant(config, command.gpus, others)
        booked = sum(holding.booked_bytes for holding in there)
        assert booked <= memory_bytes, "a machine's memory is over-committed"
        count = sum(holding.size for holding in there)
        assert count <= max_containers, "a machine has too many containers"
        assert command.size == config.gang_size, "a gang started in part"
        peers = [
            holding
            for holding in self.holdings.values()
            if holding.pool_id == pool_id and not holding.stopped
        ]
        assert len(peers) <= config.max_containers, "the pool has too many containers"
        starting = sum(not holding.ready for holding in peers)
        assert starting <= max(STARTS_MAX, len(peers) - starting), "too many start at once"

    def on_stop(self, container_id: str, reason: str) -> None:
        """A stop was commanded: what the container holds is no longer its own."""
        holding = self.holdings.get(container_id)
        if holding is not None:
            spared = reason in {"idle", "another function needs the room"}
            assert not (spared and holding.commands), "a container with commands was let go"
            holding.stopped = True
            self._release(holding)

    def on_gone(self, container_id: str, cause: ExitCause | None) -> None:
        """The hub is about to learn that a container is gone."""
        holding = self.holdings.pop(container_id, None)
        if holding is None:
            return
        running = [] if cause in {None, ExitCause.STOPPED} else holding.running()
        for item in running:
            self.blamed[item] = self.blamed.get(item, 0) + 1
        self._release(holding)
        if cause is ExitCause.OOM and holding.grows:
            for item in running:
                self.raised[item] = self.raised.get(item, 0) + 1
                self.on_late_retry(item)

    def _release(self, holding: Holding) -> None:
        for items in holding.batches.values():
            self._let_go(items)
        holding.batches = {}

    def _let_go(self, items: list[Item]) -> None:
        for item in items:
            del self.holder[item]
            self._returned.setdefault(item[0], set()).add(item[1])

    # Inputs

    def on_dispatch(self, command: Dispatch, items: list[Item]) -> None:
        """A batch goes to a container."""
        batch = command.batch
        holding = self.holdings[command.container_id]
        assert holding.ready and not holding.stopped, "dispatched to a container that is not ready"
        assert batch.call_id not in self.cancelled, "dispatched an input of a cancelled call"
        assert items == [(batch.call_id, batch.first_index + n) for n in range(batch.count)]
        holding.served += batch.count
        assert not holding.config.single_use or holding.served == 1, "single use, used twice"
        self._check_neighbours(holding, items)
        returned = self._returned.setdefault(batch.call_id, set())
        returned.difference_update(index for _, index in items)
        assert not returned or min(returned) > batch.first_index, "returned inputs are passed over"
        for item in items:
            assert item not in self.holder, f"{item} runs twice at once"
            assert item not in self.settled, f"{item} runs again after its outcome"
            self.holder[item] = command.container_id
            self._check_attempts(item, batch.attempt, batch.platform_attempt, len(items))
        holding.batches[batch.batch_id] = list(items)
        holding.since[batch.batch_id] = self.world.now

    def _check_neighbours(self, holding: Holding, items: list[Item]) -> None:
        held = [b for b in holding.batches.values() if b]
        if holding.config.max_inputs == 1:
            assert len(held) <= PREFETCH_BATCHES_MAX
            return
        assert len(items) == 1, "inputs that run at once come one by one"
        assert len(held) < holding.config.max_inputs, "a container has too many inputs at once"
        together = [*holding.running(), *items]
        suspected = any(self.blamed.get(item, 0) >= DEATHS_UNTIL_ALONE for item in together)
        assert len(together) == 1 or not suspected, "an input that kills has neighbours"

    def _check_attempts(self, item: Item, attempt: int, deaths: int, count: int) -> None:
        assert deaths == self.blamed.get(item, 0), f"{item} is blamed for {deaths} deaths"
        assert attempt == self.raised.get(item, 0), f"{item} has failed {attempt} times"
        if deaths or attempt:
            assert count == 1, "an input that failed before takes neighbours along"
        call_id, index = item
        seen = self._seen.setdefault(call_id, set())
        if index > self.fresh.get(call_id, -1):
            self.fresh[call_id] = index
        else:
            assert item in seen, f"{item} starts after later inputs of its call"
        seen.add(item)

    def on_success(self, container_id: str, batch_id: int, count: int) -> list[Item]:
        """Results arrive; returns whose they are, empty when they come late."""
        items = self._batch(container_id, batch_id)
        taken = items[:count]
        del items[:count]
        for item in taken:
            del self.holder[item]
        return taken

    def on_failure(self, container_id: str, batch_id: int) -> Item | None:
        """A user's exception arrives; returns whose it is, None when it comes late."""
        taken = self.on_success(container_id, batch_id, 1)
        return taken[0] if taken else None

    def on_returned(self, container_id: str, batch_id: int, count: int) -> None:
        """Unstarted inputs come back."""
        items = self._batch(container_id, batch_id)
        self._let_go(items[len(items) - count :])
        del items[len(items) - count :]

    def _batch(self, container_id: str, batch_id: int) -> list[Item]:
        holding = self.holdings.get(container_id)
        return [] if holding is None else holding.batches.get(batch_id, [])

    def on_verdict(self, item: Item, verdict: str, max_retries: int) -> None:
        """The core said what to do about a user's exception."""
        failures = self.raised[item] = self.raised.get(item, 0) + 1
        wanted = "retry" if failures <= max_retries else "deliver"
        assert verdict == wanted, f"the verdict about {item} is {verdict}, not {wanted}"
        if verdict == "deliver":
            self.settle(item)

    def on_timeout_of(self, container_id: str, timeout_s: float) -> list[Item]:
        """The container is stopped because inputs take too long; returns which."""
        holding = self.holdings[container_id]
        late = holding.running()
        if holding.config.max_inputs > 1:
            late = [
                item for batch in holding.batches for item in self._late(holding, batch, timeout_s)
            ]
        assert late, "a container without late inputs timed out"
        for item in late:
            self.on_late(item)
        return late

    def _late(self, holding: Holding, batch_id: int, timeout_s: float) -> list[Item]:
        due = holding.since[batch_id] + timeout_s
        if holding.config.interruptible:
            due = holding.asked.get(batch_id, float("inf")) + CANCEL_GRACE_S
        items = holding.batches[batch_id] if due <= self.world.now else []
        return [item for item in items if item[0] not in self.cancelled]

    def on_late(self, item: Item) -> None:
        """An input took too long, which is a failure of the user's code."""
        assert self.scenario.inputs[item].hung, f"{item} timed out and never hung"
        self.raised[item] = self.raised.get(item, 0) + 1

    def on_asked(self, container_id: str, batch_id: int) -> None:
        """A container is asked to end an input early."""
        holding = self.holdings[container_id]
        config = holding.config
        assert config.max_inputs == 1 or config.interruptible or config.batch_size
        holding.asked.setdefault(batch_id, self.world.now)

    def was_late(self, container_id: str, batch_id: int) -> bool:
        """Whether the present input of a batch that runs beside others was asked to end."""
        holding = self.holdings.get(container_id)
        return holding is not None and holding.config.max_inputs > 1 and batch_id in holding.asked

    def on_late_retry(self, item: Item) -> None:
        """The input waits for its retry: others of its call may pass it."""
        self._returned.setdefault(item[0], set()).discard(item[1])

    def on_fail_input(self, command: FailInput, pool: Pool) -> None:
        """The core fails inputs by itself."""
        assert command.call_id not in self.cancelled, "an input of a cancelled call fails"
        pool_id, config = pool.pool_id, pool.config
        small = [
            pool.need.memory_bytes > memory_bytes or max_containers < pool.need.places
            for memory_bytes, max_containers in self.rooms.values()
        ]
        # Of several machines the one that has its GPUs may be too small; and of gangs nothing is
        # sure to fit the one that is left while another is replaced by its next life.
        oversized = any(small) if config.gpus or config.gang_size > 1 else all(small)
        for index in range(command.first_index, command.first_index + command.count):
            item = (command.call_id, index)
            if command.fault is Fault.LOST:
                assert isinstance(command.detail, Loss)
                survived = deaths_survived(config, command.detail.cause)
                grows = config.retries.memory_multiplier > 1.0
                assert grows or survived < command.detail.deaths <= config.max_platform_retries + 1
                assert self.blamed.get(item, 0) == command.detail.deaths, f"{item} is not lost"
            elif command.fault is Fault.TIMEOUT:
                assert self.raised.get(item, 0) == config.retries.max_retries, f"{item} has retries"
            elif command.fault is Fault.START_FAILED:
                trouble = oversized or pool_id in self.troubled
                assert trouble, f"{item} failed for want of a container"
            self.settle(item)

    def settle(self, item: Item) -> None:
        """The input has its outcome: the only one in this life of the hub."""
        assert item not in self.settled, f"{item} has two outcomes"
        self.settled.add(item)
        self._returned.setdefault(item[0], set()).discard(item[1])
