"""When each input of an app went through each phase of its life, as events with a time.

    accepted ─ queued ─ container wanted ─ forked ─ imported ─ dispatched ─ first line ─ finished
                                                                                  ─ delivered

One record an input that has got its outcome, whatever that was. Of inputs that travelled together
the first and the last are recorded, so that a map of a million costs next to nothing. A phase
that an input did not go through has time 0: a container that was there already was not wanted,
one that was forked ahead was not forked for it, an input that timed out was not finished.
"""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from volantd.hub.link import ContainerLink, Sent
    from volantd.hub.records import Call

#: Records that are kept for each app.
RECORDS_MAX = 10_000
#: Times are nanoseconds of CLOCK_MONOTONIC.
FIELDS = (
    "call_id", "index", "outcome", "accepted_ns", "queued_ns", "wanted_ns", "forked_ns",
    "imported_ns", "dispatched_ns", "first_line_ns", "finished_ns", "delivered_ns",
)  # fmt: skip
#: A tuple, not an object: one is made for every call.
Record: TypeAlias = tuple[str, int, str, int, int, int, int, int, int, int, int, int]


class Timings:
    """The latest records of one app."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=RECORDS_MAX)

    def rows(self) -> list[dict[str, str | int]]:
        """The records by the names of their fields, oldest first."""
        return [dict(zip(FIELDS, record, strict=True)) for record in self._records]

    def note_run(
        self, link: ContainerLink, sent: Sent, first: int, count: int, exec_us: int,
        finished_ns: int, outcome: str,
    ) -> None:  # fmt: skip
        """Note inputs that ran to their end, and whose outcome has just been delivered.

        Args:
            exec_us: how long user code ran, by the container's own clock.
            finished_ns: when the outcome arrived here.
            outcome: "ok" or "raised".
        """
        call = sent.call
        queued_ns = sent.batch.payload.queued_ns  # type: ignore[attr-defined]  # InputItems
        # The container says how long user code ran, so its first line began that long ago.
        first_line_ns = max(sent.sent_ns, finished_ns - exec_us * 1000)
        fresh = link.imported_ns > call.accepted_ns
        wanted_ns, forked_ns, imported_ns = link.start_ns if fresh else (0, 0, 0)
        if forked_ns < call.accepted_ns:
            forked_ns = 0  # ahead of need
        delivered_ns = monotonic_ns()
        for index in (first, first + count - 1) if count > 1 else (first,):
            self._records.append((
                call.call_id, index, outcome, call.accepted_ns, queued_ns, wanted_ns, forked_ns,
                imported_ns, sent.sent_ns, first_line_ns, finished_ns, delivered_ns,
            ))  # fmt: skip

    def note_failed(self, call: Call, first: int, count: int, outcome: str) -> None:
        """Note inputs that have an outcome without having run to their end.

        Args:
            outcome: "timeout", "lost", "start_failed", "stopped" or "cancelled".
        """
        now_ns = monotonic_ns()
        for index in (first, first + count - 1) if count > 1 else (first,):
            self._records.append((
                call.call_id, index, outcome, call.accepted_ns, call.accepted_ns, 0, 0, 0,
                call.sent_ns, 0, 0, now_ns,
            ))  # fmt: skip
