"""How many spawned inputs may wait, and how many bytes: the daemon has them in memory.

What does not fit is refused with the index that it begins at. Whoever sends many sends the rest
again later; what comes behind a refused frame before that is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volant.errors import ResourceExhaustedError
from volant.wire import values
from volant.wire.faults import error_fault
from volant.wire.frames import REPLY, control

if TYPE_CHECKING:
    from volantd.hub.hub import Hub
    from volantd.hub.records import Call, Function, Held
    from volantd.hub.session import Session

#: Unfinished inputs of one function beyond which no more are taken.
PENDING_INPUTS_MAX = 1_000_000
#: Bytes of spawned inputs that wait, of all functions together; files in memory not counted.
PENDING_BYTES_MAX = 1 << 30


class Backlog:
    """The spawned inputs that wait."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.bytes = 0

    def held_by(self, held: Held) -> HeldHere:
        """Counts inputs here, beside where they are counted for who sent them."""
        return HeldHere(self, held)

    def refuses(
        self, session: Session, number: int, call: Call | None, function: Function | None,
        first: int, count: int, size: int,
    ) -> bool:  # fmt: skip
        """Whether inputs are not taken; who sent them is told, once.

        Args:
            session: who sent them.
            number: under which number.
            call: what they belong to, None with the first ones.
            function: of that call.
            first: index of the first of them.
            count: how many there are.
            size: bytes of them.
        """
        if call is not None and call.kept.is_refused and first > call.inputs:
            return True
        error = None if function is None or not count else self._problem(function, count, size)
        if error is None:
            if call is not None:
                call.kept.is_refused = False
            return False
        if call is not None:
            call.kept.is_refused = True
        reply = {"id": number, "fault": error_fault(error), "from": first}
        session.peer.write(control(REPLY, values.encode(reply)))
        return True

    def _problem(self, function: Function, count: int, size: int) -> ResourceExhaustedError | None:
        pool = self._hub.scheduler.state.pools.get(function.function_id)
        pending = 0
        if pool is not None:
            pending = pool.queued_inputs + pool.running_inputs + pool.delayed_inputs
        if pending + count > PENDING_INPUTS_MAX:
            return ResourceExhaustedError(
                f"{pending} inputs of `{function.name}` have not finished, "
                f"at most {PENDING_INPUTS_MAX} may be spawned",
                hint="spawn more when some have finished, or raise its max_containers",
            )
        if self.bytes + size > PENDING_BYTES_MAX:
            return ResourceExhaustedError(
                f"spawned inputs of {self.bytes} bytes wait, at most {PENDING_BYTES_MAX} may",
                hint="spawn more when some have begun, or pass large data by its name",
            )
        return None


class HeldHere:
    """Counts inputs twice: for who sent them, and for all."""

    __slots__ = ("_backlog", "_held")

    def __init__(self, backlog: Backlog, held: Held) -> None:
        self._backlog = backlog
        self._held = held

    def add(self, size: int, *, fd: bool) -> None:
        """Take inputs in."""
        self._backlog.bytes += size
        self._held.add(size, fd=fd)

    def drop(self, size: int, *, fd: bool) -> None:
        """Let inputs go."""
        self._backlog.bytes -= size
        self._held.drop(size, fd=fd)
