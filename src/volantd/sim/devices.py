"""What histories have of GPUs, and of memory that grows: drawn apart, and judged from outside.

Drawn from randomness of its own, so that a seed without any plays the history that it played
before there were such things.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from volantd.core import ANY_MODEL, Gpu, GpuWish

if TYPE_CHECKING:
    from random import Random

    from volantd.core import PoolConfig
    from volantd.sim.scenario import Scenario

MODELS = ("H100", "A100-80GB")
#: What one large machine has of each model.
DEVICES_COUNT = 8
WISHES: tuple[tuple[GpuWish, ...], ...] = (
    (GpuWish("H100", 1),),
    (GpuWish("H100", 8),),
    (GpuWish("A100-80GB", 4), GpuWish("H100", 2)),
    (GpuWish(ANY_MODEL, 1),),
    (GpuWish(ANY_MODEL, 3),),
    (GpuWish("B200", 1), GpuWish("A100-80GB", 1)),
)


def machine_of(models: tuple[str, ...]) -> tuple[Gpu, ...]:
    """A machine with eight devices of each model."""
    return tuple(
        Gpu(index=8 * place + number, uuid=f"GPU-{model}-{number}", model=model)
        for place, model in enumerate(models)
        for number in range(DEVICES_COUNT)
    )


def ask_for_more(rng: Random, scenario: Scenario) -> None:
    """Has containers of some pools get GPUs, and of some more memory when they ran out of it."""
    if rng.random() < 0.4:
        scenario.gpus = machine_of(rng.choice((MODELS, MODELS[:1], ())))
        for plan in scenario.pools:
            if rng.random() < 0.7:
                plan.config = replace(plan.config, gpus=rng.choice(WISHES))
    for plan in scenario.pools:
        if rng.random() < 0.2:
            plan.config = replace(
                plan.config,
                memory_limit_bytes=max(1, plan.config.memory_bytes),
                retries=replace(plan.config.retries, memory_multiplier=rng.choice((1.5, 2.0))),
            )


def check_grant(config: PoolConfig, gpus: tuple[Gpu, ...], others: set[Gpu]) -> None:
    """Asserts that a container was granted what its pool wished for, and nobody else has it."""
    assert others.isdisjoint(gpus), "a GPU is granted twice"
    if not config.gpus:
        assert not gpus, "GPUs for who wished for none"
        return
    models = {gpu.model for gpu in gpus}
    assert len(models) == 1, "GPUs of several models"
    count = len(gpus) // config.gang_size
    assert any(
        wish.count == count and wish.model in {ANY_MODEL, *models} for wish in config.gpus
    ), "GPUs that nobody wished for"
