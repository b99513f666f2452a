"""What is said ahead of a spawned call: which input makes it.

Only who makes the call knows that, where a container runs several inputs at once. It is an event
of its own, so that no other call carries anything for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volantd.fields import sequence, text, whole

if TYPE_CHECKING:
    from volantd.hub.session import Session

#: Calls of one connection that were announced and have not come.
AHEAD_MAX = 1000


class Ahead:
    """What was said of a call that is about to come."""

    __slots__ = ("parent",)

    def __init__(self, parent: tuple[str, int | None] | None) -> None:
        #: Call and index of the input that makes it.
        self.parent = parent


def take(session: Session, event: dict[str, Any]) -> None:
    """Note what a client says; that a container runs an input which it does not is passed over."""
    number = whole(event, "call")
    parent = None
    if event["parent"] is not None:
        fields = dict(zip(("call_id", "index"), sequence(event, "parent"), strict=True))
        call_id, index = text(fields, "call_id"), whole(fields, "index")
        link = session.hub.links.get(session.container_id)
        if link is not None and link.runs(call_id, index):
            parent = call_id, index
    if len(session.ahead) >= AHEAD_MAX:
        del session.ahead[next(iter(session.ahead))]
    session.ahead[number] = Ahead(parent)
