r"""The records of the core: batches, calls, containers, pools, and the whole state.

Owns what is remembered between two events, and no rule about it. Only the functions that
``Scheduler`` calls may change these records; everybody else reads them or leaves them alone.

    State --> Pool --> ring of Call --> queue of Batch
                  \\--> Container --> outstanding Batch (dispatched, in order)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING, TypeAlias

from volantd.core.nodes.fleet import Fleet
from volantd.core.nodes.lack import Lack
from volantd.core.nodes.line import Line
from volantd.core.records.intervals import IndexRanges
from volantd.core.records.recent import RecentPeak

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from volantd.core.nodes.node import Node
    from volantd.core.records.configuration import Limits, PoolConfig
    from volantd.core.records.gpus import Gpu

PoolId: TypeAlias = str
CallId: TypeAlias = str
ContainerId: TypeAlias = str
#: (now, what happened, whose id, a second id or number): see ``State.events``.
Event: TypeAlias = tuple[float, str, str, str | int]

INFINITY = float("inf")


class UnknownIdError(LookupError):
    """A pool or call that the scheduler does not know was named."""


class ExitCause(Enum):
    """Why a container is gone."""

    #: It left by itself with status 0.
    CLEAN = auto()
    #: It left by itself with another status or by its own signal (segmentation fault).
    CRASHED = auto()
    #: Somebody outside killed it, or its machine is gone.
    KILLED = auto()
    #: It used more memory than it may.
    OOM = auto()
    #: It wrote so much that the disk of its machine was nearly full.
    DISK_FULL = auto()
    #: It was told to stop by a ``StopContainer``.
    STOPPED = auto()


class Fault(Enum):
    """Why the platform, not the user's code, failed an input."""

    #: Its containers died too often; the detail is a ``Loss``.
    LOST = auto()
    #: It ran longer than its pool's ``timeout_s``; the detail is that number.
    TIMEOUT = auto()
    #: No container of its pool could be started; the detail is the reason that was reported.
    START_FAILED = auto()
    #: Its pool was removed.
    STOPPED = auto()


class ContainerState(Enum):
    """Where a container is in its life. A container that is gone has no record."""

    #: A start was asked for, and no answer came yet.
    STARTING = auto()
    #: It takes inputs: idle when it holds none.
    READY = auto()
    #: It was told to stop, holds no inputs any more, and still counts in the ledger.
    STOPPING = auto()


@dataclass(frozen=True, slots=True)
class Loss:
    """The detail of ``Fault.LOST``."""

    cause: ExitCause
    #: What was handed to ``container_exited`` for the last of the deaths.
    detail: object
    #: How many containers died while they ran this input.
    deaths: int


class Batch:
    """Consecutive inputs of one call: the unit of dispatch.

    ``batch_id``, ``first_index``, ``payload`` and ``offset`` stay as they are once dispatched;
    ``done`` counts the inputs that were reported, and ``count`` shrinks when a tail is returned.
    Inputs that go back to the queue do so as a new batch.
    """

    __slots__ = (
        "attempt",
        "batch_id",
        "call",
        "call_id",
        "count",
        "done",
        "first_index",
        "interrupted_at",
        "offset",
        "payload",
        "platform_attempt",
        "queued_at",
        "reclaiming",
        "started_at",
    )

    def __init__(
        self,
        batch_id: int,
        call: Call,
        first_index: int,
        count: int,
        payload: object,
        offset: int,
        attempt: int,
        platform_attempt: int,
    ) -> None:
        self.batch_id = batch_id
        self.call = call
        self.call_id = call.call_id
        self.first_index = first_index
        self.count = count
        self.payload = payload
        #: Items of ``payload`` that come before ``first_index``.
        self.offset = offset
        #: User failures so far.
        self.attempt = attempt
        #: Containers that died while they ran this input.
        self.platform_attempt = platform_attempt
        self.done = 0
        self.reclaiming = False
        #: When its first input was submitted.
        self.queued_at = -INFINITY
        #: When it began, and when it was asked to end early; kept where inputs run side by side.
        self.started_at = self.interrupted_at = INFINITY

    def __repr__(self) -> str:
        return (
            f"Batch({self.batch_id}, {self.call_id!r}, {self.first_index}+{self.count}"
            f" done={self.done} attempt={self.attempt}/{self.platform_attempt})"
        )


class Call:
    """One invocation: its queued inputs and what is known about the others."""

    __slots__ = (
        "call_id",
        "cancelled",
        "closed",
        "delayed",
        "finished",
        "in_ring",
        "is_lease",
        "known",
        "known_end",
        "known_first",
        "pool",
        "queue",
        "submitted",
        "total",
        "unfinished",
    )

    def __init__(self, call_id: CallId, pool: Pool, is_lease: bool = False) -> None:
        assert pool.config.has_leases or not is_lease, call_id
        self.call_id = call_id
        self.pool = pool
        #: Its input is a slot that is lent: it lasts as long as somebody wants it, has no timeout,
        #: and ends with its container.
        self.is_lease = is_lease
        self.queue: deque[Batch] = deque()
        self.in_ring = False
        #: The known indexes are ``[known_first, known_end)`` until ``known`` takes over.
        self.known_first = -1
        self.known_end = -1
        self.known: IndexRanges | None = None
        self.submitted = 0
        #: Known inputs without an outcome: queued, delayed or running.
        self.unfinished = 0
        self.closed = False
        self.total = -1
        #: Cancelled or forgotten: nothing of it is delivered or run again.
        self.cancelled = False
        self.finished = False
        #: Batches that wait for their retry, by id.
        self.delayed: dict[int, Batch] | None = None

    def add_known(self, first_index: int, count: int) -> list[tuple[int, int]]:
        """Notes indexes as known; returns the ``(first, count)`` pieces that were not."""
        if self.known is None:
            if self.known_end < 0:
                self.known_first = self.known_end = first_index
            if self.known_end == first_index:
                self.known_end += count
                return [(first_index, count)]
            self.known = IndexRanges()
            self.known.add(self.known_first, self.known_end - self.known_first)
        return self.known.add(first_index, count)


class Container:
    """One container from the moment its start is asked for until it is gone."""

    __slots__ = (
        "commands",
        "completed",
        "container_id",
        "generation",
        "gpus",
        "idle_since",
        "inputs",
        "kill_due",
        "need",
        "node",
        "outstanding",
        "pool",
        "progress_at",
        "stalled",
        "started_at",
        "state",
        "timer_due",
        "unanswered",
    )

    def __init__(
        self,
        container_id: ContainerId,
        pool: Pool,
        node: Node,
        gpus: tuple[Gpu, ...],
        now: float,
    ) -> None:
        self.container_id = container_id
        self.pool = pool
        self.node = node
        #: What it was started with, whatever its pool needs by now.
        self.need = pool.need
        self.generation = pool.coming
        self.gpus = gpus
        self.state = ContainerState.STARTING
        #: Dispatched batches by id, oldest first; the first one runs, or all in a shared pool.
        self.outstanding: dict[int, Batch] = {}
        #: Inputs in ``outstanding`` without an outcome.
        self.inputs = 0
        #: Looks at its server in a row that got no answer.
        self.unanswered = 0
        #: Inputs that it finished in its life.
        self.completed = 0
        #: When the input that it runs began, as far as we know.
        self.progress_at = now
        self.started_at = now
        #: When it ran out of inputs, or of commands if that was later.
        self.idle_since = now
        #: Commands of clients that run in it; with any, it does not go for want of inputs.
        self.commands = 0
        self.stalled = False
        #: When it is killed, should it not have stopped or ended a cancelled input by itself.
        self.kill_due = INFINITY
        self.timer_due = INFINITY

    @property
    def is_outdated(self) -> bool:
        """Whether it gets no more inputs: later ones have more memory, or are of a new version."""
        return self.generation < self.pool.generation


class Pool:
    """The containers and waiting inputs of one function variant.

    One whose containers run several inputs at the same time is called shared: see ``sharing``.
    """

    __slots__ = (
        "broken",
        "bursting",
        "coming",
        "config",
        "containers",
        "delayed_inputs",
        "estimate_s",
        "failed_at",
        "generation",
        "idle",
        "kept",
        "lacking",
        "looked_as",
        "need",
        "nodes",
        "nominated_at",
        "nominee",
        "passed",
        "pool_id",
        "queued_inputs",
        "ready",
        "recent_demand",
        "removed",
        "ring",
        "roomy",
        "running_inputs",
        "short_since",
        "stalled",
        "start_failures",
        "start_not_before",
        "starting",
        "timer_due",
    )

    def __init__(self, pool_id: PoolId, config: PoolConfig) -> None:
        self.pool_id = pool_id
        self.config = config
        #: What its next container takes; more than it asked for once one ran out of memory.
        self.need = config.need
        #: The oldest containers that still get inputs, and those that are started now: what they
        #: are has changed so often. They differ while old ones work on until a new one is ready.
        self.generation = self.coming = 0
        self.removed = False
        self.containers: dict[ContainerId, Container] = {}
        self.starting = self.ready = 0
        #: Idle containers, the most recently used one last.
        self.idle: list[Container] = []
        #: Busy containers that may have room for prefetching: a hint, checked on use.
        #: In a shared pool exactly the busy ones below the target, the one used last at the end.
        self.roomy: dict[ContainerId, Container] = {}
        #: In a shared pool: those at or above the target that could take more.
        self.bursting: dict[ContainerId, Container] = {}
        #: How much ``need`` there was within the window, where there may be a reserve.
        self.recent_demand = RecentPeak()
        #: Containers without progress for ``stall_s``.
        self.stalled = 0
        #: Calls with queued inputs, the next one first.
        self.ring: deque[Call] = deque()
        self.queued_inputs = self.running_inputs = self.delayed_inputs = 0
        #: Moving average of the run time of one input; None until the first one finished.
        self.estimate_s: float | None = None
        self.start_failures = 0
        self.failed_at = -INFINITY
        self.start_not_before = -INFINITY
        #: Since when it has had fewer containers than it needs; INFINITY: it has enough.
        self.short_since = INFINITY
        #: How many containers it has on which machine, those used last at the end.
        self.nodes: dict[Node, int] = {}
        #: While it waits: where room is kept or made for its next container.
        self.nominee: Node | None = None
        #: Which version of the machines that was chosen from.
        self.nominated_at = -1
        #: The GPUs of that machine that nobody after it in the line gets.
        self.kept: Set[Gpu] = frozenset()
        #: While it waits: what it was found to lack, and whether it was starved when it looked
        #: for containers that others can spare.
        self.lacking = Lack.UNKNOWN
        self.looked_as: bool | None = None
        #: Since when the pool waited that this one passed in the queue for room.
        self.passed = -INFINITY
        #: Starts are hopeless until somebody submits again.
        self.broken = False
        self.timer_due = INFINITY

    def configure(self, config: PoolConfig) -> None:
        """Replaces the configuration; what has grown stays, unless other needs are asked for."""
        if config.need != self.config.need:
            self.need = config.need
        self.config = config

    @property
    def is_renewing(self) -> bool:
        """Whether containers give way to others as soon as one of these is ready."""
        return self.coming > self.generation

    @property
    def live(self) -> int:
        """Containers that start or take inputs."""
        return self.starting + self.ready

    @property
    def weight(self) -> int:
        """The same, with all that are in gangs."""
        return (self.starting + self.ready) * self.config.gang_size

    @property
    def urgency(self) -> float:
        """Its turn for room, lowest first: with inputs by how few containers it has; the others.

        Whoever has many and waits for more must not stand before one with few: nobody would yield
        to it, and so nobody would get any.
        """
        return self.weight if self.queued_inputs else INFINITY

    @property
    def gathering(self) -> int:
        """Idle containers that queued inputs will have, once there are enough to be taken."""
        size = self.config.batch_size
        return min(len(self.idle), ceil(self.queued_inputs / size)) if size else 0

    @property
    def demand(self) -> int:
        """Containers in use, with those in reserve for them."""
        config = self.config
        if not self.queued_inputs and not self.running_inputs:
            return 0
        need = self.ready - len(self.idle) + self.gathering
        if config.target_inputs:
            need = max(need, ceil(self.running_inputs / config.target_inputs))
        return need + config.buffer_containers

    @property
    def floor(self) -> int:
        """Containers that are kept: the minimum, and those in use with their reserve."""
        config = self.config
        return max(config.min_containers, min(self.demand, config.max_containers))


class State:
    """Everything the scheduler remembers."""

    __slots__ = (
        "batch_count",
        "calls",
        "containers",
        "events",
        "fleet",
        "id_factory",
        "limits",
        "pools",
        "stranded",
        "timer_count",
        "timers",
        "waiting",
    )

    def __init__(self, id_factory: Callable[[], ContainerId], limits: Limits) -> None:
        self.id_factory = id_factory
        self.limits = limits
        self.pools: dict[PoolId, Pool] = {}
        self.calls: dict[CallId, Call] = {}
        self.containers: dict[ContainerId, Container] = {}
        self.fleet = Fleet()
        #: Pools that want a container and find no room.
        self.waiting = Line()
        #: Pools that were hopeless on the machines there were: looked at when these change.
        self.stranded: dict[Pool, None] = {}
        self.timers: list[tuple[float, int, Container | Pool | Batch]] = []
        self.timer_count = 0
        self.batch_count = 0
        self.events: deque[Event] | None = (
            deque(maxlen=limits.events_max) if limits.events_max else None
        )

    def arm(self, owner: Container | Pool, due: float) -> None:
        """Makes sure that ``owner`` is looked at by ``tick`` at ``due`` or before."""
        if due < owner.timer_due:
            owner.timer_due = due
            self.timer_count += 1
            heappush(self.timers, (due, self.timer_count, owner))

    def pop_timer(self) -> Container | Pool | Batch:
        """Removes the earliest timer and returns whose it was."""
        due, _, owner = heappop(self.timers)
        if not isinstance(owner, Batch) and owner.timer_due == due:
            owner.timer_due = INFINITY
        return owner

    def arm_retry(self, batch: Batch, due: float) -> None:
        """Makes ``tick`` queue a delayed batch at ``due``."""
        self.timer_count += 1
        heappush(self.timers, (due, self.timer_count, batch))
