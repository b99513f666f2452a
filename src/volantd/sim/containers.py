"""Simulated containers: they run inputs in order, report in their own time, and die as planned.

Knows the protocol between hub and container and nothing of the core. What a container reports last
may be overtaken by the news of its death, and news of its death by what it reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core import ExitCause
from volantd.sim.world import Link

if TYPE_CHECKING:
    from volantd.sim.hub import SimHub
    from volantd.sim.scenario import Deed, Input, PoolPlan

#: What the hub hears of the deeds that end a container.
CAUSES: dict[Deed, ExitCause] = {
    "crash": ExitCause.CRASHED, "oom": ExitCause.OOM, "exit": ExitCause.CLEAN,
}  # fmt: skip
#: One item of a payload: whose input it is.
Item = tuple[str, int]


class SimContainer:
    """One container, from the command that starts it to its death."""

    def __init__(self, hub: SimHub, plan: PoolPlan, container_id: str) -> None:
        self.hub = hub
        self.world = hub.world
        self.plan = plan
        self.container_id = container_id
        self.inbox = Link(self.world)
        self.outbox = Link(self.world)
        self.alive = True
        self.ready = False
        self._batches: dict[int, list[Item]] = {}
        #: The batch and items that run now; a token tells old timers from the present one.
        self._running: tuple[int, list[Item]] | None = None
        self._token = 0
        #: Successes not reported yet: batch, count, microseconds.
        self._done: tuple[int, int, int] | None = None
        self._waiting: list[tuple[str, int]] = []
        self._begin()

    def _begin(self) -> None:
        world, plan = self.world, self.plan
        delay_s = plan.start_s * (0.5 + world.rng.random())
        if world.chance(plan.start_hang):
            return
        if world.chance(plan.start_failure):
            world.after(delay_s, lambda: self._fail_start(retryable=True))
        elif world.chance(plan.import_error):
            world.after(delay_s, lambda: self._fail_start(retryable=False))
        else:
            world.after(delay_s, self._become_ready)

    def _fail_start(self, *, retryable: bool) -> None:
        if not self.alive:
            return
        if retryable and self.world.rng.random() < 0.3:
            self.die(ExitCause.CRASHED)
            return
        self.alive = False
        self.outbox.send(lambda: self.hub.on_start_failed(self.container_id, retryable))

    def _become_ready(self) -> None:
        if not self.alive:
            return
        self.ready = True
        self.outbox.send(lambda: self.hub.on_ready(self.container_id))
        if self.world.chance(self.plan.death):
            self.world.after(self.world.rng.random() * 0.5, lambda: self.die(ExitCause.KILLED))

    def die(self, cause: ExitCause) -> None:
        """The process is gone; the news travels beside what it sent before."""
        if not self.alive:
            return
        self.alive = False
        self.world.log("died", self.container_id, cause.name)
        if cause is not ExitCause.STOPPED:
            for item in self._in_progress():
                self._truth(item).deaths += 1
        if self.world.rng.random() < 0.3:
            self.outbox.cut = True
        delay_s = self.world.rng.random() * 0.002
        self.world.after(delay_s, lambda: self.hub.on_exited(self.container_id, cause))

    # What the hub sends

    def on_dispatch(self, batch_id: int, items: list[Item]) -> None:
        """A batch to run after those it has."""
        assert self.ready, "an input was sent to a container that is not ready"
        if not self.alive:
            return
        self._batches[batch_id] = items
        self._next()

    def on_reclaim(self, batch_id: int) -> None:
        """Gives back what it did not start; a deaf one answers when its input is over."""
        self._ask("reclaim", batch_id)

    def on_cancel(self, batch_id: int) -> None:
        """Ends a batch early."""
        self._ask("cancel", batch_id)

    def _ask(self, request: str, batch_id: int) -> None:
        if not self.alive:
            return
        if self._running is not None and self.world.chance(self.plan.deaf):
            self._waiting.append((request, batch_id))
        else:
            self._answer(request, batch_id)

    def on_stop(self, kill: bool) -> None:
        """Ends, unless it was asked politely and is deaf."""
        if kill or not self.world.chance(self.plan.deaf):
            delay_s = self.world.rng.random() * 0.02
            self.world.after(delay_s, lambda: self.die(ExitCause.STOPPED))

    def _answer(self, request: str, batch_id: int) -> None:
        items = self._batches.pop(batch_id, [])
        if request == "reclaim" or items:
            self._flush()
            count = len(items)
            self.outbox.send(lambda: self.hub.on_returned(self.container_id, batch_id, count))
        running = self._running
        stubborn = self.world.chance(0.3)
        if request == "cancel" and running is not None and running[0] == batch_id and not stubborn:
            self._token += 1
            self._running = None
            self._flush()
            for _ in running[1]:
                self._report_failure(batch_id)
            self._next()

    # Running

    def _in_progress(self) -> list[Item]:
        return [] if self._running is None else self._running[1][:1]

    def _truth(self, item: Item) -> Input:
        return self.hub.scenario.truth(self.world, self.plan, *item)

    def _deed(self, item: Item) -> Deed:
        truth = self._truth(item)
        return truth.deeds[min(truth.runs, len(truth.deeds) - 1)]

    def _next(self) -> None:
        """Begins the next input; short ones that succeed run many at once."""
        if self._running is not None or not self.alive:
            return
        for batch_id in list(self._batches):
            items = self._batches[batch_id]
            if not items:
                del self._batches[batch_id]
                continue
            if self.world.chance(self.plan.death):
                self._running = (batch_id, [items[0]])
                self.die(ExitCause.KILLED)
                return
            self._run(batch_id, items)
            return

    def _run(self, batch_id: int, items: list[Item]) -> None:
        deed = self._deed(items[0])
        chunk = [items.pop(0)]
        exec_s = self._truth(chunk[0]).exec_s
        while deed == "ok" and items and self._deed(items[0]) == "ok":
            more_s = self._truth(items[0]).exec_s
            if exec_s + more_s > 0.002:
                break
            exec_s += more_s
            chunk.append(items.pop(0))
        for item in chunk:
            self._count(item, deed)
        self._running = (batch_id, chunk)
        self._token += 1
        token = self._token
        if deed != "hang":
            self.world.after(exec_s, lambda: self._end(token, deed, exec_s))

    def _count(self, item: Item, deed: Deed) -> None:
        truth = self._truth(item)
        truth.runs += 1
        truth.raised += deed == "raise"
        truth.hung += deed == "hang"

    def _end(self, token: int, deed: Deed, exec_s: float) -> None:
        if not self.alive or token != self._token or self._running is None:
            return
        if deed in CAUSES:
            if self.world.rng.random() < 0.5:
                self._flush()
            self.die(CAUSES[deed])
            return
        batch_id, chunk = self._running
        self._running = None
        if deed == "raise":
            self._flush()
            self._report_failure(batch_id)
        else:
            self._succeed(batch_id, len(chunk), int(exec_s * 1e6))
        waiting, self._waiting = self._waiting, []
        for request, asked_id in waiting:
            self._answer(request, asked_id)
        self._next()

    def _succeed(self, batch_id: int, count: int, exec_us: int) -> None:
        if self._done is not None and self._done[0] != batch_id:
            self._flush()
        if self._done is not None:
            count += self._done[1]
            exec_us += self._done[2]
        self._done = (batch_id, count, exec_us)
        if self.world.rng.random() < 0.5 or not self._batches.get(batch_id):
            self._flush()
        else:
            self.world.after(0.003, self._flush)

    def _flush(self) -> None:
        """Reports the successes that were held back."""
        if self._done is not None and self.alive:
            batch_id, count, exec_us = self._done
            self._done = None
            self.outbox.send(
                lambda: self.hub.on_succeeded(self.container_id, batch_id, count, exec_us)
            )

    def _report_failure(self, batch_id: int) -> None:
        self.outbox.send(lambda: self.hub.on_failed(self.container_id, batch_id))
