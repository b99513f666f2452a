"""What a seed stands for: machine, pools, faults and inputs, all drawn before or while it runs.

Owns the truth about inputs: what each of them does when it runs, and how often it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from volantd.core import PoolConfig, RetryPolicy
from volantd.sim.devices import DEVICES_COUNT

if TYPE_CHECKING:
    from random import Random

    from volantd.core import Gpu
    from volantd.sim.machines import MachinePlan
    from volantd.sim.world import World

Deed = Literal["ok", "raise", "hang", "crash", "oom", "exit"]

OK: tuple[Deed, ...] = ("ok",)
#: An index that no call reaches.
NEVER = 1_000_000
DEATHS: tuple[Deed, ...] = ("crash", "oom", "exit")


@dataclass(slots=True, kw_only=True)
class PoolPlan:
    """One pool: its configuration and how its code behaves."""

    pool_id: str
    config: PoolConfig
    #: Typical run time of an input, and the share of inputs that take a hundred times as long.
    exec_s: float
    share_slow: float
    #: Inputs of a call from this index on take a tenth of a second, whatever came before.
    slow_from: int
    #: Shares of inputs that do something else than to succeed.
    share_raise: float = 0.0
    share_flaky: float = 0.0
    share_hang: float = 0.0
    share_crash: float = 0.0
    share_poison: float = 0.0
    start_s: float = 0.01
    start_failure: float = 0.0
    start_hang: float = 0.0
    import_error: float = 0.0
    #: Chance that a container dies on its own at some input, or while idle.
    death: float = 0.0
    #: Ignores what it is asked until its input ends; ignores polite stops.
    deaf: float = 0.0


@dataclass(slots=True)
class Input:
    """The truth about one input: what it does in its n-th run, the last entry repeated."""

    deeds: tuple[Deed, ...]
    exec_s: float
    runs: int = 0
    raised: int = 0
    #: Containers that died while it ran, for whatever reason.
    deaths: int = 0
    hung: int = 0


@dataclass(slots=True, kw_only=True)
class Scenario:
    """Everything that is decided before the history begins."""

    pools: list[PoolPlan]
    memory_bytes: float
    max_containers: float
    chaos_s: float
    calls: int
    inputs_max: int
    hub_crashes: int
    reconfigures: int
    #: Times that somebody runs a command in a container.
    visits: int = 0
    gpus: tuple[Gpu, ...] = ()
    #: Lives of machines beside the first one.
    machines: list[MachinePlan] = field(default_factory=list)
    inputs: dict[tuple[str, int], Input] = field(default_factory=dict)

    def truth(self, world: World, plan: PoolPlan, call_id: str, index: int) -> Input:
        """The input's truth, decided when first asked for."""
        truth = self.inputs.get((call_id, index))
        if truth is None:
            truth = self.inputs[call_id, index] = _draw_input(world.rng, plan, index)
        return truth


def _draw_input(rng: Random, plan: PoolPlan, index: int) -> Input:
    exec_s = plan.exec_s * (0.5 + rng.random())
    if rng.random() < plan.share_slow:
        exec_s = min(exec_s * 100.0, 0.4)
    if index >= plan.slow_from:
        exec_s = 0.1
    draw = rng.random()
    times = rng.randint(1, 4)
    death = rng.choice(DEATHS)
    table: list[tuple[float, Deed, bool]] = [
        (plan.share_raise, "raise", False),
        (plan.share_flaky, "raise", True),
        (plan.share_hang, "hang", True),
        (plan.share_crash, death, True),
        (plan.share_poison, death, False),
    ]
    for share, deed, heals in table:
        if draw < share:
            return Input((deed,) * times + OK if heals else (deed,), exec_s)
        draw -= share
    return Input(OK, exec_s)


def draw(rng: Random) -> Scenario:
    """Draws a scenario; about a third of them has no faults at all."""
    faulty = rng.random() < 0.7
    pools = [_draw_pool(rng, f"p{number}", faulty) for number in range(rng.randint(1, 4))]
    largest = max(pool.config.memory_bytes for pool in pools)
    tight = rng.random() < 0.4
    return Scenario(
        pools=pools,
        memory_bytes=largest * rng.randint(1, 6) if tight else float("inf"),
        max_containers=rng.randint(1, 12) if tight else float("inf"),
        chaos_s=rng.uniform(0.5, 8.0),
        calls=rng.randint(2, 14),
        inputs_max=rng.choice((5, 5, 5, 30, 30, 30, 30, 200, 600)),
        hub_crashes=rng.randint(1, 2) if faulty and rng.random() < 0.3 else 0,
        reconfigures=rng.randint(1, 4) if rng.random() < 0.3 else 0,
    )


def share_some(rng: Random, scenario: Scenario) -> None:
    """Has containers of some pools run several inputs at once.

    From randomness of its own, so that a seed without such pools plays the history that it
    played before there were any.
    """
    if rng.random() < 0.5:
        return
    for plan in scenario.pools:
        if plan.config.single_use or rng.random() < 0.4:
            continue
        max_inputs = rng.choice((2, 3, 5, 20))
        plan.config = replace(
            plan.config,
            max_inputs=max_inputs,
            target_inputs=rng.choice((None, 1, rng.randint(1, max_inputs))),
            interruptible=rng.random() < 0.5,
        )


def gather_some(rng: Random, scenario: Scenario) -> None:
    """Has containers of some pools take inputs together, in groups.

    From randomness of its own, like `share_some`.
    """
    if rng.random() < 0.6:
        return
    for plan in scenario.pools:
        if rng.random() < 0.4:
            continue
        plan.config = replace(
            plan.config,
            batch_size=plan.config.max_inputs,
            target_inputs=None,
            interruptible=False,
            batch_wait_s=rng.choice((0.0, 0.002, 0.05, 0.5)),
        )


def gang_some(rng: Random, scenario: Scenario) -> None:
    """Has some pools start containers in gangs, from randomness of its own, like `share_some`."""
    if rng.random() < 0.6:
        return
    for plan in scenario.pools:
        if plan.config.max_inputs > 1 or rng.random() < 0.4:
            continue
        size = rng.choice((2, 2, 3, 4, 8))
        # Who wants more devices than there are waits for another machine, as long as it takes.
        if max((wish.count for wish in plan.config.gpus), default=1) * size <= DEVICES_COUNT:
            plan.config = replace(plan.config, gang_size=size)


def visit_some(rng: Random, scenario: Scenario) -> None:
    """Has clients run commands in containers, in some histories; the others stay as they were."""
    if rng.random() < 0.3:
        scenario.visits = rng.randint(1, 20)


def _share(rng: Random, faulty: bool, high: float) -> float:
    return rng.random() * high if faulty and rng.random() < 0.35 else 0.0


def draw_config(rng: Random) -> PoolConfig:
    """Draws a pool's configuration."""
    containers_min = rng.choice((0, 0, 0, 1, 2))
    return PoolConfig(
        min_containers=containers_min,
        max_containers=containers_min + rng.choice((1, 2, 4, 20)),
        buffer_containers=rng.choice((0, 0, 0, 1, 3)),
        scaledown_window_s=rng.choice((0.0, 0.05, 1.0, 60.0)),
        timeout_s=rng.uniform(2.0, 4.0),
        startup_timeout_s=rng.uniform(1.0, 2.0),
        retries=RetryPolicy(
            max_retries=rng.choice((0, 0, 1, 3)),
            initial_delay_s=rng.choice((0.0, 0.05, 1.0)),
            max_delay_s=2.0,
        ),
        single_use=rng.random() < 0.12,
        memory_bytes=rng.choice((0, 100, 100, 300, 1000)),
        max_platform_retries=rng.choice((2, 3, 8)),
    )


def _draw_pool(rng: Random, pool_id: str, faulty: bool) -> PoolPlan:
    exec_s = rng.choice((1e-5, 1e-5, 3e-4, 3e-3, 0.05))
    share_slow = rng.choice((0.0, 0.0, 0.02, 0.2))
    slow_from = rng.choice((NEVER, NEVER, NEVER, 10))
    config = draw_config(rng)
    if exec_s < 0.01 and not share_slow:
        # Short enough for a steady stream of work to last longer.
        config = replace(config, timeout_s=rng.uniform(0.3, 0.6))
    return PoolPlan(
        pool_id=pool_id,
        config=config,
        exec_s=exec_s,
        share_slow=share_slow,
        slow_from=slow_from,
        share_raise=_share(rng, faulty, 0.2),
        share_flaky=_share(rng, faulty, 0.2),
        share_hang=_share(rng, faulty, 0.1),
        share_crash=_share(rng, faulty, 0.15),
        share_poison=_share(rng, faulty, 0.05),
        start_s=rng.choice((0.0, 0.005, 0.02, 0.3)),
        start_failure=_share(rng, faulty, 0.6),
        start_hang=_share(rng, faulty, 0.3),
        import_error=_share(rng, faulty, 0.3) if rng.random() < 0.5 else 0.0,
        death=_share(rng, faulty, 0.02),
        deaf=_share(rng, faulty, 0.6),
    )
