"""Results of durable calls that are at hand, and who waits for one.

All are in the database; the latest are in memory as well, `BYTES_MAX` of them at most. Finished
calls of which nothing is in memory any more are looked up when somebody asks.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from volant.wire import frames, values
from volant.wire.faults import platform_fault

if TYPE_CHECKING:
    from volantd.hub.hub import Hub
    from volantd.hub.records import Call
    from volantd.hub.session import Session

#: Bytes of results in memory, mapped files not counted.
BYTES_MAX = 128 << 20
#: Files of results in memory.
FILES_MAX = 256
#: Finished calls in memory.
CALLS_MAX = 20_000


class Retained:
    """The results that nobody has asked for yet, and those that may be asked for again."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._bytes = 0
        self._files = 0
        #: Calls of which results are in memory, those that got one last at the end.
        self._holding: OrderedDict[str, Call] = OrderedDict()
        self._finished: OrderedDict[str, Call] = OrderedDict()

    def keep(self, call: Call, first: int, count: int, section: bytes, fd: int | None) -> None:
        """Have results at hand that are written, and give them to those who wait already."""
        while self._holding and (self._bytes > BYTES_MAX or self._files > FILES_MAX):
            self._let_go(next(iter(self._holding)))
        for index, (kind, payload) in enumerate(frames.split_items(section, count), first):
            call.results[index] = (kind, payload, fd)
            self._bytes += len(payload)
            self._files += fd is not None
            fd = None  # it belongs to the first
            for session, number in call.watchers.pop(index, ()):
                session.watching.pop(number, None)
                self.send(session, number, index, *call.results[index])
        self._holding[call.call_id] = call
        self._holding.move_to_end(call.call_id)

    @staticmethod
    def send(
        session: Session, number: int, index: int, kind: int, payload: bytes, fd: int | None
    ) -> None:
        """Send one result to a session that asked for it; the descriptor stays the caller's."""
        flags = 0 if fd is None else frames.HAS_FD
        section = frames.items_section(((kind, payload),))
        frame = frames.hot(frames.RESULT, flags, number, index, 1, 0, section)
        session.peer.write(frame, None if fd is None else os.dup(fd))

    def watch(self, session: Session, number: int, call: Call, index: int, *, wait: bool) -> None:
        """Answer a `call_get`: the result, or that there is none yet, or later the result."""
        if index in call.results:
            self.send(session, number, index, *call.results[index])
        elif index in call.kept.written:
            self._hub.durable.fetch(session, number, call.call_id, index)
        elif wait and not call.kept.is_settled:
            call.watchers.setdefault(index, []).append((session, number))
            session.watching[number] = (call, index)
        else:
            self.say_pending(session, number)

    @staticmethod
    def say_pending(session: Session, number: int) -> None:
        """Tell a session that there is no result yet."""
        reply = {"id": number, "state": "pending"}
        session.peer.write(frames.control(frames.REPLY, values.encode(reply)))

    def unwatch(self, session: Session, number: int) -> None:
        """Forget somebody who waits no more."""
        call, index = session.watching.pop(number)
        watchers = [entry for entry in call.watchers.pop(index, ()) if entry != (session, number)]
        if watchers:
            call.watchers[index] = watchers

    def settle(self, call: Call) -> None:
        """Note that a call has finished and is written; from now on it need not be in memory."""
        for index, watchers in call.watchers.items():
            fault = no_such_index(call.inputs, index)
            for session, number in watchers:
                session.watching.pop(number, None)
                session.refuse(number, fault)
        call.watchers.clear()
        self._finished[call.call_id] = call
        while len(self._finished) > CALLS_MAX:
            self._forget(next(iter(self._finished)))

    def _let_go(self, call_id: str) -> None:
        call = self._holding.pop(call_id)
        for _, payload, fd in call.results.values():
            self._bytes -= len(payload)
            if fd is not None:
                self._files -= 1
                os.close(fd)
        call.results.clear()
        if call_id in self._finished:
            self._forget(call_id)

    def _forget(self, call_id: str) -> None:
        del self._finished[call_id]
        if call_id in self._holding:
            self._let_go(call_id)
        self._hub.calls.pop(call_id, None)


def no_such_index(inputs: int, index: int) -> bytes:
    """The fault for who asks for an input that a call does not have."""
    return platform_fault(
        "InvalidError", f"the call has {inputs} inputs, there is no index {index}"
    )
