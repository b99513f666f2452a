"""The ends of containers: stopping them, and what becomes of the inputs that they hold.

Keeps ``Pool``'s counts, the ledger and the table of containers true to each other. It must not
start or choose containers; callers rebalance the pool afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from volantd.core.commands import CancelRunning, FailInput, StopContainer
from volantd.core.model import (
    INFINITY,
    ContainerState,
    ExitCause,
    Fault,
    Loss,
)
from volantd.core.queueing import delay, drain, fail, requeue, rest_of, settle
from volantd.core.sharing import earliest_due, interrupt

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import (
        Batch,
        Call,
        Container,
        Pool,
        State,
    )
    from volantd.core.records.configuration import PoolConfig

#: What becomes of an exception: see ``Scheduler.failed``.
Verdict: TypeAlias = Literal["deliver", "retry", "drop"]


def clear_stall(container: Container) -> None:
    """Notes that the container made progress, or left."""
    if container.stalled:
        container.stalled = False
        container.pool.stalled -= 1


def longest_idle(pool: Pool) -> Container | None:
    """The idle container that leaves first, None when clients run commands in all of them."""
    for container in pool.idle:
        if not container.commands:
            return container
    return None


def idle_due(pool: Pool, longest: Container) -> float:
    """When the longest idle container of a pool that has more than it needs may be stopped.

    What was needed as a reserve is idle only since it is not.
    """
    since = longest.idle_since
    if pool.config.has_reserve:
        since = max(since, pool.recent_demand.below_since(pool.live))
    return since + pool.config.scaledown_window_s


def arm_idle(state: State, pool: Pool) -> None:
    """Has the pool's longest idle container looked at when it may scale down."""
    if not pool.idle or pool.starting + pool.ready <= pool.floor:
        return
    container = longest_idle(pool)
    if container is not None:
        state.fleet.idled[container.node] = None
        state.arm(container, idle_due(pool, container))


def stop(
    state: State,
    container: Container,
    kill: bool,
    reason: str,
    now: float,
    out: list[Command],
) -> None:
    """Tells a container that holds no inputs any more to stop."""
    assert not container.outstanding, container.container_id
    _withdraw(state, container)
    container.node.ledger.leave(container)
    container.state = ContainerState.STOPPING
    if not kill:
        container.kill_due = now + state.limits.stop_grace_s
        state.arm(container, container.kill_due)
    out.append(StopContainer(container.container_id, kill, reason))
    if state.events is not None:
        state.events.append((now, "stopping", container.container_id, reason))


def advance(
    state: State, pool: Pool, generation: int, reason: str, now: float, out: list[Command]
) -> None:
    """Has containers of earlier generations get no more inputs, and stops those that are idle."""
    pool.generation = generation
    for outdated in [c for c in pool.containers.values() if c.is_outdated]:
        pool.roomy.pop(outdated.container_id, None)
        pool.bursting.pop(outdated.container_id, None)
    for idle in [container for container in pool.idle if container.is_outdated]:
        stop(state, idle, False, reason, now, out)


def close(state: State, container: Container, reason: str, now: float, out: list[Command]) -> None:
    """Ends a live container whatever it runs; that has a moment for its own clean-up."""
    is_busy = bool(container.outstanding)
    take_back(state, container, out)
    exit_grace_s = container.pool.config.exit_grace_s
    stop(state, container, not is_busy and exit_grace_s is None, reason, now, out)
    if is_busy or exit_grace_s is not None:
        container.kill_due = now + (exit_grace_s or state.limits.close_grace_s)
        state.arm(container, container.kill_due)


def bury(state: State, container: Container) -> None:
    """Removes a container that is gone and holds no inputs any more."""
    assert not container.outstanding, container.container_id
    if container.state is not ContainerState.STOPPING:
        _withdraw(state, container)
        container.node.ledger.leave(container)
    state.fleet.release(container)
    del container.pool.containers[container.container_id]
    del state.containers[container.container_id]
    container.timer_due = INFINITY


def _withdraw(state: State, container: Container) -> None:
    """Takes a live container out of its pool's counts."""
    pool = container.pool
    clear_stall(container)
    pool.roomy.pop(container.container_id, None)
    pool.bursting.pop(container.container_id, None)
    if container.state is ContainerState.STARTING:
        pool.starting -= 1
    else:
        assert container.state is ContainerState.READY, container.container_id
        pool.ready -= 1
        if container in pool.idle:
            pool.idle.remove(container)
            del container.node.idle[container]
            arm_idle(state, pool)


def take_back(state: State, container: Container, out: list[Command]) -> None:
    """Returns all inputs that the container holds to their queues, in order, without penalty."""
    pool = container.pool
    for batch in reversed(container.outstanding.values()):
        count = batch.count - batch.done
        if batch.call.cancelled:
            settle(batch.call, count, out)
        elif batch.call.is_lease:
            _end_lease(batch, ExitCause.STOPPED, "its container ends", out)
        else:
            requeue(pool, rest_of(state, batch, 0, count))
    pool.running_inputs -= container.inputs
    container.inputs = 0
    container.outstanding.clear()
    container.kill_due = INFINITY


def _end_lease(batch: Batch, cause: ExitCause, detail: object, out: list[Command]) -> None:
    """Fails a lease whose container is gone: what used the slot cannot go on in another."""
    out.append(FailInput(batch.call_id, batch.first_index, 1, Fault.LOST, Loss(cause, detail, 1)))
    settle(batch.call, 1, out)


def forget_next(container: Container, batch: Batch) -> None:
    """Takes the next unreported input out of a batch that the container holds."""
    batch.done += 1
    container.inputs -= 1
    container.pool.running_inputs -= 1
    if batch.done == batch.count:
        del container.outstanding[batch.batch_id]


def deaths_survived(config: PoolConfig, cause: ExitCause) -> int:
    """How many deaths an input survives when the last has this cause.

    What used up memory or the disk does so again wherever it runs, and harms its neighbours.
    """
    if cause in (ExitCause.OOM, ExitCause.DISK_FULL):
        return min(config.max_platform_retries, config.max_exhaustion_retries)
    return config.max_platform_retries


def blame_death(
    state: State, container: Container, cause: ExitCause, detail: object, now: float,
    out: list[Command],
) -> None:  # fmt: skip
    """Returns a dead container's inputs; what ran travels in no batch, or fails as lost."""
    pool = container.pool
    running = list(container.outstanding.values())
    if pool.config.max_inputs == 1:
        del running[1:]
    grows = cause is ExitCause.OOM and may_grow(container)
    suspects = []
    for batch in running:
        if batch.call.is_lease and not batch.call.cancelled:
            forget_next(container, batch)
            _end_lease(batch, cause, detail, out)
        elif not batch.call.cancelled:
            deaths = batch.platform_attempt + 1
            attempt = batch.attempt + grows
            suspects.append(rest_of(state, batch, 0, 1, attempt=attempt, platform_attempt=deaths))
            forget_next(container, batch)
    take_back(state, container, out)
    if grows and suspects:
        _grow(state, container, now, out)
    policy = pool.config.retries
    for suspect in reversed(suspects):
        if grows and container.is_outdated and suspect.attempt <= policy.max_retries:
            delay(state, pool, suspect, now + policy.delay_s(suspect.attempt - 1))
        elif grows or suspect.platform_attempt > deaths_survived(pool.config, cause):
            fail(suspect, Fault.LOST, Loss(cause, detail, suspect.platform_attempt), out)
        else:
            requeue(pool, suspect)


def may_grow(container: Container) -> bool:
    """Whether, should it run out of memory, its pool's later containers shall have more."""
    multiplier = container.pool.config.retries.memory_multiplier
    return multiplier > 1.0 and container.need.memory_limit_bytes is not None


def _grow(state: State, container: Container, now: float, out: list[Command]) -> None:
    """Has the pool's later containers get more memory than this one; others end when idle.

    Nothing happens where they do already, or where the machine has no more.
    """
    pool = container.pool
    limit = container.need.memory_limit_bytes
    assert limit is not None, container.container_id
    largest = state.fleet.largest(container.need)
    if container.is_outdated or largest is None or limit >= largest.memory_bytes:
        return
    multiplier = pool.config.retries.memory_multiplier
    pool.need = container.need.grown(multiplier, largest.memory_bytes)
    pool.coming += 1
    advance(state, pool, pool.coming, "it has too little memory", now, out)
    if state.events is not None:
        state.events.append((now, "grown", pool.pool_id, pool.need.memory_limit_bytes or 0))


def fail_by_user(
    state: State, container: Container, batch: Batch, retryable: bool, now: float
) -> bool:
    """Takes the next input of a batch out because of a user failure; True when it is retried."""
    policy = container.pool.config.retries
    again = retryable and not batch.call.cancelled and batch.attempt < policy.max_retries
    if again:
        retry = rest_of(state, batch, 0, 1, attempt=batch.attempt + 1)
        delay(state, container.pool, retry, now + policy.delay_s(batch.attempt))
    forget_next(container, batch)
    return again


def time_out(
    state: State, container: Container, batch: Batch, now: float, out: list[Command]
) -> None:
    """Takes the next input of a batch out because it ran too long; it fails or is retried."""
    index = batch.first_index + batch.done
    if not fail_by_user(state, container, batch, True, now):
        timeout_s = container.pool.config.timeout_s
        out.append(FailInput(batch.call_id, index, 1, Fault.TIMEOUT, timeout_s))
        settle(batch.call, 1, out)
    if state.events is not None:
        state.events.append((now, "timed out", container.container_id, batch.batch_id))


def judge_failure(
    state: State, container: Container, batch: Batch, retryable: bool, now: float,
    out: list[Command],
) -> Verdict:  # fmt: skip
    """Takes the next input of a batch out because it ended with an exception."""
    call = batch.call
    if batch.interrupted_at < INFINITY and not call.cancelled:
        time_out(state, container, batch, now, out)  # the exception only says that it ended
        return "drop"
    if fail_by_user(state, container, batch, retryable, now):
        return "retry"
    settle(call, 1, out)
    return "drop" if call.cancelled else "deliver"


def busy_deadline(state: State, container: Container) -> float:
    """When a busy container is looked at: an input ran too long, or on after its cancelling."""
    if container.pool.config.max_inputs > 1:
        return earliest_due(state, container)
    due = container.progress_at + container.pool.config.timeout_s
    batch = next(iter(container.outstanding.values()))
    if batch.call.is_lease:
        due = INFINITY
    if batch.call.cancelled:
        grace_due = container.progress_at + state.limits.cancel_grace_s
        due = min(due, max(container.kill_due, grace_due))
    return due


def cancel(state: State, call: Call, terminate: bool, now: float, out: list[Command]) -> None:
    """Drops the call's waiting inputs, and interrupts those that run or kills their containers."""
    call.cancelled = True
    for batch in drain(call.pool, call):
        settle(call, batch.count, out)
    if not call.unfinished:
        return
    for container in list(call.pool.containers.values()):
        held = [batch for batch in container.outstanding.values() if batch.call is call]
        if not held:
            continue
        if container.pool.config.max_inputs > 1:
            _cancel_shared(state, container, held, terminate, now, out)
            continue
        if terminate and held[0] is next(iter(container.outstanding.values())):
            take_back(state, container, out)
            stop(state, container, True, "cancelled", now, out)
            continue
        others = any(
            batch.call.cancelled and batch.call is not call
            for batch in container.outstanding.values()
        )
        if not others:
            container.kill_due = now + state.limits.cancel_grace_s
        out.extend(CancelRunning(container.container_id, batch.batch_id) for batch in held)
        state.arm(container, busy_deadline(state, container))


def _cancel_shared(
    state: State, container: Container, held: list[Batch], terminate: bool, now: float,
    out: list[Command],
) -> None:  # fmt: skip
    """Ends a cancelled call's inputs beside others: one by one, or with their container."""
    if container.pool.config.batch_size and not terminate:
        # The user's code has taken them together, so they end together, when nobody waits.
        if any(not batch.call.cancelled for batch in container.outstanding.values()):
            return
        held = list(container.outstanding.values())
    elif terminate or not container.pool.config.interruptible:
        take_back(state, container, out)
        stop(state, container, True, "cancelled", now, out)
        return
    for batch in held:
        interrupt(container, batch, now, out)
    state.arm(container, earliest_due(state, container))
