"""How high a number has been of late, in memory that does not grow with how often it changes."""

from __future__ import annotations

from collections import deque

INFINITY = float("inf")


class RecentPeak:
    """The steps from the highest value of late down to the present one.

    Each says since when the number has been no higher. What rises ends the steps below it, so they
    always fall: there are no more than values.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()

    def note(self, value: int, now: float, remember_s: float) -> None:
        """Says what the number is from now on; forgets what is longer ago than ``remember_s``."""
        steps = self._steps
        since = now
        while steps and steps[-1][1] <= value:
            since = steps.pop()[0]
        steps.append((since, value))
        while len(steps) > 1 and steps[1][0] < now - remember_s:
            steps.popleft()

    def below_since(self, value: int) -> float:
        """Since when it has been below a value; infinity: it is not; minus infinity: ever."""
        since = -INFINITY
        for step_since, step_value in self._steps:
            if step_value < value:
                return since if since == -INFINITY else step_since
            since = step_since
        return INFINITY if self._steps else -INFINITY
