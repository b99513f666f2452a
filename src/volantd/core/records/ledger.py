"""The core's account of the machine's memory and containers. It must not decide who gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volantd.core.model import Container

INFINITY = float("inf")


class Ledger:
    """What the machine has and what its containers have booked."""

    __slots__ = (
        "booked_bytes",
        "booked_count",
        "containers_max",
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

    def fits(self, memory_bytes: int) -> bool:
        """Whether one more container of that size may start now."""
        return (
            self.booked_count < self.containers_max
            and self.booked_bytes + memory_bytes <= self.memory_bytes
        )

    def fits_ever(self, memory_bytes: int) -> bool:
        """Whether it may start on an empty machine."""
        return self.containers_max >= 1 and memory_bytes <= self.memory_bytes

    def shortage(self, memory_bytes: int) -> tuple[float, float]:
        """Bytes and containers that must leave, beyond those leaving already, to fit one more."""
        short_bytes = self.booked_bytes - self.leaving_bytes + memory_bytes - self.memory_bytes
        short_count = self.booked_count - self.leaving_count + 1 - self.containers_max
        return short_bytes, short_count

    def book(self, container: Container) -> None:
        """Books a container that starts."""
        self.booked_bytes += container.memory_bytes
        self.booked_count += 1

    def leave(self, container: Container) -> None:
        """Notes that a booked container is stopping."""
        self.leaving_bytes += container.memory_bytes
        self.leaving_count += 1

    def release(self, container: Container) -> None:
        """Ends the booking of a container that is gone, after ``leave``."""
        self.booked_bytes -= container.memory_bytes
        self.booked_count -= 1
        self.leaving_bytes -= container.memory_bytes
        self.leaving_count -= 1
