"""Where the standing of schedules is kept, so that it outlives what changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from volantd.schedules.policy import Standing


class Book(Protocol):
    """Keeps standings by key; one key belongs to one function of one app."""

    def load(self, key: str) -> Standing | None:
        """The standing that was kept last; None when there is none."""

    def save(self, key: str, standing: Standing) -> None:
        """Keep a standing in place of the one before."""

    def remove(self, key: str) -> None:
        """Keep nothing any more, if there is anything."""


class MemoryBook:
    """A book that lasts as long as the daemon: for apps that do not outlive it either."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}

    def load(self, key: str) -> Standing | None:
        """See `Book`."""
        return self._standings.get(key)

    def save(self, key: str, standing: Standing) -> None:
        """See `Book`."""
        self._standings[key] = standing

    def remove(self, key: str) -> None:
        """See `Book`."""
        self._standings.pop(key, None)
