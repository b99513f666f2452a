"""What containers report of the inputs that they hold: the hot half of the scheduler's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.autoscale import next_estimate_s
from volantd.core.containers import clear_stall, judge_failure, stop
from volantd.core.dispatch import balance, break_off, refill
from volantd.core.queueing import requeue, rest_of, settle

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.containers import Verdict
    from volantd.core.model import ContainerId, State


class Reports:
    """Events that concern inputs under way. What is late changes nothing."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state

    def succeeded(
        self, container_id: ContainerId, batch_id: int, count: int, exec_us: int, now: float
    ) -> tuple[bool, list[Command]]:
        """The next ``count`` inputs of a batch succeeded; this is the hot path.

        Args:
            container_id: the container that reports.
            batch_id: a batch that it holds.
            count: how many inputs, in order, since its last report about the batch.
            exec_us: run time of all of them together.
            now: the time.

        Returns:
            Whether to deliver the results, and the commands. Not delivered is what comes late, or
            belongs to a call that was cancelled or forgotten.
        """
        out: list[Command] = []
        state = self.state
        container = state.containers.get(container_id)
        batch = None if container is None else container.outstanding.get(batch_id)
        if container is None or batch is None:
            return False, out
        left = batch.count - batch.done - count
        if left < 0 or count <= 0:
            break_off(state, container, now, out)
            return False, out
        pool = container.pool
        call = batch.call
        pool.running_inputs -= count
        container.inputs -= count
        container.completed += count
        container.progress_at = now
        batch.done += count
        if not left:
            del container.outstanding[batch_id]
        if container.stalled:
            clear_stall(container)
        if pool.config.is_estimated:
            pool.estimate_s = next_estimate_s(pool.estimate_s, exec_us, count)
        deliver = not call.cancelled
        settle(call, count, out)
        if state.events is not None:
            state.events.append((now, "succeeded", container_id, batch_id))
        refill(state, container, now, out)
        config = pool.config
        has_to_look = config.min_containers or config.buffer_containers or config.scaleup_window_s
        if pool.ring or has_to_look:
            balance(state, pool, now, out)
        return deliver, out

    def failed(
        self, container_id: ContainerId, batch_id: int, retryable: bool, now: float
    ) -> tuple[Verdict, list[Command]]:
        """The next single input of a batch raised an exception of the user's.

        Args:
            container_id: the container that reports.
            batch_id: a batch that it holds.
            retryable: whether the pool's retries apply.
            now: the time.

        Returns:
            What to do with the exception, and the commands: ``deliver`` it to the client, forget it
            because the input will be run again (``retry``), or because nobody wants it (``drop``).
        """
        out: list[Command] = []
        state = self.state
        container = state.containers.get(container_id)
        batch = None if container is None else container.outstanding.get(batch_id)
        if container is None or batch is None:
            return "drop", out
        pool = container.pool
        container.progress_at = now
        container.completed += 1
        clear_stall(container)
        verdict = judge_failure(state, container, batch, retryable, now, out)
        if state.events is not None:
            state.events.append((now, "failed", container_id, batch_id))
        if pool.config.gang_size > 1 and not batch.call.cancelled:
            # The others of the gang run on, and may wait for the one that has failed.
            stop(state, container, True, "a container of its cluster failed", now, out)
        else:
            refill(state, container, now, out)
        balance(state, pool, now, out)
        return verdict, out

    def returned(
        self, container_id: ContainerId, batch_id: int, count_unstarted: int, now: float
    ) -> list[Command]:
        """The container gave back the last ``count_unstarted`` inputs of a batch, unstarted."""
        out: list[Command] = []
        state = self.state
        container = state.containers.get(container_id)
        batch = None if container is None else container.outstanding.get(batch_id)
        if container is None or batch is None:
            return out
        batch.reclaiming = False
        pool = container.pool
        left = batch.count - batch.done - count_unstarted
        if left < 0 or count_unstarted < 0 or pool.config.max_inputs > 1:
            break_off(state, container, now, out)
            return out
        if not count_unstarted:
            return out
        if batch.call.cancelled:
            settle(batch.call, count_unstarted, out)
        else:
            requeue(pool, rest_of(state, batch, left, count_unstarted))
        batch.count -= count_unstarted
        container.inputs -= count_unstarted
        pool.running_inputs -= count_unstarted
        if not left:
            del container.outstanding[batch_id]
        if not container.outstanding:
            # Others first: this container had its chance.
            balance(state, pool, now, out)
            refill(state, container, now, out)
        balance(state, pool, now, out)
        return out
