"""One partition of a queue in memory: how much is in it, who waits, and its next items.

        ready (in memory) | behind (in the database alone) | coming (being written)
    ◄── cursor ───────────┘                   last_id ─────┘

The database is the truth. What is in memory are counts, and the first items as far as they are
small: those that are ready. An item that was offered to a getter stays in the database, and is in
neither place here, until its getter claims it or it goes back.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volantd.hub.objects.queues.offers import KEPT

if TYPE_CHECKING:
    import asyncio

    from volantd.hub.session import Session

    Item = tuple[int, bytes]

#: Items of one partition, and bytes of them.
ITEMS_MAX = 5000
BYTES_MAX = 64 << 20
#: Items that are kept ready in memory when they are put, and bytes of them.
READY_ITEMS_MAX = 1000
READY_BYTES_MAX = 1 << 20
#: What one getter is offered at once.
OFFER_BYTES_MAX = 4 << 20


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting:
    """A request that waits: for items, for room, or to look at what is put."""

    session: Session
    number: int
    partition: Partition
    message: dict[str, Any]
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Getter(Waiting):
    """Waits for items."""

    count: int


@dataclass(slots=True, kw_only=True, eq=False)
class Putter(Waiting):
    """Waits for room."""

    values: list[bytes]
    size: int
    ttl_s: float


@dataclass(slots=True, kw_only=True, eq=False)
class Peeker(Waiting):
    """Waits to see what is put after an item."""

    after: int
    count: int


class Partition:
    """State of one partition."""

    __slots__ = (
        "arrival", "coming_bytes", "coming_count", "count", "cursor", "expires_at", "getters",
        "is_current",
        "is_fetching", "last_id", "name", "object_id", "peekers", "putters", "ready",
        "ready_bytes", "size",
    )  # fmt: skip

    def __init__(self, object_id: str, name: str) -> None:
        self.object_id = object_id
        self.name = name
        #: Of what is on the disk, whether it was offered or not.
        self.count = 0
        self.size = 0
        #: Of what is being written.
        self.coming_count = 0
        self.coming_bytes = 0
        self.expires_at = 0.0
        #: Items up to this id are ready, or were handed out.
        self.cursor = 0
        self.last_id = 0
        self.ready: deque[Item] = deque()
        self.ready_bytes = 0
        self.is_fetching = False
        #: Of what was put last and offered before it was written.
        self.arrival = KEPT
        #: Cleared when another has taken its place, because all that was in it is gone.
        self.is_current = True
        self.getters: OrderedDict[tuple[Session, int], Getter] = OrderedDict()
        self.putters: OrderedDict[tuple[Session, int], Putter] = OrderedDict()
        self.peekers: OrderedDict[tuple[Session, int], Peeker] = OrderedDict()

    @property
    def is_behind(self) -> bool:
        """Whether there are items that are in the database alone."""
        return self.cursor < self.last_id

    @property
    def is_unused(self) -> bool:
        """Whether nothing is in it, and nobody waits."""
        return not (self.count or self.coming_count or self.getters or self.putters or self.peekers)

    def fits(self, count: int, size: int) -> bool:
        """Whether there is room for items."""
        return (
            self.count + self.coming_count + count <= ITEMS_MAX
            and self.size + self.coming_bytes + size <= BYTES_MAX
        )

    @property
    def may_hand_on(self) -> bool:
        """Whether what is put next is the next for who waits, even before it is written."""
        is_last = not self.ready and not self.is_behind and not self.coming_count
        return bool(self.getters) and is_last and not self.is_fetching

    def arrive(self, items: list[Item], last_id: int, *, may_be_ready: bool) -> None:
        """Take in items that have been written, as far as they were not handed on before.

        Args:
            last_id: of the last one that was written.
            may_be_ready: whether there is memory for them.
        """
        size = sum([len(value) for _, value in items])
        has_room = (
            len(self.ready) + len(items) <= READY_ITEMS_MAX
            and self.ready_bytes + size <= READY_BYTES_MAX
        )
        if not self.is_behind and not self.is_fetching and (
            not items or (may_be_ready and has_room)
        ):  # fmt: skip
            self.ready.extend(items)
            self.ready_bytes += size
            self.cursor = last_id
        elif not self.is_behind and not self.is_fetching:
            self.cursor = items[0][0] - 1
        self.last_id = last_id

    def fetched(self, items: list[Item]) -> None:
        """Take in items that were read from the database."""
        self.ready.extend(items)
        self.ready_bytes += sum(len(value) for _, value in items)
        self.cursor = items[-1][0] if items else self.last_id

    def take(self, count: int) -> tuple[list[Item], int]:
        """The first items that are ready, as `take` below."""
        taken, size = take(self.ready, count)
        self.ready_bytes -= size
        return taken, size

    def give_back(self, items: list[Item], size: int) -> None:
        """Have items, which were offered, in their old places again."""
        self.ready = deque(sorted([*items, *self.ready], key=lambda item: item[0]))
        self.ready_bytes += size


def take(items: deque[Item], count: int) -> tuple[list[Item], int]:
    """The first of some items, as many as wanted and fit into an offer; and their bytes."""
    taken: list[Item] = []
    size = 0
    while items and len(taken) < count:
        if taken and size + len(items[0][1]) > OFFER_BYTES_MAX:
            break
        item = items.popleft()
        taken.append(item)
        size += len(item[1])
    return taken, size
