"""Who waits for room: most urgent first, and together with all who need the same.

Of all pools that need the same only the most urgent one is worth a look: where it finds no room,
neither do the others. So whoever serves the line looks at one pool for each need that anybody has,
however many wait. How urgent a pool is says ``Pool.urgency``.

    8 GiB        A  B  C ...
    1 GiB        D  E        heads: D, F, A in order of urgency
    2 x H100     F
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from volantd.core.nodes.lack import Lack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.core.model import Pool
    from volantd.core.records.gpus import GpuWish

Shape: TypeAlias = "tuple[int, int, tuple[GpuWish, ...]]"
#: Urgency, place in the line, since when, whose, and what it needs.
Entry: TypeAlias = "tuple[float, int, float, Pool, Shape]"
#: Outdated entries of one shape, beyond as many as wait, before they are cleared away.
SLACK = 64
#: Pools that have passed already, before nobody looks for one that has not.
LOOKS_MAX = 16


class Line:
    """The waiting pools; lower urgency comes first, and among equals who waits longer."""

    __slots__ = ("_count", "_entries", "_heads", "_shapes", "_sizes", "first", "settled")

    def __init__(self) -> None:
        self._entries: dict[Pool, Entry] = {}
        #: By shape, a heap with outdated entries in it.
        self._shapes: dict[Shape, list[Entry]] = {}
        self._sizes: dict[Shape, int] = {}
        self._count = 0
        #: What ``heads`` returned, until something changes.
        self._heads: list[Pool] | None = None
        #: The most urgent pool that lacked memory when all were served last.
        self.first: Pool | None = None
        #: All heads have looked for room and found none; unless there is news, there is none.
        self.settled = False

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, pool: Pool) -> bool:
        return pool in self._entries

    def __iter__(self) -> Iterator[Pool]:
        """All of them, in no order that means anything."""
        return iter(self._entries)

    def since(self, pool: Pool) -> float:
        """Since when a pool that waits does so."""
        return self._entries[pool][2]

    def urgency(self, pool: Pool) -> float:
        """The urgency under which a pool waits."""
        return self._entries[pool][0]

    def join(self, pool: Pool, now: float) -> None:
        """Puts a pool into the line; one that waits keeps its place among those as urgent."""
        urgency = pool.urgency
        shape = pool.need.memory_bytes, pool.need.places, pool.need.gpus
        old = self._entries.get(pool)
        if old is None:
            self._count += 1
            entry = (urgency, self._count, now, pool, shape)
        elif old[0] == urgency and old[4] == shape:
            return
        else:
            self.leave(pool)
            entry = (urgency, old[1], old[2], pool, shape)
        self._entries[pool] = entry
        pool.lacking = Lack.UNKNOWN
        pool.looked_as = None
        pool.nominated_at = -1
        heap = self._shapes.setdefault(shape, [])
        heappush(heap, entry)
        self._sizes[shape] = self._sizes.get(shape, 0) + 1
        if len(heap) > 2 * self._sizes[shape] + SLACK:
            heap[:] = [one for one in heap if self._entries.get(one[3]) is one]
            heapify(heap)
        if heap[0] is entry:
            self._change()

    def look_again(self, pool: Pool) -> None:
        """Has a pool look at all machines once more, not only at those of which there is news."""
        if pool in self._entries:
            pool.lacking = Lack.UNKNOWN
            pool.looked_as = None
            self.settled = False

    def all_look_again(self) -> None:
        """Has all look at all machines once more."""
        for pool in self.heads():
            self.look_again(pool)

    def leave(self, pool: Pool) -> None:
        """Takes a pool out; one that does not wait is ignored."""
        entry = self._entries.pop(pool, None)
        if entry is None:
            return
        shape = entry[4]
        self._sizes[shape] -= 1
        if not self._sizes[shape]:
            del self._shapes[shape], self._sizes[shape]
            self._change()
        elif self._shapes[shape][0] is entry:
            self._change()

    def _change(self) -> None:
        self._heads = None
        self.settled = False

    def heads(self) -> list[Pool]:
        """The most urgent pool of each need, the most urgent first."""
        if self._heads is None:
            self._heads = [entry[3] for entry in sorted(map(self._first, self._shapes.values()))]
        return self._heads

    def _first(self, heap: list[Entry]) -> Entry:
        while self._entries.get(heap[0][3]) is not heap[0]:
            heappop(heap)
        return heap[0]

    def next_like(self, pool: Pool, passed: float) -> Pool | None:
        """The most urgent pool that needs the same and has not passed who waits since then.

        Args:
            pool: a head.
            passed: what ``Pool.passed`` must not be; behind too many of which it is, none is found.
        """
        heap = self._shapes[self._entries[pool][4]]
        aside: list[Entry] = []
        found = None
        while heap and found is None and len(aside) < LOOKS_MAX:
            entry = heappop(heap)
            if self._entries.get(entry[3]) is entry:
                aside.append(entry)
                if entry[3].passed != passed:
                    found = entry[3]
        for entry in aside:
            heappush(heap, entry)
        return found
