"""Which GPUs there are, which are granted, and which a wish can have. Devices are never shared.

A wish is a model and a number of devices; several are alternatives, the best first. All devices of
one grant are of one model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Set

#: The model of a wish that takes any.
ANY_MODEL = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One device of the machine: its number there, its name for ever, and what it is."""

    index: int
    uuid: str
    model: str


@dataclass(frozen=True, slots=True)
class GpuWish:
    """So many devices of one model, or of whichever."""

    model: str
    count: int

    def __post_init__(self) -> None:
        assert self.count >= 1, self


class GpuAccount:
    """The machine's devices and who could have them."""

    __slots__ = ("granted", "installed", "leaving")

    def __init__(self) -> None:
        self.installed: tuple[Gpu, ...] = ()
        self.granted: set[Gpu] = set()
        #: Those of the granted that belong to stopping containers.
        self.leaving: set[Gpu] = set()

    def choices(self, wishes: Iterable[GpuWish]) -> list[tuple[str, int]]:
        """The alternatives that an empty machine could grant, as model and number, best first."""
        models = [gpu.model for gpu in self.installed]
        return [
            (model, wish.count)
            for wish in wishes
            for model in dict.fromkeys(models)
            if wish.model in (ANY_MODEL, model) and models.count(model) >= wish.count
        ]

    def counts(self) -> dict[str, int]:
        """How many devices of each model there are."""
        return Counter(gpu.model for gpu in self.installed)

    def free_counts(self) -> dict[str, int]:
        """How many of them nobody has; 0 for a model that is all in use."""
        free = dict.fromkeys([gpu.model for gpu in self.installed], 0)
        for gpu in self.installed:
            free[gpu.model] += gpu not in self.granted
        return free

    def take(self, model: str, count: int, withheld: Set[Gpu]) -> tuple[Gpu, ...] | None:
        """So many free devices of a model, but for those that are kept for others; None: fewer."""
        free = [
            gpu
            for gpu in self.installed
            if gpu.model == model and gpu not in self.granted and gpu not in withheld
        ]
        return tuple(free[:count]) if len(free) >= count else None

    def suiting(self, wishes: Iterable[GpuWish]) -> set[Gpu]:
        """Every device, free or not, that could become part of what is wished for."""
        models = {model for model, _ in self.choices(wishes)}
        return {gpu for gpu in self.installed if gpu.model in models}

    def missing(self, wishes: Iterable[GpuWish]) -> list[tuple[str, int]]:
        """For each alternative, its model and how many devices more have to become free.

        Those that are leaving count as free. Empty when some alternative lacks none.
        """
        short = []
        for model, count in self.choices(wishes):
            coming = sum(
                gpu.model == model and (gpu not in self.granted or gpu in self.leaving)
                for gpu in self.installed
            )
            if coming >= count:
                return []
            short.append((model, count - coming))
        return short
