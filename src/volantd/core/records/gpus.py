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

    def __hash__(self) -> int:
        return hash(self.uuid)


@dataclass(frozen=True, slots=True)
class GpuWish:
    """So many devices of one model, or of whichever."""

    model: str
    count: int

    def __post_init__(self) -> None:
        assert self.count >= 1, self


class GpuAccount:
    """The machine's devices and who could have them."""

    __slots__ = ("_counts", "_free", "_suiting", "granted", "installed", "leaving")

    def __init__(self) -> None:
        self.installed: tuple[Gpu, ...] = ()
        self.granted: set[Gpu] = set()
        #: Those of the granted that belong to stopping containers.
        self.leaving: set[Gpu] = set()
        #: By model: how many there are, how many of them nobody has, and which they are.
        self._counts: dict[str, int] = {}
        self._free: dict[str, int] = {}
        self._suiting: dict[str, frozenset[Gpu]] = {}

    def install(self, gpus: tuple[Gpu, ...]) -> None:
        """Says which devices there are; what is granted stays granted."""
        self.installed = gpus
        self._counts = dict(Counter(gpu.model for gpu in gpus))
        self._suiting = {
            model: frozenset(gpu for gpu in gpus if gpu.model == model) for model in self._counts
        }
        self._free = {}
        self._count_free(self._counts)

    def grant(self, gpus: tuple[Gpu, ...]) -> None:
        """Notes that a container has devices."""
        self.granted.update(gpus)
        self._count_free(gpu.model for gpu in gpus)

    def leave(self, gpus: tuple[Gpu, ...]) -> None:
        """Notes that who has them is about to go."""
        self.leaving.update(gpus)

    def release(self, gpus: tuple[Gpu, ...]) -> None:
        """Notes that nobody has them any more, after ``leave``."""
        self.granted.difference_update(gpus)
        self.leaving.difference_update(gpus)
        self._count_free(gpu.model for gpu in gpus)

    def _count_free(self, models: Iterable[str]) -> None:
        for model in models:
            if model in self._suiting:  # else what is installed now is other devices
                self._free[model] = len(self._suiting[model] - self.granted)

    def choices(self, wishes: Iterable[GpuWish]) -> list[tuple[str, int]]:
        """The alternatives that an empty machine could grant, as model and number, best first."""
        counts = self._counts
        return [
            (model, wish.count)
            for wish in wishes
            for model in (counts if wish.model == ANY_MODEL else (wish.model,))
            if counts.get(model, 0) >= wish.count
        ]

    def counts(self) -> dict[str, int]:
        """How many devices of each model there are."""
        return self._counts

    def free_counts(self) -> dict[str, int]:
        """How many of them nobody has; 0 for a model that is all in use."""
        return self._free

    def take(self, model: str, count: int, withheld: Set[Gpu]) -> tuple[Gpu, ...] | None:
        """So many free devices of a model, but for those that are kept for others; None: fewer."""
        if self._free.get(model, 0) < count:
            return None
        free = [
            gpu
            for gpu in self.installed
            if gpu.model == model and gpu not in self.granted and gpu not in withheld
        ]
        return tuple(free[:count]) if len(free) >= count else None

    def suiting(self, wishes: Iterable[GpuWish]) -> frozenset[Gpu]:
        """Every device, free or not, that could become part of what is wished for."""
        models = {model for model, _ in self.choices(wishes)}
        if len(models) == 1:
            return self._suiting[models.pop()]
        return frozenset().union(*[self._suiting[model] for model in models])

    def missing(self, wishes: Iterable[GpuWish]) -> list[tuple[str, int]]:
        """For each alternative, its model and how many devices more have to become free.

        Those that are leaving count as free. Empty when some alternative lacks none.
        """
        short = []
        for model, count in self.choices(wishes):
            coming = self._free[model] + len(self._suiting[model] & self.leaving)
            if coming >= count:
                return []
            short.append((model, count - coming))
        return short
