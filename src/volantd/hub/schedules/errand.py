"""Errands: calls that the daemon makes by itself, for which no client waits.

An errand is a call with one input and no arguments, whose result is kept like that of a spawned
one. Its end is told to whoever sent it.
"""

from __future__ import annotations

from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

from volant import ids
from volant.wire import frames
from volant.wire.payloads import NO_ARGUMENTS
from volantd.hub.records import Call, Held, InputItems

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.hub import Hub
    from volantd.hub.records import Function

_SECTION = frames.items_section(((frames.PICKLE, NO_ARGUMENTS),))


class Errands:
    """Sends errands; their ids are those of a session that nobody has."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._session_id = ids.new_session()
        self._numbers = count()

    def send(self, function: Function, origin: str, on_end: Callable[[Call], None]) -> Call:
        """Call a function without arguments.

        Args:
            origin: what the daemon that follows knows the call by.
            on_end: told when the call has finished, failed or was cancelled; its result is in
                the call's `results`.
        """
        hub, now = self._hub, monotonic()
        number = next(self._numbers)
        call = Call(
            ids.call_id(self._session_id, number), number, function, None,
            method=0, retain=True, stream=False, single=False, origin=origin,
        )  # fmt: skip
        call.on_end = on_end
        call.inputs, call.closed = 1, True
        hub.take_call(call)
        hub.durable.accept(call, 0, 1, _SECTION, None, closes=None)
        items = InputItems(_SECTION, 1, None, Held(None))
        hub.apply(hub.scheduler.submit(call.call_id, 0, 1, items, now), now)
        if hub.scheduler.has_call(call.call_id):
            hub.apply(hub.scheduler.close_call(call.call_id, 1, now), now)
        hub.note_change(function)
        hub.after_events()
        return call
