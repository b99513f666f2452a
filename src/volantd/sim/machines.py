"""Further machines in some histories: they join, change and leave, with all that they run.

Drawn from randomness of its own, so that a seed without any plays the history that it played
before there were such things.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from volantd.sim.devices import MODELS, machine_of

if TYPE_CHECKING:
    from random import Random

    from volantd.core import Gpu
    from volantd.sim.history import History
    from volantd.sim.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePlan:
    """One life of a machine beside the first one."""

    node_id: str
    incarnation: int
    memory_bytes: float
    max_containers: float
    gpus: tuple[Gpu, ...]
    joins_at: float
    leaves_at: float


def join_some(rng: Random, scenario: Scenario) -> None:
    """Has machines join in some histories, mostly where the first one is small."""
    if rng.random() < 0.75:
        return
    largest = max(plan.config.memory_bytes for plan in scenario.pools)
    scenario.memory_bytes = largest * rng.randint(1, 3)
    scenario.max_containers = rng.randint(1, 8)
    for number in range(rng.randint(1, 4)):
        joins_at = rng.random() * scenario.chaos_s
        for incarnation in range(1, rng.randint(2, 4)):
            leaves_at = joins_at + rng.random() * scenario.chaos_s
            scenario.machines.append(
                MachinePlan(
                    node_id=f"m{number}",
                    incarnation=incarnation,
                    memory_bytes=largest * rng.randint(0, 4),
                    max_containers=rng.randint(0, 8),
                    gpus=machine_of(rng.choice(((), MODELS[:1], MODELS))),
                    joins_at=joins_at,
                    leaves_at=leaves_at,
                )
            )
            joins_at = leaves_at + rng.choice((-0.01, 0.1))


def plan_machines(history: History) -> None:
    """Has the machines of a scenario come and go; some begin their next life before the end."""
    world = history.world
    for plan in history.scenario.machines:
        world.after(max(plan.joins_at, 0.0), partial(_join, history, plan))
        world.after(max(plan.leaves_at, 0.0), partial(_leave, history, plan))


def _join(history: History, plan: MachinePlan) -> None:
    history.hub.join(plan)


def _leave(history: History, plan: MachinePlan) -> None:
    history.hub.leave(plan)
