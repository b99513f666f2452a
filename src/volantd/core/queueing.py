"""The queues: how inputs enter, leave and return to a pool's ring of calls.

A pool serves its calls in turns, a batch each; within a call the order of indexes holds, also for
inputs that return. It must not choose containers: that is ``dispatch``.

    pool.ring:  call A [0..9][10..19]   call B [0]   call C [7][8..15]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.commands import CallFinished, FailInput
from volantd.core.model import Batch

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Call, Fault, Pool, State


def new_batch(
    state: State,
    call: Call,
    first_index: int,
    count: int,
    payload: object,
    offset: int,
    attempt: int = 0,
    platform_attempt: int = 0,
) -> Batch:
    """A batch under the next number."""
    state.batch_count += 1
    return Batch(
        state.batch_count, call, first_index, count, payload, offset, attempt, platform_attempt
    )


def enqueue(pool: Pool, batch: Batch) -> None:
    """Puts a batch behind the others of its call."""
    call = batch.call
    call.queue.append(batch)
    pool.queued_inputs += batch.count
    if not call.in_ring:
        call.in_ring = True
        pool.ring.append(call)


def requeue(pool: Pool, batch: Batch) -> None:
    """Puts a batch back: before all later inputs of its call, and its call first in the ring."""
    call = batch.call
    queue = call.queue
    position = 0
    for other in queue:
        if other.first_index > batch.first_index:
            break
        position += 1
    queue.insert(position, batch)
    pool.queued_inputs += batch.count
    if not call.in_ring:
        call.in_ring = True
        pool.ring.appendleft(call)


def rest_of(
    state: State,
    batch: Batch,
    skip: int,
    count: int,
    *,
    attempt: int | None = None,
    platform_attempt: int | None = None,
) -> Batch:
    """A new batch of ``count`` unreported inputs of a dispatched one, ``skip`` after the next."""
    start = batch.done + skip
    rest = new_batch(
        state,
        batch.call,
        batch.first_index + start,
        count,
        batch.payload,
        batch.offset + start,
        batch.attempt if attempt is None else attempt,
        batch.platform_attempt if platform_attempt is None else platform_attempt,
    )
    rest.queued_at = batch.queued_at
    return rest


def take(state: State, pool: Pool, size: int) -> Batch:
    """Takes ``size`` inputs off the first batch of the call whose turn it is."""
    ring = pool.ring
    call = ring[0]
    queue = call.queue
    batch = queue[0]
    pool.queued_inputs -= size
    if size < batch.count:
        head = new_batch(
            state,
            call,
            batch.first_index,
            size,
            batch.payload,
            batch.offset,
            batch.attempt,
            batch.platform_attempt,
        )
        batch.first_index += size
        batch.offset += size
        batch.count -= size
        ring.rotate(-1)
        return head
    queue.popleft()
    if queue:
        ring.rotate(-1)
    else:
        ring.popleft()
        call.in_ring = False
    return batch


def delay(state: State, pool: Pool, batch: Batch, due: float) -> None:
    """Keeps a batch back until ``due``."""
    call = batch.call
    if call.delayed is None:
        call.delayed = {}
    call.delayed[batch.batch_id] = batch
    pool.delayed_inputs += batch.count
    state.arm_retry(batch, due)


def undelay(batch: Batch) -> None:
    """Queues a delayed batch whose time has come."""
    delayed = batch.call.delayed
    assert delayed is not None, batch
    del delayed[batch.batch_id]
    pool = batch.call.pool
    pool.delayed_inputs -= batch.count
    requeue(pool, batch)


def drain(pool: Pool, call: Call) -> list[Batch]:
    """Removes and returns all batches of the call that are queued or delayed."""
    batches = list(call.queue)
    call.queue.clear()
    for batch in batches:
        pool.queued_inputs -= batch.count
    if call.in_ring:
        pool.ring.remove(call)
        call.in_ring = False
    if call.delayed:
        for batch in call.delayed.values():
            pool.delayed_inputs -= batch.count
            batches.append(batch)
        call.delayed = None
    return batches


def settle(call: Call, count: int, out: list[Command]) -> None:
    """Notes that ``count`` inputs of the call have their outcome."""
    call.unfinished -= count
    if call.closed and not call.unfinished and not call.cancelled and not call.finished:
        call.finished = True
        out.append(CallFinished(call.call_id))


def fail(batch: Batch, fault: Fault, detail: object, out: list[Command]) -> None:
    """Fails the inputs of a batch that belongs to no queue and no container."""
    call = batch.call
    assert not call.cancelled, batch
    assert not batch.done, batch
    out.append(FailInput(call.call_id, batch.first_index, batch.count, fault, detail))
    settle(call, batch.count, out)


def fail_waiting(
    state: State, pool: Pool, fault: Fault, detail: object, out: list[Command]
) -> None:
    """Fails all queued and delayed inputs of the pool."""
    calls = list(pool.ring)
    if pool.delayed_inputs:
        calls += [
            call
            for call in state.calls.values()
            if call.pool is pool and call.delayed and not call.in_ring
        ]
    for call in calls:
        for batch in sorted(drain(pool, call), key=_first_index):
            fail(batch, fault, detail, out)


def _first_index(batch: Batch) -> int:
    return batch.first_index
