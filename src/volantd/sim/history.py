"""One history: draws a scenario from a seed, plays it to its end, and checks what is left.

Disasters happen for a while; then times are calm, and everything that is alive must come to its
end: clients have all outcomes, queues are empty, pools are at their minimum, nothing waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from volantd.core import LOCAL
from volantd.sim.clients import SimClient
from volantd.sim.devices import MODELS, ask_for_more, machine_of
from volantd.sim.hub import SimHub
from volantd.sim.machines import join_some, plan_machines
from volantd.sim.scenario import (
    PoolPlan,
    Scenario,
    draw,
    draw_config,
    gang_some,
    gather_some,
    share_some,
    visit_some,
)
from volantd.sim.world import World, line_of

if TYPE_CHECKING:
    from collections.abc import Callable

#: More events than any history needs: one that takes more never ends.
STEPS_MAX = 200_000
REPORT_LINES = 30


class HistoryError(AssertionError):
    """A history broke a rule; the message has the seed and the last events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a history was like."""

    seed: int
    steps: int
    virtual_s: float
    dispatches: int
    starts: int
    reclaims: int
    outcomes: dict[str, int]
    ends: dict[str, int]


def run(seed: int, *, verbose: bool = False) -> Summary:
    """Plays the history of a seed.

    Raises:
        HistoryError: something that must hold did not.
    """
    rng = Random(seed)
    world = World(rng, verbose=verbose)
    scenario = draw(rng)
    share_some(Random(f"shared {seed}"), scenario)
    gather_some(Random(f"gathered {seed}"), scenario)
    visit_some(Random(f"visited {seed}"), scenario)
    ask_for_more(Random(f"devices {seed}"), scenario)
    gang_some(Random(f"gangs {seed}"), scenario)
    join_some(Random(f"machines {seed}"), scenario)
    history = History(world, scenario)
    try:
        history.play()
        return history.summary(seed)
    except Exception as error:
        lines = [line_of(*entry) for entry in list(world.trace)[-REPORT_LINES:]]
        raise HistoryError(
            f"seed {seed} failed after {world.steps} events: {str(error) or type(error).__name__}\n"
            + "\n".join(lines)
        ) from error


class History:
    """Hub, clients and disasters of one scenario."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world = world
        self.scenario = scenario
        numbers = count(1)
        self._new_container_id = lambda: f"c{next(numbers)}"
        self.hubs: list[SimHub] = []
        self.hub = self._new_hub()
        self.clients: list[SimClient] = []

    def _new_hub(self) -> SimHub:
        hub = SimHub(self.world, self.scenario, self._new_container_id)
        self.hubs.append(hub)
        return hub

    def play(self) -> None:
        """Plays the scenario until nothing happens any more, and checks the end."""
        for number in range(self.scenario.calls):
            self._plan_client(f"k{number}")
        for _ in range(self.scenario.hub_crashes):
            self._sometime(self._crash_hub)
        for _ in range(self.scenario.reconfigures):
            self._sometime(self._reconfigure)
        for _ in range(self.scenario.visits):
            self._sometime(self._visit)
        plan_machines(self)
        self.world.after(self.scenario.chaos_s, self._calm_down)
        while self.world.step():
            assert self.world.steps < STEPS_MAX, "the history does not end"
        self._check_end()

    def _sometime(self, action: Callable[[], None]) -> float:
        return self.world.after(self.world.rng.random() * self.scenario.chaos_s, action)

    def _plan_client(self, call_id: str) -> None:
        rng = self.world.rng
        plan = rng.choice(self.scenario.pools)
        total = rng.choice((1, 1, rng.randint(1, self.scenario.inputs_max)))
        client = SimClient(self, plan, call_id, total)
        self.clients.append(client)
        begins = self._sometime(client.connect)
        draw = rng.random()
        if draw < 0.06:
            self._sometime(client.cancel)
        elif draw < 0.12:
            self.world.after(begins - self.world.now + rng.random() * 0.1, client.cancel)
        elif draw < 0.2:
            self._sometime(client.vanish)
        elif draw < 0.35:
            self._sometime(lambda: self._reconnect(client))

    def _reconnect(self, client: SimClient) -> None:
        client.disconnect()
        self.world.after(self.world.rng.random() * 0.2, client.connect)

    # Disasters

    def _crash_hub(self) -> None:
        if not self.hub.alive:
            return
        self.hub.crash()
        for client in self.clients:
            if client.connected:
                self._reconnect(client)
        self.world.after(self.world.rng.random() * 0.1, self._start_hub)

    def _start_hub(self) -> None:
        self.hub = self._new_hub()

    def _reconfigure(self) -> None:
        rng = self.world.rng
        plan = rng.choice(self.scenario.pools)
        if not self.hub.alive:
            return
        draw_ = rng.random()
        if draw_ < 0.4:
            plan.config = replace(
                draw_config(rng),
                single_use=plan.config.single_use,
                max_inputs=plan.config.max_inputs,
                target_inputs=plan.config.target_inputs,
                interruptible=plan.config.interruptible,
                batch_size=plan.config.batch_size,
                batch_wait_s=plan.config.batch_wait_s,
                gang_size=plan.config.gang_size,
                retries=plan.config.retries,
                max_platform_retries=plan.config.max_platform_retries,
                memory_limit_bytes=plan.config.memory_limit_bytes,
                gpus=plan.config.gpus,
            )
            self.hub.update_pool(plan)
            if draw_ < 0.2 and self.hub.scheduler.has_pool(plan.pool_id):
                self.hub.renew_pool(plan, at_once=draw_ < 0.1)
        elif draw_ < 0.7:
            self.hub.set_capacity(
                rng.choice((300.0, 1000.0, 3000.0, float("inf"))),
                rng.choice((1, 3, 10, float("inf"))),
            )
        elif self.hub.scheduler.has_pool(plan.pool_id):
            self.hub.remove_pool(plan)
            self.world.after(rng.random() * 0.3, lambda: self._add_pool(plan))

    def _add_pool(self, plan: PoolPlan) -> None:
        if self.hub.alive and not self.hub.scheduler.has_pool(plan.pool_id):
            self.hub.add_pool(plan)

    def _visit(self) -> None:
        """Somebody runs a command in a container, for a while."""
        hub, rng = self.hub, self.world.rng
        if hub.alive and hub.judge.holdings:
            container_id = rng.choice(sorted(hub.judge.holdings))
            hub.on_command(container_id, 1)
            self.world.after(rng.random() * 3.0, lambda: hub.on_command(container_id, -1))

    def _calm_down(self) -> None:
        self.world.calm = True
        self.world.log("calm")
        if any(plan.config.gpus for plan in self.scenario.pools):
            # Who waits for GPUs that the machine has not got would wait for ever.
            self.scenario.gpus = machine_of(MODELS)
            if self.hub.alive:
                self.hub.set_capacity(*self.hub.judge.rooms[LOCAL])

    # The end

    def _check_end(self) -> None:
        scheduler = self.hub.scheduler
        scheduler.check_invariants()
        for client in self.clients:
            assert client.end is not None, f"{client.call_id} waits for {sorted(client.needed)}"
        assert not scheduler.call_statistics(), "calls are left"
        assert scheduler.next_wake() is None, "something waits for time"
        for pool in scheduler.statistics():
            config = scheduler.state.pools[pool.pool_id].config
            left = pool.queued_inputs + pool.running_inputs + pool.delayed_inputs
            assert not left, f"{pool} has inputs"
            assert not pool.starting and not pool.stopping, f"{pool} is not at rest"
            assert pool.idle == pool.ready <= config.min_containers, f"{pool} has too many"
            excused = scheduler.state.pools[pool.pool_id].broken or pool.waits_for_room
            need = scheduler.state.pools[pool.pool_id].need
            rooms = self.hub.judge.rooms.values()
            oversized = all(need.memory_bytes > room[0] or need.places > room[1] for room in rooms)
            if not excused and not oversized:
                assert pool.idle == config.min_containers, f"{pool} has too few"

    def summary(self, seed: int) -> Summary:
        """Counts what happened."""
        outcomes: dict[str, int] = {}
        ends: dict[str, int] = {}
        for client in self.clients:
            ends[str(client.end)] = ends.get(str(client.end), 0) + 1
            for outcome in client.outcomes.values():
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
        return Summary(
            seed=seed,
            steps=self.world.steps,
            virtual_s=self.world.now,
            dispatches=sum(hub.dispatches for hub in self.hubs),
            starts=sum(hub.starts for hub in self.hubs),
            reclaims=sum(hub.reclaims for hub in self.hubs),
            outcomes=outcomes,
            ends=ends,
        )
