"""Virtual time and everything random: the heap of what happens next, links, the trace.

Owns the clock of a history. Nobody else in the simulator draws randomness elsewhere or moves time.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

#: Trace lines kept for the report of a failure.
TRACE_LINES = 400


class World:
    """One history's time, randomness and trace."""

    def __init__(self, rng: Random, *, verbose: bool = False) -> None:
        self.rng = rng
        self.now = 0.0
        #: True when the disasters are over and everything must come to its end.
        self.calm = False
        self.steps = 0
        self.trace: deque[tuple[float, str, tuple[object, ...]]] = deque(maxlen=TRACE_LINES)
        self._verbose = verbose
        self._order = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def after(self, delay_s: float, action: Callable[[], None]) -> float:
        """Has ``action`` happen ``delay_s`` from now; returns when that is."""
        due = self.now + delay_s
        heappush(self._heap, (due, next(self._order), action))
        return due

    def step(self) -> bool:
        """Does what happens next; False when nothing is left."""
        if not self._heap:
            return False
        self.now, _, action = heappop(self._heap)
        self.steps += 1
        action()
        return True

    def chance(self, probability: float) -> bool:
        """True with that probability, and never in calm times."""
        return not self.calm and self.rng.random() < probability

    def log(self, what: str, *details: object) -> None:
        """Adds a line to the trace."""
        self.trace.append((self.now, what, details))
        if self._verbose:
            print(line_of(self.now, what, details))  # noqa: T201  the replay's own output


def line_of(now: float, what: str, details: tuple[object, ...]) -> str:
    """One line of the trace."""
    return f"{now:12.6f}  {what:<18} " + " ".join(str(detail) for detail in details)


class Link:
    """A connection's one direction: messages arrive late, in order, until it is cut."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last = 0.0
        self.cut = False

    def send(self, deliver: Callable[[], None]) -> None:
        """Has the other side do ``deliver`` later, unless the link is cut before."""
        rng = self._world.rng
        delay_s = rng.random() * 2e-4
        if rng.random() < 0.03:
            delay_s = rng.random() * (0.02 if self._world.calm else 0.08)
        due = max(self._last, self._world.now + delay_s)
        self._last = due
        self._world.after(due - self._world.now, lambda: None if self.cut else deliver())
