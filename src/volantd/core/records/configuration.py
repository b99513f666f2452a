"""What users ask of a pool, and what the scheduler keeps to itself: given, never changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from volantd.core.records.gpus import GpuWish


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when an input whose user code failed runs again."""

    max_retries: int = 0
    backoff_coefficient: float = 2.0
    initial_delay_s: float = 1.0
    max_delay_s: float = 60.0
    #: What the memory limit grows by when a container ran out of it; 1: it stays.
    memory_multiplier: float = 1.0

    def __post_init__(self) -> None:
        assert self.max_retries >= 0, self
        assert self.memory_multiplier >= 1.0, self
        assert self.backoff_coefficient >= 1.0, self
        assert self.initial_delay_s >= 0.0, self
        assert self.max_delay_s >= 0.0, self

    def delay_s(self, attempt: int) -> float:
        """How long to wait after attempt number ``attempt`` (0 is the first) failed."""
        try:
            delay_s = self.initial_delay_s * self.backoff_coefficient**attempt
        except OverflowError:
            return self.max_delay_s
        return min(delay_s, self.max_delay_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one container of a pool takes of the machine; in a pool of gangs, one gang."""

    #: What is booked in the ledger.
    memory_bytes: int = 0
    #: What it may use, or each of a gang; None: it has no limit of its own.
    memory_limit_bytes: int | None = None
    #: Alternatives, the best first; empty: no GPU.
    gpus: tuple[GpuWish, ...] = ()
    #: How many containers it counts for.
    places: int = 1

    def grown(self, multiplier: float, memory_bytes_max: float) -> Need:
        """The same with a higher limit of memory, and as much more booked.

        Args:
            multiplier: what the limit is multiplied by.
            memory_bytes_max: what the machine has, which no limit exceeds.
        """
        limit = self.memory_limit_bytes
        assert limit, self
        larger = int(min(limit * multiplier, max(memory_bytes_max / self.places, limit)))
        booked = int(self.memory_bytes * larger / limit)
        return replace(self, memory_bytes=booked, memory_limit_bytes=larger)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """What the user asked for one function variant."""

    min_containers: int = 0
    max_containers: int = 100
    #: Containers kept above the need while the pool has inputs.
    buffer_containers: int = 0
    scaledown_window_s: float = 60.0
    #: How long one input may run.
    timeout_s: float = 300.0
    startup_timeout_s: float = 300.0
    retries: RetryPolicy = RetryPolicy()
    #: A container takes one input in its life.
    single_use: bool = False
    #: What one container books in the machine's ledger, and the most that it may use.
    memory_bytes: int = 0
    memory_limit_bytes: int | None = None
    #: GPUs that each container gets for itself: alternatives, the best first.
    gpus: tuple[GpuWish, ...] = ()
    #: Container deaths that an input survives, and those when it used up its memory or the disk.
    max_platform_retries: int = 8
    max_exhaustion_retries: int = 2
    #: Inputs that a container runs at the same time.
    max_inputs: int = 1
    #: Inputs of a container that the autoscaler aims at; None for ``max_inputs``.
    target_inputs: int | None = None
    #: How long a container may take to end, when it has hooks of the user's for that.
    exit_grace_s: float | None = None
    #: Inputs that the user's code takes together, as many as ``max_inputs``; 0: one by one.
    batch_size: int = 0
    #: How long the first of them waits for others.
    batch_wait_s: float = 0.0
    #: An input that runs beside others can be stopped without its container.
    interruptible: bool = False
    #: How long more has to be needed, beside the first and the minimum, until another is started.
    scaleup_window_s: float = 0.0
    #: Slots of its containers are lent, by inputs that last: no container gets more than it runs.
    has_leases: bool = False
    #: Containers that start together, run each input together, and end together: a gang, which is
    #: one container to all rules. What is said above of one container is so of each of them.
    gang_size: int = 1

    def __post_init__(self) -> None:
        assert 0 <= self.min_containers <= self.max_containers, self
        assert self.max_containers >= 1, self
        assert self.buffer_containers >= 0, self
        assert self.scaledown_window_s >= 0, self
        assert self.timeout_s > 0, self
        assert self.startup_timeout_s > 0, self
        assert self.memory_bytes >= 0, self
        assert self.memory_limit_bytes is None or self.memory_limit_bytes > 0, self
        assert min(self.max_platform_retries, self.max_exhaustion_retries) >= 0, self
        assert self.max_inputs >= 1, self
        assert self.max_inputs == 1 or not self.single_use, self
        assert self.batch_size in (0, self.max_inputs), self
        assert not (self.batch_size and self.has_leases), self
        assert self.batch_wait_s >= 0, self
        assert self.gang_size >= 1, self
        assert self.gang_size == 1 or (self.max_inputs == 1 and not self.has_leases), self
        assert self.scaleup_window_s >= 0, self
        assert self.target_inputs is None or 1 <= self.target_inputs <= self.max_inputs, self

    @property
    def need(self) -> Need:
        """What one container takes, or one gang, before any ran out of memory."""
        size = self.gang_size
        return Need(
            memory_bytes=self.memory_bytes * size,
            memory_limit_bytes=self.memory_limit_bytes,
            gpus=tuple(GpuWish(wish.model, wish.count * size) for wish in self.gpus),
            places=size,
        )

    @property
    def is_estimated(self) -> bool:
        """Whether it counts how long inputs run; else nobody gets more than one at a time."""
        return not self.has_leases and self.gang_size == 1

    @property
    def has_reserve(self) -> bool:
        """Whether containers that run nothing may be needed all the same."""
        return bool(self.buffer_containers or self.target_inputs or self.batch_size)

    @property
    def inputs_per_container(self) -> int:
        """Inputs that are worth one container."""
        return self.target_inputs or self.max_inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The scheduler's own limits and thresholds, the same for all pools."""

    #: Containers of one pool that may be starting at the same time while fewer work already.
    starts_in_flight_max: int = 8
    #: Failed starts in a row, without one that worked, before waiting inputs fail.
    start_attempts_max: int = 5
    #: The wait after the first failed start; it doubles with every further one.
    start_backoff_s: float = 0.1
    start_backoff_s_max: float = 10.0
    #: A busy container gets further batches while its estimated work is below this.
    prefetch_below_s: float = 0.004
    #: Batches a container holds behind the one that it runs.
    prefetch_batches_max: int = 2
    #: A batch of more estimated work is shared between idle containers.
    share_above_s: float = 0.005
    #: No more estimated work than this goes to a container in one batch of several inputs.
    batch_s_max: float = 0.02
    #: A container without progress for so long gives back what it did not start.
    stall_s: float = 0.03
    #: Backlog of fast inputs that is worth one container more.
    backlog_per_container_s: float = 0.05
    #: A pool without a container that waits longer may take one from any other pool.
    starved_s: float = 1.0
    #: How long a cancelled input may go on before its container is killed.
    cancel_grace_s: float = 10.0
    #: The same when its app is stopped.
    close_grace_s: float = 0.8
    #: How long a container that was told to stop may take before it is killed.
    stop_grace_s: float = 30.0
    #: An input that ran in so many containers that died runs without neighbours from then on.
    deaths_until_alone: int = 2
    #: Looks in a row at a container's server, without an answer, until it is given up.
    unanswered_max: int = 3
    #: Transition events kept between two drains; 0 switches them off.
    events_max: int = 4096
