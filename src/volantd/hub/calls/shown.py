"""The requests by which people look at durable calls: lists, one call, what it printed.

For clients only: they show calls of all apps, and nothing that is pickled is looked into.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.wire import frames
from volant.wire.faults import text_of_fault
from volantd.hub import checks
from volantd.hub.durable.requests import answered, asks_again, id_of, look_up
from volantd.hub.pools.printed import Wanted, printed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from volantd.hub.hub import Hub
    from volantd.hub.session import Session
    from volantd.store.calls import CallRow, Counted

#: Calls of one answer.
CALLS_SHOWN_MAX = 10_000
#: Failed inputs of a call whose faults are shown.
FAULTS_SHOWN_MAX = 5
#: What a call can be; expired ones are not listed.
STATES = ("pending", "success", "failure", "cancelled")


def call_list(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """The latest durable calls, the latest first; of one app or in one state where that is asked.

    Raises:
        InvalidError: for a state that no call can have.
    """
    app = None if message["app"] is None else checks.text(message, "app")
    state = None if message["state"] is None else checks.text(message, "state")
    count = checks.whole(message, "count", 0, CALLS_SHOWN_MAX)
    if state is not None and state not in STATES:
        raise InvalidError(f"no call is {state[:20]!r}", hint="they are " + ", ".join(STATES))
    if not session.hub.services.database.exists:
        return {"calls": []}
    if asks_again(session, message, ""):
        return None
    place = session.hub.environments.of(session, None).environment_id
    work = _list(session, message["id"], place, app, state, count)
    session.hub.services.tasks.start(answered(session, message["id"], work), "list-calls")
    return None


async def _list(
    session: Session, number: int, place: str, app: str | None, state: str | None, count: int
) -> None:
    from volantd.store import calls as store

    def find(connection: Connection) -> list[dict[str, Any]]:
        found = store.listed(connection, count=count, app=app, state=state, environment=place)
        return rows_of(connection, found)

    rows = await session.hub.services.database.look(find)
    _answer(session, number, {"calls": [_now(session.hub, row) for row in rows]})


def call_show(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """One durable call: how it stands, its first faults, and the calls that its inputs made."""
    call_id = id_of(message)

    async def answer(found: CallRow) -> None:
        from volantd.store import calls as store

        def look(connection: Connection) -> dict[str, Any]:
            counted = store.results_counted(connection, [call_id]).get(call_id)
            children = store.made_by(connection, [call_id], CALLS_SHOWN_MAX)
            return {
                "call": _row(found, counted), "results": _results(counted),
                "faults": _faults(connection, call_id), "calls": rows_of(connection, children),
            }  # fmt: skip

        shown = await session.hub.services.database.look(look)
        shown["call"] = _now(session.hub, shown["call"])
        shown["calls"] = [_now(session.hub, row) for row in shown["calls"]]
        _answer(session, message["id"], shown)

    if not asks_again(session, message, ""):
        look_up(session, message, call_id, answer, even_expired=True)
    return None


def call_logs(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """What containers printed while they ran inputs of a durable call."""
    call_id = id_of(message)
    wanted = Wanted.of(message, "", part=f"fc-{call_id}")

    async def answer(found: CallRow) -> None:
        if message.get("follow"):
            session.hub.services.logs.follow(session, app_id=found.app_id, wanted=wanted.part)
        call = session.hub.calls.get(call_id)
        reply = printed(
            session, message, replace(wanted, app_id=found.app_id), call_id=wanted.part,
            goes_on=call is not None and not call.finished,
        )  # fmt: skip
        if reply is not None:
            _answer(session, message["id"], reply)

    if not asks_again(session, message, ""):
        look_up(session, message, call_id, answer, even_expired=True)
    return None


def _answer(session: Session, number: int, fields: dict[str, Any]) -> None:
    if not session.peer.closed:
        session.reply(number, fields)


def rows_of(connection: Connection, found: Sequence[CallRow]) -> list[dict[str, Any]]:
    """Calls as they are shown, as far as the database knows."""
    from volantd.store import calls as store

    counted = store.results_counted(connection, [row.call_id for row in found])
    return [_row(row, counted.get(row.call_id)) for row in found]


def _row(row: CallRow, counted: Counted | None) -> dict[str, Any]:
    function = row.function if row.method is None else f"{row.function}.{row.method}"
    return {
        "call_id": f"fc-{row.call_id}", "app_id": row.app_id, "app": row.app,
        "function": function, "version": row.version, "state": row.state, "inputs": row.inputs,
        "done": 0 if counted is None else counted.results, "failed": row.faults
        if counted is None else counted.faults,
        "origin": row.origin,
        "parent": None if row.parent is None else f"fc-{row.parent}",
        "parent_index": row.parent_index,
        "created_at": row.created_at, "finished_at": row.finished_at,
    }  # fmt: skip


def _now(hub: Hub, row: dict[str, Any]) -> dict[str, Any]:
    """A call as it is shown, with what is in memory alone while it runs."""
    call = hub.calls.get(row["call_id"].removeprefix("fc-"))
    if call is None or not call.retain or row["state"] != "pending":
        return row
    kept = call.kept
    return {**row, "inputs": call.inputs, "done": len(kept.results), "failed": kept.faults}


def _results(counted: Counted | None) -> dict[str, int]:
    """How many results of each kind there are, and their bytes without those of files."""
    if counted is None:
        return {"values": 0, "faults": 0, "files": 0, "bytes": 0}
    values = counted.results - counted.faults
    return {
        "values": values, "faults": counted.faults, "files": counted.files, "bytes": counted.size,
    }  # fmt: skip


def _faults(connection: Connection, call_id: str) -> list[dict[str, Any]]:
    """The first faults of a call as text."""
    from volantd.store import calls as store

    shown: list[dict[str, Any]] = []
    for items in store.faults_of(connection, call_id, FAULTS_SHOWN_MAX):
        pairs = frames.split_items(items.section, items.count)
        for index, (kind, payload) in enumerate(pairs, items.first):
            if kind == frames.FAULT and len(shown) < FAULTS_SHOWN_MAX:
                shown.append({"index": index, "text": text_of_fault(payload)})
    return shown


HANDLERS = (call_list, call_show, call_logs)
