"""What is known of one durable call while it runs: what of it is written, who waits for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volantd.core.records.intervals import IndexRanges

if TYPE_CHECKING:
    from volant.errors import Error
    from volantd.hub.session import Session


#: Calls that one call has made and that are not kept themselves, as far as they are remembered.
MADE_MAX = 1000


class Made:
    """A call that is not kept, as the graph of the call that made it shows it."""

    __slots__ = ("by", "call_id", "faults", "function", "state")

    def __init__(self, call_id: str, function: str, by: int | None) -> None:
        self.call_id = call_id
        self.function = function
        #: Index of the input that made it, None where several run at once.
        self.by = by
        self.faults = 0
        self.state = "pending"

    def ended(self, *, cancelled: bool) -> None:
        """Note how it has ended."""
        self.state = "cancelled" if cancelled else "failure" if self.faults else "success"

    def row(self) -> list[Any]:
        """As it is stored."""
        return [self.call_id, self.function, self.by, self.state]


class Kept:
    """State of one durable call."""

    __slots__ = (
        "acknowledge", "also", "begun", "ended", "faults", "is_refused", "is_settled", "made",
        "origin", "problem", "results", "unwritten", "unwritten_results", "written",
    )  # fmt: skip

    def __init__(self, origin: str = "") -> None:
        #: What made it, if no client did.
        self.origin = origin
        #: Its row was asked for.
        self.begun = False
        #: Writes of inputs that are under way, and what went wrong with the first that failed.
        self.unwritten = 0
        self.problem: Error | None = None
        #: Who is told when all inputs are written: a session, and its number for the call.
        self.acknowledge: tuple[Session, int] | None = None
        #: Who else has spawned it, by its key, and is told then.
        self.also: list[tuple[Session, int]] = []
        #: There was no room for further inputs of it.
        self.is_refused = False
        #: Indexes that have their result, here or on the disk; and on the disk alone.
        self.results = IndexRanges()
        self.written = IndexRanges()
        self.unwritten_results = 0
        #: Results that are faults.
        self.faults = 0
        #: Calls of its inputs that are not kept themselves.
        self.made: list[Made] = []
        #: How it has ended, before that is written; and whether it is.
        self.ended = ""
        self.is_settled = False
