"""What happens when time passes: timeouts, retries that are due, idle windows, stalls.

A timer only says *look*: each look computes the real deadline afresh and sets a new timer if that
is still ahead, so the hot path moves deadlines without touching the heap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.commands import StopContainer
from volantd.core.containers import busy_deadline, stop, take_back, time_out
from volantd.core.dispatch import balance, check_stalls
from volantd.core.model import INFINITY, Batch, ContainerState, Pool
from volantd.core.queueing import undelay
from volantd.core.scaling.retiring import scale_down
from volantd.core.scaling.starting import start_failed
from volantd.core.sharing import due_of, earliest_due, interrupt

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Container, State


def look_at(state: State, owner: Container | Pool | Batch, now: float, out: list[Command]) -> None:
    """Does what is due for the owner of a timer."""
    if isinstance(owner, Batch):
        undelay(owner)
        balance(state, owner.call.pool, now, out)
    elif isinstance(owner, Pool):
        if not owner.removed:
            state.waiting.look_again(owner)
            check_stalls(state, owner, now, out)
            balance(state, owner, now, out)
    elif owner.state is ContainerState.STARTING:
        _look_at_starting(state, owner, now, out)
    elif owner.state is ContainerState.STOPPING:
        _look_at_stopping(state, owner, now, out)
    elif owner.outstanding:
        _look_at_busy(state, owner, now, out)
    else:
        scale_down(state, owner.pool, now, out)


def _look_at_starting(state: State, container: Container, now: float, out: list[Command]) -> None:
    pool = container.pool
    timeout_s = pool.config.startup_timeout_s
    due = container.started_at + timeout_s
    if due > now:
        state.arm(container, due)
        return
    stop(state, container, True, "it did not start in time", now, out)
    reason = f"the container was not ready after {timeout_s:g} s"
    start_failed(state, container, reason, True, now, out)
    balance(state, pool, now, out)


def _look_at_stopping(state: State, container: Container, now: float, out: list[Command]) -> None:
    if container.kill_due > now:
        state.arm(container, container.kill_due)
        return
    container.kill_due = INFINITY
    out.append(StopContainer(container.container_id, True, "it did not stop in time"))


def _look_at_busy(state: State, container: Container, now: float, out: list[Command]) -> None:
    due = busy_deadline(state, container)
    if due > now:
        state.arm(container, due)
        return
    pool = container.pool
    if pool.config.max_inputs > 1:
        overdue = _overdue(state, container, now, out)
        if not overdue:
            state.arm(container, earliest_due(state, container))
            return
    else:
        overdue = [next(iter(container.outstanding.values()))]
    reason = "cancelled"
    for batch in overdue:
        if not batch.call.cancelled:
            reason = "timeout"
            time_out(state, container, batch, now, out)
    take_back(state, container, out)
    stop(state, container, True, reason, now, out)
    balance(state, pool, now, out)


def _overdue(state: State, container: Container, now: float, out: list[Command]) -> list[Batch]:
    """The inputs for which a shared container has to end; others that are due are asked to end."""
    asked = container.pool.config.interruptible
    overdue = []
    for batch in container.outstanding.values():
        if due_of(state, batch) > now:
            continue
        if asked and batch.interrupted_at == INFINITY:
            interrupt(container, batch, now, out)
        else:
            overdue.append(batch)
    return overdue
