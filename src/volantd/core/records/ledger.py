"""The core's account of one machine: memory, containers, GPUs. It must not decide who gets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.core.records.gpus import Gpu, GpuAccount

if TYPE_CHECKING:
    from volantd.core.model import Container
    from volantd.core.records.configuration import Need

INFINITY = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """What must leave, beyond what is leaving already, so that one more container can start."""

    #: Not above 0: enough of it will be there.
    memory_bytes: float
    containers_count: float
    #: For each alternative, its model and how many devices; empty when GPUs are not what lacks.
    gpus: tuple[tuple[str, int], ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing has to leave."""
        return self.memory_bytes <= 0 and self.containers_count <= 0 and not self.gpus

    def is_relieved_by(self, container: Container) -> bool:
        """Whether the end of a container is of any use."""
        if self.containers_count > 0 or (self.memory_bytes > 0 and container.need.memory_bytes):
            return True
        models = {model for model, _ in self.gpus}
        return any(gpu.model in models for gpu in container.gpus)


class Ledger:
    """What a machine has and what its containers have booked."""

    __slots__ = (
        "booked_bytes",
        "booked_count",
        "containers_max",
        "gpus",
        "leaving_bytes",
        "leaving_count",
        "memory_bytes",
    )

    def __init__(self) -> None:
        self.memory_bytes: float = INFINITY
        self.containers_max: float = INFINITY
        self.booked_bytes = 0
        self.booked_count = 0
        #: The part of the booked that belongs to stopping containers.
        self.leaving_bytes = 0
        self.leaving_count = 0
        self.gpus = GpuAccount()

    def install(self, memory_bytes: float, containers_max: float, gpus: tuple[Gpu, ...]) -> None:
        """Says what the machine has; what is booked stays booked."""
        self.memory_bytes = memory_bytes
        self.containers_max = containers_max
        self.gpus.install(gpus)

    def fits(self, need: Need) -> bool:
        """Whether there is room for one more container now, GPUs apart."""
        return (
            self.booked_count + need.places <= self.containers_max
            and self.booked_bytes + need.memory_bytes <= self.memory_bytes
        )

    def could_grant(self, need: Need) -> bool:
        """Whether the GPUs for it are free, if it needs any."""
        free = self.gpus.free_counts() if need.gpus else {}
        return not need.gpus or any(
            free[model] >= count for model, count in self.gpus.choices(need.gpus)
        )

    def fits_ever(self, need: Need) -> bool:
        """Whether it may start on an empty machine, GPUs apart."""
        return self.containers_max >= need.places and need.memory_bytes <= self.memory_bytes

    def lacks_gpus(self, need: Need) -> bool:
        """Whether this machine has no GPUs that would do, however empty it is."""
        return bool(need.gpus) and not self.gpus.choices(need.gpus)

    def shortage(self, need: Need) -> Shortage:
        """What must leave to fit one more."""
        booked_bytes = self.booked_bytes - self.leaving_bytes
        booked_count = self.booked_count - self.leaving_count
        return Shortage(
            memory_bytes=booked_bytes + need.memory_bytes - self.memory_bytes,
            containers_count=booked_count + need.places - self.containers_max,
            gpus=tuple(self.gpus.missing(need.gpus)) if need.gpus else (),
        )

    def book(self, container: Container) -> None:
        """Books a container that starts."""
        self.booked_bytes += container.need.memory_bytes
        self.booked_count += container.need.places
        if container.gpus:
            self.gpus.grant(container.gpus)

    def leave(self, container: Container) -> None:
        """Notes that a booked container is stopping."""
        self.leaving_bytes += container.need.memory_bytes
        self.leaving_count += container.need.places
        if container.gpus:
            self.gpus.leave(container.gpus)

    def release(self, container: Container) -> None:
        """Ends the booking of a container that is gone, after ``leave``."""
        self.booked_bytes -= container.need.memory_bytes
        self.booked_count -= container.need.places
        self.leaving_bytes -= container.need.memory_bytes
        self.leaving_count -= container.need.places
        if container.gpus:
            self.gpus.release(container.gpus)
