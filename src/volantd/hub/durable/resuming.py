"""Calls that the last daemon left unfinished, taken up again.

deployed apps ──────► at once, in the version that is served
detached apps ──────► opened again from what was kept of them
apps with a client ─► when it has come back and described its app again, or given up
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import DataLossError, Error, NotFoundError
from volant.wire import frames, values
from volant.wire.faults import platform_fault
from volantd.core.records.intervals import IndexRanges
from volantd.hub.deployed import described
from volantd.hub.durable.contents import file_of
from volantd.hub.pools import variants
from volantd.hub.records import Call, Held, InputItems
from volantd.images.kept.books import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.blobs.files import BlobFiles
    from volantd.hub.durable.backlog import HeldHere
    from volantd.hub.hub import Hub
    from volantd.hub.records import App, Function
    from volantd.store.calls import CallRow, Items

log = logging.getLogger(__name__)

#: How long a client may take to come back after the daemon has died.
RETURN_S = 30.0
#: How long after it was made a call may be sent again by who has not heard that it was kept.
RESUBMIT_S = 3600.0


class StoredItems(InputItems):
    """Inputs of the database; the file that came along is made anew when they are run."""

    __slots__ = ("_contents", "_digest")

    def __init__(self, items: Items, contents: BlobFiles, held: HeldHere) -> None:
        super().__init__(items.section, items.count, None, held)
        self._contents = contents
        self._digest = items.digest

    def open(self) -> int | None:
        """See `InputItems`."""
        if self.fd is None and self._digest is not None:
            self.fd = file_of(self._contents, self._digest)
        return self.fd


class Unfinished:
    """The unfinished calls of the last daemon.

    Attributes:
        opened: done once calls may come in: what was there before is known.
        recent: ids of calls that are finished, and may be sent again nevertheless.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.opened: asyncio.Future[None] = hub.loop.create_future()
        self.recent: frozenset[str] = frozenset()
        #: Calls of apps that are not there, by the id of the app.
        self._waiting: dict[str, list[CallRow]] = {}
        #: Who asks about such a call, told when it is known what becomes of it.
        self._asking: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)

    async def open(self) -> None:
        """Take up what can be; to be called once, when deployed apps are open."""
        services = self._hub.services
        try:
            if services.database.exists:
                await self._open()
        finally:
            self.opened.set_result(None)
            self._hub.timetable.look()
        if self._waiting:
            self._hub.loop.call_later(RETURN_S, self._give_up)

    async def _open(self) -> None:
        from volantd.store import calls as store

        database = self._hub.services.database
        rows = await database.run(store.pending)
        since = wall_clock() - RESUBMIT_S
        recent = await database.run(lambda connection: store.ids_since(connection, since))
        self.recent = frozenset(recent) - {row.call_id for row in rows}
        by_app: defaultdict[str, list[CallRow]] = defaultdict(list)
        for row in rows:
            by_app[row.app_id].append(row)
        for app_id, of_app in by_app.items():
            app = self._hub.apps.get(app_id) or await self._reopened(app_id)
            if app is None:
                self._waiting[app_id] = of_app
            else:
                await self._resume_all(app, of_app)

    async def _reopened(self, app_id: str) -> App | None:
        """A detached app, opened without its client."""
        from volantd.store import calls as store

        kept = await self._hub.services.database.run(
            lambda connection: store.app_of(connection, app_id)
        )
        if kept is None or not kept.detached:
            return None
        try:
            raw = self._hub.services.database.sealer.open(
                store.place_of_app(app_id), kept.description
            )
            environment = self._hub.environments.of_app(kept.environment)
            app = described.opened(self._hub.services.blobs, raw, environment, app_id, 0)
        except (ValueError, KeyError, Error):
            log.exception("kept_app_unusable", extra={"fields": {"app": kept.name}})
            return None
        app.state, app.created_at = "detached", kept.created_at
        self._hub.open_app(app)
        return app

    async def _resume_all(self, app: App, rows: list[CallRow]) -> None:
        for row in rows:
            try:
                await self._resume(app, row)
            except Error as error:
                await self._end(row, platform_fault(type(error).__name__, error.message))
        self._hub.loop.call_soon(self._hub.close_unused, app)

    async def _resume(self, app: App, row: CallRow) -> None:
        from volantd.store import calls as store

        hub, database = self._hub, self._hub.services.database
        if row.pinned and app.version != row.version:
            deployments = hub.services.deployments
            app = await deployments.version(deployments.find(app.app_id), row.version)
        function, method = meant(hub, app, row, {})
        inputs = await database.run(lambda one: store.inputs_of(one, row.call_id))
        results = await database.run(lambda one: store.ranges_of_results(one, row.call_id))
        if row.call_id in hub.calls:
            return  # its client was faster
        call = Call(
            row.call_id, ids.split_call_id(row.call_id)[1], function, None,
            method=method, retain=True, stream=False, single=False, origin=row.origin,
        )  # fmt: skip
        call.kept.begun = True
        call.inputs = row.inputs if row.closed else _end_of(inputs)
        call.closed = bool(row.closed)
        if row.origin:
            hub.timetable.adopt(row.origin, call)
        hub.take_call(call)
        for first, count, faults in results:
            call.kept.results.add(first, count)
            call.kept.written.add(first, count)
            call.kept.faults += faults
            hub.scheduler.skip(call.call_id, first, count)
        now, held = monotonic(), hub.durable.backlog.held_by(Held(None))
        for items in inputs:
            stored = StoredItems(items, hub.services.contents, held)
            hub.apply(
                hub.scheduler.submit(call.call_id, items.first, items.count, stored, now), now
            )
        if call.closed:
            hub.apply(hub.scheduler.close_call(call.call_id, call.inputs, now), now)
        else:
            hub.loop.call_later(RETURN_S, self._cancel_unclosed, call)
        hub.after_events()
        self._tell(row.call_id)

    def _cancel_unclosed(self, call: Call) -> None:
        """Give up a call of which not all inputs came, and whose client is not coming back."""
        if not call.closed and call.session is None and not call.finished:
            self._hub.cancel_call(call)

    # -- apps whose client was there

    def returned(self, app: App) -> None:
        """Go on with the calls of an app that its client has described again."""
        rows = self._waiting.pop(app.app_id, None)
        if rows:
            self._hub.services.tasks.start(self._resume_all(app, rows), "resume-calls")

    def is_waiting(self, call_id: str) -> bool:
        """Whether it is not known yet what becomes of a call."""
        return any(row.call_id == call_id for rows in self._waiting.values() for row in rows)

    def ask(self, call_id: str, then: Callable[[], object]) -> None:
        """Have `then` called when it is known what becomes of a call that waits."""
        self._asking[call_id].append(then)

    def _give_up(self) -> None:
        given_up, self._waiting = self._waiting, {}
        fault = platform_fault("InputCancellation", "the client that ran its app did not come back")
        for rows in given_up.values():
            for row in rows:
                self._hub.services.tasks.start(self._end(row, fault), "end-call")

    async def _end(self, row: CallRow, fault: bytes) -> None:
        """End a call that cannot be gone on with."""
        from volantd.store import calls as store

        database = self._hub.services.database
        inputs = await database.run(lambda one: store.inputs_of(one, row.call_id))
        results = await database.run(lambda one: store.ranges_of_results(one, row.call_id))
        total = row.inputs if row.closed else _end_of(inputs)
        rows: list[tuple[Any, dict[str, Any]]] = []
        faults = sum(of_range for _, _, of_range in results)
        for first, count in _missing(results, total):
            for at, size, section in frames.repeated(first, count, frames.FAULT, fault):
                faults += size
                rows.append((store.ADD_RESULTS, {
                    "call_id": row.call_id, "first": at, "count": size, "digest": None,
                    "section": section, "faults": size, "container_id": "",
                }))  # fmt: skip
        rows.append((store.FINISH_CALL, {
            "call_id": row.call_id, "inputs": total, "closed": 1, "state": "cancelled",
            "faults": faults, "finished_at": wall_clock(), "made": None,
        }))  # fmt: skip
        await self._hub.services.journal.written(rows)
        self._tell(row.call_id)

    def _tell(self, call_id: str) -> None:
        for then in self._asking.pop(call_id, ()):
            then()


def _end_of(inputs: list[Items]) -> int:
    return max((items.first + items.count for items in inputs), default=0)


def _missing(results: list[tuple[int, int, int]], total: int) -> list[tuple[int, int]]:
    known = IndexRanges()
    for first, count, _ in results:
        known.add(first, count)
    return known.missing(total)


def variant_of(hub: Hub, row: CallRow) -> dict[str, Any] | None:
    """What makes the pool of a call another than that of its function, None for nothing.

    Raises:
        DataLossError: when that cannot be read.
    """
    from volantd.store import calls as store

    if row.variant is None:
        return None
    sealer, place = hub.services.database.sealer, store.place_of_variant(row.call_id)
    try:
        told: dict[str, Any] = values.decode_map(sealer.open(place, row.variant))
    except ValueError as error:
        raise DataLossError(f"the options of call fc-{row.call_id} cannot be read") from error
    return told


def meant(hub: Hub, app: App, row: CallRow, but: dict[str, Any]) -> tuple[Function, int]:
    """The pool and the method that a call is for.

    Args:
        hub: the hub.
        app: the app that it runs in.
        row: the call.
        but: options of the pool that are other ones now, where it is not the function's own.

    Raises:
        NotFoundError: when the app has no such function any more.
    """
    function = app.functions.get(row.function)
    names = [] if function is None else [one["name"] for one in function.spec["methods"]]
    if (
        function is None
        or (row.method is not None) != bool(names)
        or (row.method is not None and row.method not in names)
    ):
        name = row.function if row.method is None else f"{row.function}.{row.method}"
        raise NotFoundError(f"app {app.name!r} has no `{name}` since version {app.version}")
    method = 0 if row.method is None else names.index(row.method)
    variant = variant_of(hub, row)
    if variant is not None:
        function = variants.found_or_made(
            hub, function, {**variant["changes"], **but}, variant["parameters"]
        )
    return function, method
