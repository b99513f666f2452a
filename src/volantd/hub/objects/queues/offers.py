"""Offers: items that getters were sent and have not claimed, each for a limited time.

An item may be offered before it is written: then its write waits for a moment for the claim, so
that both are one transaction, and returns of it wait until it is known what has become of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from volant.errors import ResourceExhaustedError
from volant.wire.faults import error_fault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from volantd.hub.objects.queues.partition import Getter, Item, Partition
    from volantd.hub.session import Session

#: Bytes that one session was offered and has not claimed.
OFFERED_BYTES_MAX = 64 << 20
#: How long a getter may take to claim what it was offered.
CLAIM_S = 30.0
#: How long a write waits for claims of what is to be written.
HOLD_S = 0.001


class Arrival:
    """What becomes of items that were put: they may be held, are written, and then kept or not."""

    __slots__ = (
        "_claims", "_held", "_timer", "is_kept", "is_settled", "offers", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.is_settled = False
        self.is_kept = False
        #: Of these items, that are open.
        self.offers = 0
        #: What is to be done when it is settled.
        self.waiting: list[Callable[[], object]] = []
        self._held: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._claims: list[Callable[[], object]] = []

    def hold(self, write: Callable[[], object], loop: asyncio.AbstractEventLoop) -> None:
        """Write when all offers of these items were answered, or have not been for too long."""
        self._held = write
        self._timer = loop.call_later(HOLD_S, self.release)

    def answered(self, claim: Callable[[], object] | None = None) -> None:
        """An offer was claimed, or given back: the claim is written after the items."""
        if self._held is None:
            if claim is not None:
                claim()
            return
        if claim is not None:
            self._claims.append(claim)
        self.offers -= 1
        if not self.offers:
            self.release()

    def release(self) -> None:
        """Wait no longer."""
        write, self._held = self._held, None
        if write is None:
            return
        assert self._timer is not None
        self._timer.cancel()
        write()
        for claim in self._claims:
            claim()
        self._claims.clear()

    def settle(self, *, is_kept: bool) -> None:
        """Say what has become of them."""
        self.is_settled, self.is_kept = True, is_kept
        for act in self.waiting:
            act()
        self.waiting.clear()


#: That of items that are on the disk.
KEPT = Arrival()
KEPT.settle(is_kept=True)


@dataclass(slots=True, kw_only=True, eq=False)
class Offer:
    """Items that a getter was sent, and has not claimed yet."""

    partition: Partition
    items: list[Item]
    size: int
    arrival: Arrival
    timer: asyncio.TimerHandle


class Offers:
    """All offers, by the session and the number of the request that they answer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, expired: Callable[[Session, int], object]
    ) -> None:
        """`expired`: told of an offer that was not claimed in time."""
        self._loop = loop
        self._expired = expired
        self._offers: dict[Session, dict[int, Offer]] = {}
        self._bytes: dict[Session, int] = {}

    def may_make(self, getter: Getter) -> bool:
        """Whether a getter takes what it is offered; if not, it is told that it gets no more."""
        offered = self._bytes.get(getter.session, 0)
        if offered < OFFERED_BYTES_MAX:
            return True
        getter.session.refuse(getter.number, error_fault(ResourceExhaustedError(
            f"{offered} bytes were offered to one client that has not taken them"
        )))  # fmt: skip
        return False

    def make(
        self, getter: Getter, items: list[Item], size: int, arrival: Arrival, *, more: bool
    ) -> None:
        """Send items to a getter."""
        session, number = getter.session, getter.number
        timer = self._loop.call_later(CLAIM_S, self._expired, session, number)
        self._offers.setdefault(session, {})[number] = Offer(
            partition=getter.partition, items=items, size=size, arrival=arrival, timer=timer
        )
        self._bytes[session] = self._bytes.get(session, 0) + size
        session.reply(number, {
            "items": [value for _, value in items], "offer": number, "more": more,
        })  # fmt: skip

    def take(self, session: Session, number: int) -> Offer | None:
        """Take an offer out, None if it is there no more."""
        found = self._offers.get(session, {}).pop(number, None)
        if found is not None:
            found.timer.cancel()
            self._bytes[session] -= found.size
        return found

    def numbers(self, session: Session) -> list[int]:
        """Those that a session has."""
        return list(self._offers.get(session, ()))

    def forget(self, session: Session) -> None:
        """Forget a session whose offers were taken out."""
        self._offers.pop(session, None)
        self._bytes.pop(session, None)
