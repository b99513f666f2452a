"""Leases beside ordinary calls, in any order of events: each ends once, no slot is lent twice."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.unit.core.bench import Bench
from volantd.core import Dispatch, ExitCause, FailInput, PoolConfig, StartContainer
from volantd.core.model import ContainerState

STEPS = st.lists(
    st.tuples(
        st.sampled_from([
            "ask", "ask", "lend", "give back", "give back", "call", "succeed", "ready", "ready",
            "exit", "renew", "later",
        ]),
        st.integers(0, 10),
    ),
    max_size=60,
)  # fmt: skip


class History:
    """A pool that lends slots, and what has become of each lease."""

    def __init__(self, slots: int) -> None:
        config = PoolConfig(
            has_leases=True, max_containers=3, max_inputs=slots, interruptible=slots > 1,
            timeout_s=30.0,
        )  # fmt: skip
        self.bench = Bench(config=config)
        self.slots = slots
        self.waiting: list[str] = []
        #: lease -> container and batch
        self.granted: dict[str, tuple[str, int]] = {}
        self.ended: set[str] = set()
        self.count = 0

    def take(self) -> None:
        """Note what the core has said."""
        commands, self.bench.commands = self.bench.commands, []
        for command in commands:
            if isinstance(command, Dispatch) and command.batch.call.is_lease:
                lease = command.batch.call_id
                assert lease in self.waiting, "a lease is granted once"
                self.waiting.remove(lease)
                self.granted[lease] = command.container_id, command.batch.batch_id
            elif isinstance(command, Dispatch):
                assert command.batch.count == 1
            elif isinstance(command, FailInput) and command.call_id.startswith("lease"):
                assert command.call_id in self.waiting or command.call_id in self.granted
                self._end(command.call_id)
            else:
                assert not isinstance(command, StartContainer) or command.pool_id == "p"
        lent = [container for container, _ in self.granted.values()]
        assert all(lent.count(container) <= self.slots for container in lent)

    def _end(self, lease: str) -> None:
        if lease in self.waiting:
            self.waiting.remove(lease)
        self.granted.pop(lease, None)
        self.ended.add(lease)
        self.bench.forget(lease)

    def _lend(self, choice: int) -> None:
        """Ask for a slot now, of one container or of any."""
        bench, known = self.bench, ["", *sorted(self.bench.scheduler.state.containers)]
        self.count += 1
        name, wanted = f"lease-{self.count}", known[choice % len(known)]
        bench.scheduler.open_call(name, "p", bench.now, is_lease=True)
        lending, commands = bench.scheduler.lend(name, "", wanted, bench.now)
        if lending == "lent":
            self.waiting.append(name)
        bench.do(commands)
        if lending != "lent":
            self._end(name)

    def step(self, what: str, choice: int) -> None:
        bench = self.bench
        containers = bench.scheduler.state.containers
        if what in ("ask", "call"):
            self.count += 1
            name = f"{'lease' if what == 'ask' else 'call'}-{self.count}"
            if what == "call":
                bench.call(name, 1 + choice)
                return
            self.waiting.append(name)
            bench.scheduler.open_call(name, "p", bench.now, is_lease=True)
            bench.submit(name, 0, 1)
        elif what == "lend":
            self._lend(choice)
        elif what == "give back" and self.granted:
            lease = sorted(self.granted)[choice % len(self.granted)]
            container_id, batch_id = self.granted.pop(lease)
            _, commands = bench.scheduler.succeeded(container_id, batch_id, 1, 0, bench.now)
            self.ended.add(lease)
            bench.do(commands)
            bench.forget(lease)
        elif what == "succeed":
            held = [
                (container.container_id, batch)
                for container in containers.values()
                for batch in container.outstanding.values()
                if not batch.call.is_lease
            ]
            if held:
                container_id, batch = held[choice % len(held)]
                bench.do(
                    bench.scheduler.succeeded(container_id, batch.batch_id, 1, 10, bench.now)[1]
                )
        elif what == "ready":
            starting = [c for c in containers.values() if c.state is ContainerState.STARTING]
            if starting:
                bench.ready(starting[choice % len(starting)].container_id)
        elif what == "exit" and containers:
            bench.exit(sorted(containers)[choice % len(containers)], ExitCause.CRASHED)
        elif what == "renew":
            bench.do(bench.scheduler.renew_pool("p", choice % 2 == 0, bench.now))
        elif what == "later":
            bench.tick(bench.now + choice * 4.0)


@pytest.mark.parametrize("slots", [1, 3])
@given(steps=STEPS)
def test_leases_keep_what_they_promise(slots: int, steps: list[tuple[str, int]]) -> None:
    history = History(slots)
    for what, choice in steps:
        history.step(what, choice)
        history.take()
    asked = {*history.waiting, *history.granted, *history.ended}
    assert len(asked) == sum(what in ("ask", "lend") for what, _ in steps)
