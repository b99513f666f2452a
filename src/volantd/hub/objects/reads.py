"""What is read from the database for clients: off the event loop, and no more than they take.

request ─► its session's line ─► reading thread ─► reply
              ▲ goes on when the session has read what it was sent
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from volant.errors import Error, ResourceExhaustedError, ServiceError
from volant.wire.faults import error_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from volantd.hub.hub import Hub
    from volantd.hub.session import Session
    from volantd.store.database import Database

    Work = Callable[[Connection], Any]
    Made = Callable[[Any], dict[str, Any]]

T = TypeVar("T")

#: Of one session: answers that are made at once, and requests that wait for their turn.
AT_ONCE_MAX = 8
WAITING_MAX = 10_000
#: Bytes queued for a session, beyond which further answers wait.
QUEUED_BYTES_MAX = 16 << 20


class _Line:
    """The requests of one session."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[tuple[int, Work, Made]] = deque()


class Reads:
    """All that is being read."""

    def __init__(self, hub: Hub, database: Database) -> None:
        self._hub = hub
        self._database = database
        self._lines: dict[Session, _Line] = {}

    def ask(
        self, session: Session, number: int, work: Callable[[Connection], T],
        made: Callable[[T], dict[str, Any]],
    ) -> None:  # fmt: skip
        """Read something, and answer a request with what is made of it.

        Args:
            work: runs on the thread that reads; may raise an `Error` to refuse.
            made: what was read, on the event loop; gives the fields of the reply, and may refuse.

        Raises:
            ResourceExhaustedError: when the session has asked for too much ahead.
        """
        line = self._lines.setdefault(session, _Line())
        if len(line.waiting) >= WAITING_MAX:
            raise ResourceExhaustedError(
                f"{WAITING_MAX} requests of one client wait to be answered, which is the most"
            )
        line.waiting.append((number, work, made))
        self._go_on(session, line)

    def on_drained(self, session: Session) -> None:
        """Go on for a session that has read what it was sent."""
        line = self._lines.get(session)
        if line is not None:
            self._go_on(session, line)

    def forget(self, session: Session) -> None:
        """Answer a session no more."""
        self._lines.pop(session, None)

    def _go_on(self, session: Session, line: _Line) -> None:
        has_room = session.peer.queued_bytes < QUEUED_BYTES_MAX
        while line.waiting and line.running < AT_ONCE_MAX and has_room:
            number, work, made = line.waiting.popleft()
            line.running += 1
            self._begin(session, line, number, work, made)

    def _begin(self, session: Session, line: _Line, number: int, work: Work, made: Made) -> None:
        def done(result: Any, error: BaseException | None) -> None:
            line.running -= 1
            if session.peer.closed:
                return
            try:
                if error is not None:
                    raise error
                session.reply(number, made(result))
            except Error as refusal:
                session.refuse(number, error_fault(refusal))
            except Exception as failure:  # noqa: BLE001  # of the database: it is told
                session.refuse(number, error_fault(write_error(failure)))
            self._go_on(session, line)
            self._hub.after_events()

        future = self._database.read(work)
        future.add_done_callback(
            lambda ended: self._hub.loop.call_soon_threadsafe(
                done, None if ended.exception() else ended.result(), ended.exception()
            )
        )


def write_error(error: Exception) -> Error:
    """What a client is told when the database could not be written or read."""
    if isinstance(error, Error):
        return error
    return ServiceError(
        f"the database cannot be used: {getattr(error, 'orig', error)}",
        hint="`volant server logs` has the details",
    )
