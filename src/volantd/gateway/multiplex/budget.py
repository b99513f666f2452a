"""How much of what costs us work and brings nobody an answer a connection may send. Pure."""

from __future__ import annotations


class Budget:
    """An amount that may be spent at once, and comes back with time."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        """`burst`: the amount; `rate`: what comes back in a second; `now`: in seconds."""
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = now

    def spend(self, amount: float, now: float) -> bool:
        """Take an amount, or give one back that was taken for nothing; False: it is used up."""
        came_back = min(self._burst, self._left + (now - self._at) * self._rate)
        self._left = min(self._burst, came_back - amount)
        self._at = now
        return self._left >= 0
