"""Results that are kept until they are asked for: those of `spawn` and `spawn_map`.

In memory, bounded: when more than `BYTES_MAX` are kept, those of the calls that finished first
go. A call that was forgotten answers with `OutputExpiredError`.
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

#: Bytes of results kept, mapped files not counted.
BYTES_MAX = 512 << 20
#: Finished calls kept, and those forgotten that are still told apart from unknown ones.
CALLS_MAX = 200_000


class Retained:
    """The results that nobody has asked for yet, and those that may be asked for again."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._bytes = 0
        self._finished: OrderedDict[str, Call] = OrderedDict()
        self._expired: OrderedDict[str, None] = OrderedDict()

    def keep(self, call: Call, first: int, count: int, section: bytes, fd: int | None) -> None:
        """Keep results, and hand them to those who wait already."""
        for index, (kind, payload) in enumerate(frames.split_items(section, count), first):
            if index in call.results:
                continue
            call.results[index] = (kind, payload, fd)
            fd = None  # it belongs to the first
            self._bytes += len(payload)
            for session, number in call.watchers.pop(index, ()):
                session.watching.pop(number, None)
                self.send(session, number, call, index)
        if fd is not None:
            os.close(fd)

    def send(self, session: Session, number: int, call: Call, index: int) -> None:
        """Send one kept result to a session that asked for it."""
        kind, payload, fd = call.results[index]
        flags = 0 if fd is None else frames.HAS_FD
        section = frames.items_section(((kind, payload),))
        frame = frames.hot(frames.RESULT, flags, number, index, 1, 0, section)
        session.peer.write(frame, None if fd is None else os.dup(fd))

    def watch(self, session: Session, number: int, call: Call, index: int, *, wait: bool) -> None:
        """Answer a `call_get`: the result, or that there is none yet, or later the result."""
        if index in call.results:
            self.send(session, number, call, index)
            return
        if wait and not call.finished:
            call.watchers.setdefault(index, []).append((session, number))
            session.watching[number] = (call, index)
            return
        reply = {"id": number, "state": "pending"}
        session.peer.write(frames.control(frames.REPLY, values.encode(reply)))

    def unwatch(self, session: Session, number: int) -> None:
        """Forget somebody who waits no more."""
        call, index = session.watching.pop(number)
        watchers = [entry for entry in call.watchers.pop(index, ()) if entry != (session, number)]
        if watchers:
            call.watchers[index] = watchers

    def fail_rest(self, call: Call, fault: bytes) -> None:
        """Give every input without a result this fault."""
        section = frames.items_section(((frames.FAULT, fault),))
        for index in range(call.inputs):
            if index not in call.results:
                self.keep(call, index, 1, section, None)
        for index in list(call.watchers):
            self.keep(call, index, 1, section, None)
        self.settle(call)

    def settle(self, call: Call) -> None:
        """Note that a call has finished; from now on it may be forgotten."""
        for index, watchers in call.watchers.items():
            fault = no_such_index(call, index)
            for session, number in watchers:
                session.watching.pop(number, None)
                session.refuse(number, fault)
        call.watchers.clear()
        self._finished[call.call_id] = call
        while self._bytes > BYTES_MAX or len(self._finished) > CALLS_MAX:
            if len(self._finished) == 1:
                return  # the newest is kept whatever its size
            call_id, oldest = self._finished.popitem(last=False)
            self._drop(call_id, oldest)

    def _drop(self, call_id: str, call: Call) -> None:
        for _, payload, fd in call.results.values():
            self._bytes -= len(payload)
            if fd is not None:
                os.close(fd)
        self._hub.calls.pop(call_id, None)
        self._expired[call_id] = None
        while len(self._expired) > CALLS_MAX:
            self._expired.popitem(last=False)

    def missing(self, call_id: str) -> bytes:
        """The fault for a call that is not in the books."""
        if call_id in self._expired:
            return platform_fault(
                "OutputExpiredError", f"the results of fc-{call_id} are kept no more"
            )
        return platform_fault(
            "NotFoundError",
            f"there is no call fc-{call_id}",
            "results are kept by the daemon that ran the call, until it stops",
        )


def no_such_index(call: Call, index: int) -> bytes:
    """The fault for who asks for an input that a call does not have."""
    return platform_fault(
        "InvalidError", f"the call has {call.inputs} inputs, there is no index {index}"
    )
