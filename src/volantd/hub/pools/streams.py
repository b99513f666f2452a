"""Streams: clients that wait for what is printed next, each with one question at a time.

A question is answered by the first entry that it is about, by the end of what it is about, or after
its time; whoever asked then asks from there on. So a client that does not read what comes holds
nothing here but its place in a log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volant.errors import ResourceExhaustedError
from volantd.hub.pools.printed import is_meant

if TYPE_CHECKING:
    import asyncio

    from volantd.hub.hub import Hub
    from volantd.hub.pools.printed import Wanted
    from volantd.hub.session import Session

#: Questions of one session that wait.
WAITING_MAX = 1000


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting:
    """A question that waits."""

    session: Session
    number: int
    wanted: Wanted
    #: fields of an answer without entries
    fields: dict[str, Any]
    timer: asyncio.TimerHandle


class Streams:
    """All questions that wait for what is printed next."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        #: app id -> those that wait for it
        self._waiting: dict[str, list[Waiting]] = {}
        self._counts: dict[Session, int] = {}

    def wait(
        self, session: Session, number: int, wanted: Wanted, fields: dict[str, Any], wait_s: float
    ) -> None:
        """Answer a question later.

        Raises:
            ResourceExhaustedError: when its session waits for too much.
        """
        count = self._counts.get(session, 0)
        if count >= WAITING_MAX:
            raise ResourceExhaustedError(
                f"{count} streams of logs of one client wait, which is the most"
            )
        self._counts[session] = count + 1
        timer = self._hub.loop.call_later(wait_s, self._timed_out, wanted.app_id, number, session)
        self._waiting.setdefault(wanted.app_id, []).append(Waiting(
            session=session, number=number, wanted=wanted, fields=fields, timer=timer
        ))  # fmt: skip

    def came(self, entry: dict[str, Any], data: bytes) -> None:
        """Something was printed; what is queued for clients is sent by whoever tells of it."""
        for one in list(self._waiting.get(entry["app_id"], ())):
            if is_meant(one.wanted.part, entry) and one.wanted.has(entry):
                self._answer(one, entries=[{**entry, "data": data}], last=entry["time"])

    def ended(self, app_id: str, part: str = "") -> None:
        """Nothing more comes of an app, or of one call in it."""
        for one in list(self._waiting.get(app_id, ())):
            if part in ("", one.wanted.part):
                self._answer(one, ended=True)

    def cancel(self, session: Session, number: int) -> None:
        """Forget a question whose answer nobody waits for."""
        for one in self._of(session):
            if one.number == number:
                self._forget(one)

    def session_closed(self, session: Session) -> None:
        """Forget what a client has asked."""
        for one in self._of(session):
            self._forget(one)

    def _of(self, session: Session) -> list[Waiting]:
        if session not in self._counts:
            return []
        return [one for line in self._waiting.values() for one in line if one.session is session]

    def _timed_out(self, app_id: str, number: int, session: Session) -> None:
        for one in list(self._waiting.get(app_id, ())):
            if one.session is session and one.number == number:
                self._answer(one)
        self._hub.after_events()

    def _answer(self, one: Waiting, **fields: object) -> None:
        self._forget(one)
        answer = {"entries": [], "ended": False, **one.fields, **fields}
        one.session.reply(one.number, answer)

    def _forget(self, one: Waiting) -> None:
        one.timer.cancel()
        line = self._waiting[one.wanted.app_id]
        line.remove(one)
        if not line:
            del self._waiting[one.wanted.app_id]
        self._counts[one.session] -= 1
        if not self._counts[one.session]:
            del self._counts[one.session]
