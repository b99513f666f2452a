"""Links to the containers of a gang: what goes to one goes to all, and one outcome comes of it.

    hub ──INPUT──► rank 0, rank 1, … ──OUTCOME of each──► that of rank 0, once the last one is there
                                     ──a fault of any───► that fault, at once

The core knows the gang as one container, under the id of rank 0. What the other ranks return is
dropped.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from volantd.hub.link import ContainerLink, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.core import Batch
    from volantd.hub.records import Call
    from volantd.hub.session import Session

#: The links of one gang by rank, as far as they are there.
Ranks = dict[int, "GangLink"]


class GangLink(ContainerLink):
    """The connection to one container of a gang."""

    #: Set as soon as it is made: its place in the gang, and the links of all.
    rank: int
    ranks: Ranks
    #: By rank, what is done with its outcome of the present input if all have ended well.
    ended: dict[int, Callable[[], None]]

    def join(self, rank: int, ranks: Ranks, ended: dict[int, Callable[[], None]]) -> None:
        """Take its place in a gang."""
        self.rank, self.ranks, self.ended = rank, ranks, ended
        ranks[rank] = self

    def together(self) -> tuple[ContainerLink, ...]:
        """Whoever hears what the core tells the container of this id."""
        return (self,) if self.rank else tuple(self.ranks.values())

    def _may_express(self, session: Session | None) -> bool:
        return False  # the result of rank 0 waits for the others

    def _done_of(self, sent: Sent) -> int:
        return 1 if self.rank in self.ended else super()._done_of(sent)

    def _lend_result(self, sent: Sent | None, section: bytes) -> None:
        if self.rank:
            self.hub.loans.give_back(section, self.peer)
        else:
            super()._lend_result(sent, section)

    def dispatch(self, batch: Batch, call: Call, method: int, *, more: bool) -> None:
        """Send an input to all of the gang."""
        self.ended.clear()
        for link in self.ranks.values():
            ContainerLink.dispatch(link, batch, call, method, more=more)

    def _succeeded(
        self, sent: Sent, key: int, first: int, count: int, exec_us: int, section: bytes,
        fd: int | None, *, delivered: bool = False,
    ) -> None:  # fmt: skip
        if self.rank and fd is not None:
            os.close(fd)
        then = super()._succeeded
        self._end(partial(then, sent, key, first, count, exec_us, section, fd))

    def _mixed(
        self, sent: Sent, key: int, first: int, exec_us: int, items: list[tuple[int, bytes]],
        fd: int | None,
    ) -> None:  # fmt: skip
        """One item, for a gang is sent one input at a time; more are refused by the core."""
        if sent.batch.call.cancelled:  # all are asked to end, and have the time for it
            self._end(partial(super()._mixed, sent, key, first, exec_us, items, fd))
            return
        for link in self.ranks.values():
            link.batches.clear()  # what they say of it comes late
        self.ended.clear()
        ContainerLink._mixed(self.ranks[0], sent, key, first, exec_us, items, fd)

    def _end(self, then: Callable[[], None]) -> None:
        self.ended[self.rank] = then
        if len(self.ended) == len(self.ranks):
            of_first = self.ended[0]
            self.ended.clear()
            of_first()
