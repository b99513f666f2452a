"""What is said ahead of a spawned call: which input makes it, and by which key it is known.

Only who makes the call knows which input that is, where a container runs several at once. It is an
event of its own, so that no other call carries anything for it.

A call with a key has an id that follows from function and key. Whoever spawns with the same key
means the same call, also one that has finished, and one of which only the database knows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.wire import values
from volant.wire.frames import FUNCTION_MASK, HOT
from volantd.fields import sequence, text, whole

if TYPE_CHECKING:
    from volantd.hub.records import Function
    from volantd.hub.session import Session

#: Calls of one connection that were announced and have not come.
AHEAD_MAX = 1000


class Ahead:
    """What was said of a call that is about to come."""

    __slots__ = ("call_id", "is_known", "key", "parent")

    def __init__(self, parent: tuple[str, int] | None, key: str | None) -> None:
        #: Call and index of the input that makes it.
        self.parent = parent
        self.key = key
        #: The id that follows from its key, and whether it was looked for under that.
        self.call_id = ""
        self.is_known = False


def take(session: Session, event: dict[str, Any]) -> None:
    """Note what a client says; that a container runs an input which it does not is passed over."""
    number = whole(event, "call")
    parent, key = None, None
    if event["parent"] is not None:
        fields = dict(zip(("call_id", "index"), sequence(event, "parent"), strict=True))
        call_id, index = text(fields, "call_id"), whole(fields, "index")
        link = session.hub.links.get(session.container_id)
        if link is not None and link.runs(call_id, index):
            parent = call_id, index
    if event["key"] is not None:
        key = text(event, "key")
        if not 0 < len(key) <= ids.KEY_CHARS_MAX:
            raise ValueError(f"a key of {len(key)} characters")
    if len(session.ahead) >= AHEAD_MAX:
        del session.ahead[next(iter(session.ahead))]
    session.ahead[number] = Ahead(parent, key)


def has_to_wait(session: Session, flags: int, body: bytes, fd: int | None) -> bool:
    """Whether a call can only begin when it is known that there is none with its key.

    Then it goes on by itself. The descriptor stays the caller's.
    """
    number, _, _, function_number = HOT.unpack_from(body)
    ahead = session.ahead.get(number)
    if ahead is None or ahead.key is None or ahead.is_known:
        return False
    function = session.functions.get(function_number & FUNCTION_MASK)
    if function is None:
        return False  # it is refused as any other
    method = session.method_of(function_number, function.latest())
    ahead.call_id = _keyed_id(function.latest(), method, ahead.key)
    ahead.is_known = True
    hub = session.hub
    if ahead.call_id in hub.calls or not hub.services.database.exists:
        return False
    own = None if fd is None else os.dup(fd)
    hub.services.tasks.start(_look_up(session, ahead, flags, body, own), "look-up-key")
    return True


def _keyed_id(function: Function, method: int | None, key: str) -> str:
    methods = function.spec["methods"]
    name = methods[method]["name"] if methods and method is not None else None
    parts = [function.app.app_id, function.name, name, function.parameters, key]
    return ids.keyed_call_id(values.encode(parts))


async def _look_up(session: Session, ahead: Ahead, flags: int, body: bytes, fd: int | None) -> None:
    """Go on with a call whose key only the database may know."""
    from volantd.store import calls as store

    number = HOT.unpack_from(body)[0]
    row = await session.hub.services.database.run(
        lambda connection: store.find(connection, ahead.call_id)
    )
    if row is None and not session.peer.closed:
        session.submit(flags, body, fd)
        return
    if fd is not None:
        os.close(fd)
    if not session.peer.closed:
        session.ahead.pop(number, None)
        session.reply(number, {"call": f"fc-{ahead.call_id}"})
