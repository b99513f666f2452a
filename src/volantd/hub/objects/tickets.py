"""Tickets: what makes a change that is sent twice be made once, across a restart of the daemon.

A client sends again what it has no answer to. So it marks each change with a ticket: an id that it
keeps for as long as it lives, a line, and a number. On one line it makes one change after the
other, so of each line only the last one can come again; its answer is kept beside what it changed,
in the same transaction. That takes as many rows as a client has changes under way at once.

Connections of containers are not made again: what they send comes once, and needs no ticket.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import ConflictError
from volant.wire import values
from volant.wire.faults import error_fault
from volantd.hub import checks
from volantd.hub.objects.reads import write_error
from volantd.images.kept.books import wall_clock
from volantd.store.journal import Kind
from volantd.store.records import TicketRow

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from volantd.hub.session import Session
    from volantd.store.database import Database
    from volantd.store.journal import Journal

log = logging.getLogger(__name__)

#: Changes that a client may have under way at once.
LINES_MAX = 10_000
#: How long a client may be away and still be told how its last changes were answered.
KEPT_S = 86400.0
#: How often those that are older are forgotten.
FORGET_EVERY_S = 3600.0


def _note(connection: Connection, rows: list[TicketRow]) -> None:
    from volantd.store import objects as store

    store.note_tickets(connection, rows)


def _forget(connection: Connection, before: float) -> None:
    from volantd.store import objects as store

    store.forget_tickets(connection, before)


@dataclass(slots=True, eq=False)
class _Kept:
    """What the database has of a client."""

    client: str
    rows: list[tuple[int, int, bytes]] = field(default_factory=list)


def _look(connection: Connection, asked: list[_Kept]) -> None:
    from volantd.store import objects as store

    for kept in asked:
        kept.rows = store.tickets_of(connection, kept.client)


#: Written when what they stand for is, whatever that is.
NOTE = Kind(90, _note)
#: Behind all that is being written, so that no change is missed that is under way.
_LOOK = Kind(91, _look)


def _log_failure(done: Future[None]) -> None:
    if (error := done.exception()) is not None:  # they are forgotten an hour later
        log.warning("tickets_not_forgotten", extra={"fields": {"error": str(error)}})


class Made:
    """The last change on one line of a client."""

    __slots__ = ("answer", "number", "waiting")

    def __init__(self, number: int, answer: dict[str, Any] | None = None) -> None:
        self.number = number
        #: None while it is being made.
        self.answer = answer
        #: Who has sent it again meanwhile.
        self.waiting: list[tuple[Session, int]] = []


class Tickets:
    """The last changes of all clients that are connected."""

    def __init__(
        self, database: Database, journal: Journal, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._database = database
        self._journal = journal
        self._loop = loop
        #: client -> line -> change
        self._lines: dict[str, dict[int, Made]] = {}
        self._clients: dict[Session, str] = {}
        #: Connections of a client.
        self._present: dict[str, int] = {}
        #: Changes that are being made, by client.
        self._under_way: dict[str, int] = {}
        #: Whether an earlier daemon may have left some.
        self._may_be_kept = False

    async def open(self) -> None:
        """Begin to look for what an earlier daemon left."""
        self._may_be_kept = True
        self._forget()

    def _forget(self) -> None:
        before = wall_clock() - KEPT_S
        future = self._database.submit(lambda connection: _forget(connection, before))
        future.add_done_callback(_log_failure)
        self._loop.call_later(FORGET_EVERY_S, self._forget)

    def admit(self, session: Session, message: dict[str, Any]) -> bool:
        """Whether a request is to be carried out; if not, it was, and is answered as then.

        Raises:
            ConflictError: for what its client has followed by something else already.
        """
        if session.container_app is not None:
            return True
        client, line, number = _checked(message)
        lines = self._lines.get(client)
        if lines is None:
            if self._may_be_kept:
                self._look_up(client, session, message)
                return False
            lines = self._lines[client] = {}
        if session not in self._clients:
            self._clients[session] = client
            self._present[client] = self._present.get(client, 0) + 1
        made = lines.get(line)
        if made is None or made.number < number:
            return True
        if made.number > number:
            raise ConflictError("a change was sent again after its client has made another")
        if made.answer is None:
            made.waiting.append((session, message["id"]))
        else:
            session.reply(message["id"], made.answer)
        return False

    def _look_up(self, client: str, session: Session, message: dict[str, Any]) -> None:
        kept = _Kept(client)

        def told(error: Exception | None) -> None:
            if error is not None:
                session.refuse(message["id"], error_fault(write_error(error)))
                return
            self._lines.setdefault(client, {
                line: Made(number, values.decode_map(answer)) for line, number, answer in kept.rows
            })  # fmt: skip
            session.ask_again(message)

        self._journal.write([(_LOOK, kept)], told)

    def begin(self, session: Session, message: dict[str, Any]) -> tuple[str, Made] | None:
        """Note that a change, which was admitted, is under way; None for a container's."""
        if session.container_app is not None:
            return None
        client, line, number = _checked(message)
        made = Made(number)
        if client in self._lines:  # else it is away, and whoever comes back looks up what was kept
            self._lines[client][line] = made
        self._under_way[client] = self._under_way.get(client, 0) + 1
        return client, made

    def rows(
        self, message: dict[str, Any], ticket: tuple[str, Made] | None, answer: dict[str, Any]
    ) -> list[tuple[Kind, TicketRow]]:
        """What is written beside a change."""
        if ticket is None:
            return []
        client, line, number = _checked(message)
        row = TicketRow(
            client=client, line=line, number=number, made_at=wall_clock(),
            answer=lambda: values.encode(answer),
        )  # fmt: skip
        return [(NOTE, row)]

    def end(
        self, ticket: tuple[str, Made] | None, answer: dict[str, Any], error: Exception | None
    ) -> list[tuple[Session, int]]:
        """Note that a change has been made, or failed; who has sent it again meanwhile."""
        if ticket is None:
            return []
        client, made = ticket
        self._under_way[client] -= 1
        if error is None:
            made.answer = dict(answer)
        else:
            lines = self._lines.get(client, {})
            for line in [line for line, one in lines.items() if one is made]:
                del lines[line]  # nothing was changed: it may be sent again
        waiting, made.waiting = made.waiting, []
        self._forget_client(client)
        return waiting

    def session_closed(self, session: Session) -> None:
        """Forget what is on the disk as well."""
        client = self._clients.pop(session, None)
        if client is not None:
            self._may_be_kept = True
            self._present[client] -= 1
            self._forget_client(client)

    def _forget_client(self, client: str) -> None:
        if not self._present.get(client) and not self._under_way.get(client):
            for known in (self._lines, self._under_way, self._present):
                known.pop(client, None)


def _checked(message: dict[str, Any]) -> tuple[str, int, int]:
    ticket = dict(
        zip(("client", "line", "number"), checks.sequence(message, "ticket"), strict=True)
    )
    client = checks.text(ticket, "client")
    ids.check_session(client)
    return client, checks.whole(ticket, "line", 0, LINES_MAX), checks.whole(ticket, "number", 1)
