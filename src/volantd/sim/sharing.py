"""Simulated containers that run several inputs at once, each from the moment it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core import ExitCause
from volantd.sim.containers import CAUSES, Item, SimContainer

if TYPE_CHECKING:
    from volantd.sim.hub import SimHub
    from volantd.sim.scenario import Deed, PoolPlan


class SharedSimContainer(SimContainer):
    """One container of a pool with ``max_inputs`` above 1."""

    def __init__(self, hub: SimHub, plan: PoolPlan, container_id: str) -> None:
        #: The inputs that run, by batch.
        self._beside: dict[int, Item] = {}
        super().__init__(hub, plan, container_id)

    def _in_progress(self) -> list[Item]:
        return list(self._beside.values())

    def on_dispatch(self, batch_id: int, items: list[Item]) -> None:
        """An input to run beside those it has."""
        assert self.ready, "an input was sent to a container that is not ready"
        if not self.alive:
            return
        [item] = items
        self._beside[batch_id] = item
        assert len(self._beside) <= self.plan.config.max_inputs, "too many inputs at once"
        if self.world.chance(self.plan.death):
            self.die(ExitCause.KILLED)
            return
        deed, exec_s = self._deed(item), self._truth(item).exec_s
        self._count(item, deed)
        if deed != "hang":
            self.world.after(exec_s, lambda: self._end_one(batch_id, deed, exec_s))

    def on_reclaim(self, batch_id: int) -> None:
        """Never: there is nothing that it has not begun."""
        raise AssertionError("inputs are asked back that run already")

    def on_cancel(self, batch_id: int) -> None:
        """Ends one input early, unless that is deaf, and leaves its neighbours."""
        if self.alive and batch_id in self._beside and not self.world.chance(self.plan.deaf):
            del self._beside[batch_id]
            self._report_failure(batch_id)

    def _end_one(self, batch_id: int, deed: Deed, exec_s: float) -> None:
        if not self.alive or batch_id not in self._beside:
            return
        if deed in CAUSES:
            self.die(CAUSES[deed])
            return
        del self._beside[batch_id]
        if deed == "raise":
            self._report_failure(batch_id)
        else:
            exec_us = int(exec_s * 1e6)
            self.outbox.send(lambda: self.hub.on_succeeded(self.container_id, batch_id, 1, exec_us))
