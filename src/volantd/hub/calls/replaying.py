"""Runs a call again that has ended: its code, image and inputs as they were, as a new call.

    call_replay ──► what is kept of it ──► an app of its own, opened as it was described
                                            └► a new durable call, whose origin says what it is

The app serves nothing else: its schedules rest, and it does not answer to the web. It ends with
the client, or if that does not stay, with its call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import Error, InvalidError, NotFoundError
from volant.wire import frames, values
from volant.wire.faults import error_fault
from volantd.hub import checks
from volantd.hub.deployed import described
from volantd.hub.durable.requests import asks_again, id_of, look_up
from volantd.hub.durable.resuming import StoredItems, meant
from volantd.hub.records import DEBUG_WAYS, Call, Held

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from volantd.hub.environments.record import Environment
    from volantd.hub.hub import Hub
    from volantd.hub.records import App
    from volantd.hub.session import Session
    from volantd.store.calls import CallRow, Items

#: How the origin of a call begins that runs another one again; the id of that follows.
ORIGIN = "replay:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a call shall be run again."""

    #: of many inputs, the one that is run; None for all
    index: int | None
    #: whether it goes on without its client
    detach: bool
    #: one of `DEBUG_WAYS`, empty for none
    debug: str


def call_replay(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Run a call again that has ended; answered when the new one is kept.

    Raises:
        InvalidError: for a way of debugging that there is not, or without a terminal for it.
    """
    call_id = id_of(message)
    index = None if message["index"] is None else checks.whole(message, "index")
    debug, detach = checks.text(message, "debug"), checks.switch(message, "detach")
    if debug not in ("", *DEBUG_WAYS):
        raise InvalidError(f"there is no way {debug[:20]!r} to debug a call")
    if debug and (detach or session.desk is None):
        raise InvalidError("a call is debugged on the terminal of a client that stays")
    if asks_again(session, message, ""):
        return None

    async def answer(found: CallRow) -> None:
        number = message["id"]
        try:
            wish = Wish(index=index, detach=detach, debug=debug)
            call = await _Replay(session, found, wish).begin(
                ids.call_id(session.session_id, number)
            )
        except Error as error:
            session.refuse(number, error_fault(error))
            return
        told = {"call_id": f"fc-{call.call_id}", "app_id": call.function.app.app_id}
        session.reply(number, {**told, "inputs": call.inputs})

    look_up(session, message, call_id, answer)
    return None


class _Replay:
    """One call that is run again."""

    def __init__(self, session: Session, row: CallRow, wish: Wish) -> None:
        self._session = session
        self._hub: Hub = session.hub
        self._row = row
        self._wish = wish

    async def begin(self, call_id: str) -> Call:
        """Begin the new call.

        Raises:
            InvalidError: for a call that has not ended, or an input that it does not have.
            NotFoundError: when something is kept no more that it needs.
        """
        row, hub = self._row, self._hub
        known = hub.calls.get(call_id)
        if known is not None:
            return known  # it was asked for twice
        if row.state == "pending":
            raise InvalidError(
                f"fc-{row.call_id} has not finished", hint="`volant call logs --follow` shows it"
            )
        raw, inputs, environment_id = await hub.services.database.run(self._read)
        if raw is None:
            raise NotFoundError(
                f"app {row.app!r} is not kept as it was when fc-{row.call_id} was made",
                hint="calls of deployed apps, and of apps whose sources were kept, run again",
            )
        inputs = self._chosen(inputs)
        app = self._opened(raw, hub.environments.of_app(environment_id), inputs)
        function, method = meant(hub, app, row, self._changes())
        call = Call(
            call_id, ids.split_call_id(call_id)[1], function, None,
            method=method, retain=True, stream=False, single=False,
            origin=f"{ORIGIN}fc-{row.call_id}",
        )  # fmt: skip
        call.inputs = max((items.first + items.count for items in inputs), default=0)
        call.closed = call.kept.begun = True
        hub.take_call(call)
        await hub.durable.write_whole(call, inputs)
        now, held = monotonic(), hub.durable.backlog.held_by(Held(None))
        for items in inputs:
            stored = StoredItems(items, hub.services.contents, held)
            hub.apply(hub.scheduler.submit(call_id, items.first, items.count, stored, now), now)
        hub.apply(hub.scheduler.close_call(call_id, call.inputs, now), now)
        return call

    def _read(self, connection: Connection) -> tuple[bytes | None, list[Items], str | None]:
        from volantd.store import calls as store, objects

        row = self._row
        found = store.description_of(connection, row.app_id, row.version)
        raw = None if found is None else self._hub.services.database.sealer.open(*found)
        environment_id = objects.environment_of_app(connection, row.app_id)
        return raw, store.inputs_of(connection, row.call_id), environment_id

    def _chosen(self, inputs: list[Items]) -> list[Items]:
        """The inputs that are run."""
        index = self._wish.index
        if index is None:
            return inputs
        for items in inputs:
            at = index - items.first
            if 0 <= at < items.count:
                pair = frames.split_items(items.section, items.count)[at]
                digest = items.digest if at == 0 else None
                section = frames.items_section([pair])
                return [replace(items, first=0, count=1, section=section, digest=digest)]
        raise InvalidError(f"the call has {self._row.inputs} inputs, there is no index {index}")

    def _changes(self) -> dict[str, Any]:
        """Options in which the function differs from what it was."""
        if not self._wish.debug:
            return {}
        return {"max_inputs": 1, "target_inputs": None, "max_containers": 1}

    def _opened(self, raw: bytes, environment: Environment, inputs: list[Items]) -> App:
        """The app as it was described, with what it is made of.

        Raises:
            NotFoundError: when sources or inputs are kept no more.
        """
        row, wish, hub = self._row, self._wish, self._hub
        kept: dict[str, Any] = values.decode_map(raw)
        named = {*described.sizes_of(kept), *(one.digest for one in inputs if one.digest)}
        lost = [digest for digest in named if not hub.services.contents.has(digest)]
        if lost and (lost := [one for one in lost if hub.services.blobs.missing([one])]):
            raise NotFoundError(
                f"{len(lost)} files that fc-{row.call_id} needs are not kept",
                hint="sources are kept of deployed apps, and of others once they have come whole",
            )
        blobs = hub.services.blobs
        app = described.opened(blobs, raw, environment, ids.new_id("ap"), row.version)
        app.description, app.replays = kept, f"fc-{row.call_id}"
        app.detach, app.state = wish.detach, "detached" if wish.detach else "ephemeral"
        app.name = row.app
        if not wish.detach:
            app.session, app.output = self._session, True
            app.interactive, app.debug = bool(wish.debug), wish.debug
            self._session.apps[app.app_id] = app
        for function in app.functions.values():
            function.options = {**function.options, "min_containers": 0, "buffer_containers": 0}
            if wish.debug:
                retries = {**function.options["retries"], "max_retries": 0}
                function.options["retries"] = retries
                if not function.options["batch_size"]:
                    function.options.update(self._changes())
        hub.open_app(app)
        return app


HANDLERS = (call_replay,)
