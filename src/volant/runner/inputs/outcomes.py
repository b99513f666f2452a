"""Results of tasks on their way out: those that come at once travel together.

    task ──Outcome──► held ──RESULTs, one datagram──► client, by the express lane
                           ──OUTCOMEs, one write────► hub

A result alone is sent where it was made. In a run of them a write for each would cost as much as
the rest of it, so what follows is held until the loop has run all that was ready, and for
`TOGETHER_NS` at the most while results come. Belongs to the thread of the loop.
"""

from __future__ import annotations

import os
from _socket import MSG_DONTWAIT
from time import perf_counter_ns

from volant.runner.inputs import outbox
from volant.wire import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from volant.runner.inputs.several import Several
    from volant.runner.loop import Batch

#: In a run of results, what is held is sent about so often.
TOGETHER_NS = 300_000
#: What fits into one datagram beside the token: one of the largest results, or more smaller ones.
_DATAGRAM_BYTES = frames.HEADER.size + frames.HOT.size + frames.EXPRESS_BYTES_MAX


class Outcome:
    """The one result of an input."""

    __slots__ = ("batch", "exec_us", "flags", "section")

    def __init__(self, batch: Batch, flags: int, exec_us: int, section: bytes) -> None:
        self.batch = batch
        self.flags = flags
        self.exec_us = exec_us
        self.section = section

    def frame(self) -> bytes:
        """The frame that tells the hub."""
        return frames.hot(
            frames.OUTCOME, self.flags, self.batch.key, self.batch.first, 1, self.exec_us,
            self.section,
        )  # fmt: skip


class Outcomes:
    """The results that are not sent yet."""

    def __init__(self, several: Several, event_loop: asyncio.AbstractEventLoop) -> None:
        self._several = several
        self._runner = several.runner
        self._loop = event_loop
        self._held: list[Outcome] = []
        self._sent_ns = 0
        self._will_flush = False

    def add(self, outcome: Outcome, *, others: bool) -> None:
        """Send a result, or hold it for a moment when others run from which more may come."""
        self._held.append(outcome)
        if not others or perf_counter_ns() - self._sent_ns > TOGETHER_NS:
            self.flush()
        elif not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush_held)

    def _flush_held(self) -> None:
        self._will_flush = False
        self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if not self._held:
            return
        if os.getpid() != self._runner.pid:
            os._exit(0)  # user code forked and its child came back here: not ours to answer
        held, self._held = self._held, []
        with self._several.lock:
            if self._several.is_over:
                return
            outbox.flush_output()
            if self._runner.express is not None:
                self._send_express([one for one in held if self._may_express(one)])
            self._runner.send(b"".join([one.frame() for one in held]))
        self._sent_ns = perf_counter_ns()

    @staticmethod
    def _may_express(outcome: Outcome) -> bool:
        is_wanted = outcome.batch.express and outcome.flags & frames.ALL_OK
        return bool(is_wanted) and outbox.may_express(outcome.section)

    def _send_express(self, outcomes: list[Outcome]) -> None:
        """Send results straight to their client, as many to a datagram as fit, and mark them."""
        together: list[bytes] = []
        size = first = 0
        for index, one in enumerate(outcomes):
            frame = outbox.express_frame(one.batch, one.exec_us, one.section)
            if size + len(frame) > _DATAGRAM_BYTES:
                self._send_datagram(together, outcomes[first:index])
                together, size, first = [], 0, index
            together.append(frame)
            size += len(frame)
        if together:
            self._send_datagram(together, outcomes[first:])

    def _send_datagram(self, together: list[bytes], outcomes: list[Outcome]) -> None:
        lane = self._runner.express
        assert lane is not None
        try:
            lane.send(self._runner.express_token + b"".join(together), MSG_DONTWAIT)
        except OSError:
            return  # no room, or nobody there any more: the hub delivers
        for one in outcomes:
            one.flags |= frames.EXPRESS
