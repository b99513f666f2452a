"""Simulated clients: calls and maps that submit in windows, cancel, vanish, and come back.

A client holds what it submitted and has no outcome for; after a lost connection or a crashed hub it
opens its call again and submits just that. It asserts that each input has one outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.sim.world import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.sim.history import History
    from volantd.sim.scenario import PoolPlan


class SimClient:
    """One client with one call."""

    def __init__(self, history: History, plan: PoolPlan, call_id: str, total: int) -> None:
        rng = history.world.rng
        self.history = history
        self.world = history.world
        self.plan = plan
        self.call_id = call_id
        self.total = total
        self.window = rng.choice((1, 4, 30, 1000))
        self.chunk_max = rng.choice((1, 3, 10, 100))
        self.terminate = rng.random() < 0.5
        #: Submitted and without an outcome.
        self.needed: set[int] = set()
        self.next_index = 0
        self.outcomes: dict[int, str] = {}
        self.connected = False
        self.cancelling = False
        #: How it ended: "finished", "cancelled", "vanished" or "refused".
        self.end: str | None = None
        self.to_hub = Link(self.world)
        self.to_client = Link(self.world)

    def connect(self) -> None:
        """Opens the call on the hub of the moment, and submits again what has no outcome."""
        if self.end is not None or self.connected:
            return
        if not self.history.hub.alive:
            self.world.after(0.05, self.connect)
            return
        self.connected = True
        self.to_hub = Link(self.world)
        self.to_client = Link(self.world)
        hub = self.history.hub
        link = self.to_client
        self._send(lambda: hub.on_open(self, link, self.call_id, self.plan.pool_id))
        needed = sorted(self.needed)
        while needed:
            size = self.world.rng.randint(1, self.chunk_max)
            count = 1
            while count < min(size, len(needed)) and needed[count] == needed[0] + count:
                count += 1
            self._submit(needed[0], count)
            del needed[:count]
        if self.next_index == self.total:
            self._close()
        if self.cancelling:
            self._send(lambda: hub.on_cancel(self.call_id, self.terminate))
        self._pump()

    def disconnect(self) -> None:
        """The connection breaks; what is under way is lost."""
        if self.connected:
            self.world.log("disconnected", self.call_id)
            self.connected = False
            self.to_hub.cut = self.to_client.cut = True
            if self.end is not None:
                self._forget_later()

    def cancel(self) -> None:
        """Cancels the call."""
        if self.end is None:
            self.cancelling = True
            if self.connected:
                hub = self.history.hub
                self._send(lambda: hub.on_cancel(self.call_id, self.terminate))

    def vanish(self) -> None:
        """Leaves for ever; the hub notices some time later and forgets the call."""
        if self.end is None:
            self.disconnect()
            self.end = "vanished"
            self.world.log("vanished", self.call_id)
            self._forget_later()

    def _forget_later(self) -> None:
        """The hub notices by itself that nobody will come back."""
        delay_s = self.world.rng.random()
        self.world.after(delay_s, lambda: self.history.hub.on_forget(self.call_id))

    # What the hub sends

    def on_outcome(self, index: int, outcome: str) -> None:
        """An input has its outcome."""
        assert index in self.needed, f"{self.call_id}[{index}] has a second outcome: {outcome}"
        assert not self.end
        self.needed.remove(index)
        self.outcomes[index] = outcome
        self._check(index, outcome)
        if len(self.outcomes) == self.total:
            self._finish("finished")
        else:
            self._pump()

    def on_cancelled(self) -> None:
        """The hub will deliver nothing more."""
        assert self.cancelling
        self._finish("cancelled")

    def on_refused(self) -> None:
        """The pool is gone."""
        self._finish("refused")

    def _check(self, index: int, outcome: str) -> None:
        truth = self.history.scenario.inputs.get((self.call_id, index))
        if outcome == "ok":
            assert truth is not None and truth.runs, "a result of an input that never ran"
            assert "ok" in truth.deeds, "a result of an input that cannot succeed"
        elif outcome == "raised":
            assert truth is not None and truth.raised, "an exception that nobody raised"

    def _finish(self, end: str) -> None:
        self.end = end
        hub = self.history.hub
        self._send(lambda: hub.on_forget(self.call_id))

    # What it sends

    def _send(self, deliver: Callable[[], None]) -> None:
        self.to_hub.send(deliver)

    def _submit(self, first_index: int, count: int) -> None:
        hub = self.history.hub
        self._send(lambda: hub.on_submit(self.call_id, first_index, count))

    def _close(self) -> None:
        hub = self.history.hub
        self._send(lambda: hub.on_close(self.call_id, self.total))

    def _pump(self) -> None:
        """Submits new inputs as far as the window allows."""
        while self.connected and self.next_index < self.total:
            room = min(self.window - len(self.needed), self.total - self.next_index)
            if room <= 0 or self.cancelling:
                return
            count = min(room, self.world.rng.randint(1, self.chunk_max))
            first_index = self.next_index
            self.needed.update(range(first_index, first_index + count))
            self.next_index += count
            self._submit(first_index, count)
            if self.next_index == self.total:
                self._close()
