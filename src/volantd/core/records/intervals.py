"""A set of indexes kept as ranges: which inputs of a call are known, in little memory.

Holds the invariant that ranges are disjoint, sorted and not adjacent. A map that is submitted in
order stays one range for a million inputs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class IndexRanges:
    """Half-open ranges ``[start, stop)`` of the indexes added so far."""

    __slots__ = ("starts", "stops")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []

    def add(self, first: int, count: int) -> list[tuple[int, int]]:
        """Adds ``count`` indexes from ``first``.

        Returns:
            The ``(first, count)`` pieces that were not there before, in order; empty when all were.
        """
        stop = first + count
        low = bisect_left(self.stops, first)
        high = bisect_right(self.starts, stop)
        fresh: list[tuple[int, int]] = []
        cursor = first
        for start, end in zip(self.starts[low:high], self.stops[low:high], strict=True):
            if cursor < start:
                fresh.append((cursor, start - cursor))
            cursor = max(cursor, end)
        if cursor < stop:
            fresh.append((cursor, stop - cursor))
        if low < high:
            first = min(first, self.starts[low])
            stop = max(stop, self.stops[high - 1])
        self.starts[low:high] = [first]
        self.stops[low:high] = [stop]
        return fresh

    def __len__(self) -> int:
        return sum(self.stops) - sum(self.starts)

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self.starts, index) - 1
        return at >= 0 and index < self.stops[at]

    def missing(self, total: int) -> list[tuple[int, int]]:
        """The ``(first, count)`` pieces of ``[0, total)`` that were not added, in order."""
        pieces: list[tuple[int, int]] = []
        cursor = 0
        for start, stop in zip([*self.starts, total], [*self.stops, total], strict=True):
            if cursor < min(start, total):
                pieces.append((cursor, min(start, total) - cursor))
            cursor = max(cursor, stop)
        return pieces
