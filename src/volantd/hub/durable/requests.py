"""The requests about spawned calls: their results, how many inputs they have, cancelling them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import (
    Error,
    InvalidError,
    NotFoundError,
    OutputExpiredError,
    PermissionDeniedError,
)
from volant.wire.faults import error_fault
from volantd.hub import checks
from volantd.hub.retained import no_such_index

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volantd.hub.records import Call
    from volantd.hub.session import Session
    from volantd.store.calls import CallRow

#: Characters of an id in a message that are looked at.
ID_CHARS_MAX = 64
_SHARED_STATES = ("deployed", "pinned")


def call_get(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Answer with the result of one input of a call, now or when it is there."""
    call_id, index = id_of(message), checks.whole(message, "index", low=-(1 << 63))
    wait = checks.switch(message, "wait")
    call = _in_memory(session, call_id)
    if call is not None:
        known = call.closed or call.finished
        if index < 0 or (known and index >= call.inputs):
            raise InvalidError(f"the call has {call.inputs} inputs, there is no index {index}")
        session.answer_later(message["id"], call, index, wait=wait)
        return None
    if asks_again(session, message, call_id) and wait:
        return None

    async def answer(row: CallRow) -> None:
        if row.state == "pending":
            session.hub.retained.say_pending(session, message["id"])
        elif not 0 <= index < row.inputs:
            session.refuse(message["id"], no_such_index(row.inputs, index))
        else:
            session.hub.durable.fetch(session, message["id"], call_id, index)

    look_up(session, message, call_id, answer)
    return None


def call_inputs(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """How many inputs a call has."""
    call_id = id_of(message)
    call = _in_memory(session, call_id)
    if call is not None:
        return {"value": call.inputs}

    async def answer(row: CallRow) -> None:
        session.reply(message["id"], {"value": row.inputs})

    if not asks_again(session, message, call_id):
        look_up(session, message, call_id, answer)
    return None


def call_cancel(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Cancel what has not finished of a call."""
    call_id = id_of(message)
    call = _in_memory(session, call_id)
    if call is not None:
        was_finished = call.finished
        session.hub.cancel_call(call, terminate=bool(message.get("terminate")))
        return {"cancelled": not was_finished}

    async def answer(row: CallRow) -> None:
        session.reply(message["id"], {"cancelled": False})  # it has finished

    if not asks_again(session, message, call_id):
        look_up(session, message, call_id, answer)
    return None


def id_of(message: dict[str, Any]) -> str:
    """The id of the call that a request is about, without `fc-`."""
    return checks.text(message, "call").removeprefix("fc-")[:ID_CHARS_MAX]


def _in_memory(session: Session, call_id: str) -> Call | None:
    """A spawned call that runs, or has lately.

    Raises:
        InvalidError: for one whose results are not kept.
        PermissionDeniedError: for one that is not the business of a container.
    """
    call = session.hub.calls.get(call_id)
    if call is None:
        return None
    if not call.retain:
        raise InvalidError(f"the results of fc-{call_id} are not kept: it was not spawned")
    app = call.function.app
    _check_allowed(session, call_id, app.app_id, is_shared=app.state in _SHARED_STATES)
    return call


def _check_allowed(session: Session, call_id: str, app_id: str, *, is_shared: bool) -> None:
    if session.container_app is None or is_shared:
        return
    if app_id != session.container_app.app_id and app_id not in session.apps:
        raise PermissionDeniedError(f"fc-{call_id} belongs to another app")


def asks_again(session: Session, message: dict[str, Any], call_id: str) -> bool:
    """Have a request handled again when it is known what becomes of a call, if it is not now."""
    unfinished = session.hub.unfinished
    if not unfinished.opened.done():
        session.ask_after(unfinished.opened, message)
        return True
    if unfinished.is_waiting(call_id):
        unfinished.ask(call_id, lambda: session.ask_again(message))
        return True
    return False


def look_up(
    session: Session, message: dict[str, Any], call_id: str,
    answer: Callable[[CallRow], Awaitable[None]], *, even_expired: bool = False,
) -> None:  # fmt: skip
    """Answer by what the database has of a call.

    Args:
        session: who asks.
        message: what it asks.
        call_id: about which call.
        answer: called with what there is; not for a call that this session may not see.
        even_expired: whether a call will do whose results are kept no more.

    Raises:
        NotFoundError: when there is no database.
    """
    services = session.hub.services
    if not services.database.exists:
        raise unknown(call_id)
    work = _looked_up(session, message, call_id, answer, even_expired=even_expired)
    services.tasks.start(answered(session, message["id"], work), "look-up-call")


async def answered(session: Session, number: int, work: Awaitable[None]) -> None:
    """Do what ends in an answer to a request; an error of the database is one too."""
    try:
        await work
    except Error as error:
        if not session.peer.closed:
            session.refuse(number, error_fault(error))


async def _looked_up(
    session: Session, message: dict[str, Any], call_id: str,
    answer: Callable[[CallRow], Awaitable[None]], *, even_expired: bool,
) -> None:  # fmt: skip
    from volantd.store import calls as store

    hub = session.hub
    row = await hub.services.database.look(lambda connection: store.find(connection, call_id))
    if session.peer.closed:
        return
    if row is None:
        raise unknown(call_id)
    if row.state == "expired" and not even_expired:
        raise OutputExpiredError(f"the results of fc-{call_id} are kept no more")
    app = hub.apps.get(row.app_id)
    is_shared = app is not None and app.state in _SHARED_STATES
    _check_allowed(session, call_id, row.app_id, is_shared=is_shared)
    await answer(row)


def unknown(call_id: str) -> NotFoundError:
    """The error for who names a call that there is not."""
    return NotFoundError(f"there is no call fc-{call_id}", hint="`volant call list` shows all")


SHARED_HANDLERS = (call_get, call_inputs, call_cancel)
