"""Calls that are kept: `spawn`, `spawn_map`, runs of schedules.

    inputs ──► core, at once                          results ──► written ──► who waits
       └─────► written ──► acknowledged                              end ──► written

A call runs while it is being written, but nobody hears of it before: an acknowledgement means
that the call is there after a power cut, and a result that somebody has seen is the one that stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import Error, OutputExpiredError
from volant.wire import frames, values
from volant.wire.faults import error_fault
from volantd.hub.durable.apps import KeptApps
from volantd.hub.durable.backlog import Backlog
from volantd.hub.durable.contents import ContentLostError, file_of
from volantd.hub.durable.faults import error_of
from volantd.images.kept.books import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.durable.kept import Kept
    from volantd.hub.hub import Hub
    from volantd.hub.records import Call
    from volantd.hub.session import Session
    from volantd.store.calls import Items
    from volantd.store.journal import Kind

    Row = tuple[Kind, dict[str, Any]]

log = logging.getLogger(__name__)

#: Between two attempts to write a result, when the database cannot be written to.
RETRY_S = 1.0


class DurableCalls:
    """Writes durable calls, and acknowledges what is written."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.apps = KeptApps(hub)
        self.backlog = Backlog(hub)
        #: Calls that stay as they are: the daemon ends, and the next one goes on with them.
        self._parked: set[str] = set()

    # -- inputs

    def accept(
        self, call: Call, first: int, count: int, section: bytes, fd: int | None,
        *, closes: tuple[Session, int] | None,
    ) -> None:  # fmt: skip
        """Write inputs that the core has, and their call with the first.

        Args:
            call: a durable call.
            first: index of the first input.
            count: how many there are.
            section: the inputs as they came.
            fd: the memory file that came along; stays the caller's.
            closes: with the last inputs, who is told when all are written, and by which number.
        """
        from volantd.store import calls as store

        kept = call.kept
        rows: list[Row] = []
        if closes is not None:
            call.closed = True
            kept.acknowledge = closes
        if not kept.begun:
            kept.begun = True
            app_row = self.apps.row_of(call.function.app)
            if app_row is not None:
                rows.append((store.ADD_APP, app_row))
            rows.append((store.ADD_CALL, self._row(call)))
        elif closes is not None:
            row = {"call_id": call.call_id, "inputs": call.inputs, "closed": 1}
            rows.append((store.CLOSE_CALL, row))
        kept.unwritten += 1

        def done(error: Exception | None) -> None:
            kept.unwritten -= 1
            if error is not None and kept.problem is None:
                kept.problem = error_of(error)
            self._acknowledge(call)

        if closes is not None and self.apps.when_lasting(call.function.app, done):
            kept.unwritten += 1
        if count:
            items = {
                "call_id": call.call_id, "first": first, "count": count, "section": section,
                "digest": None,
            }  # fmt: skip
            rows.append((store.ADD_INPUTS, items))
            if fd is not None:
                self._start(self._with_file(rows, items, os.dup(fd), done), "keep-input")
                return
        self._hub.services.journal.write(rows, done)

    async def write_whole(self, call: Call, inputs: list[Items]) -> None:
        """Write a call with all its inputs, whose contents are there.

        Raises:
            Error: when it cannot be written; it is forgotten then.
        """
        from volantd.store import calls as store

        app_row = self.apps.row_of(call.function.app)
        rows: list[Row] = [] if app_row is None else [(store.ADD_APP, app_row)]
        rows.append((store.ADD_CALL, self._row(call)))
        for items in inputs:
            row = {name: getattr(items, name) for name in ("first", "count", "section", "digest")}
            rows.append((store.ADD_INPUTS, {"call_id": call.call_id, **row}))
        try:
            await self._hub.services.journal.written(rows)
        except Exception as error:  # whatever the database has met
            self._hub.drop_call(call)
            raise error_of(error) from error

    async def _with_file(
        self, rows: list[Row], items: dict[str, Any], fd: int,
        done: Callable[[Exception | None], object],
    ) -> None:  # fmt: skip
        """Write rows of which one names the content of a memory file, after that."""
        contents = self._hub.services.contents
        try:
            items["digest"] = await asyncio.to_thread(contents.put_file, fd)
        except OSError as error:
            done(error)
            return
        finally:
            os.close(fd)
        self._hub.services.journal.write(rows, done)

    def _start(self, work: Any, name: str) -> None:
        self._hub.services.tasks.start(work, name)

    def _row(self, call: Call) -> dict[str, Any]:
        from volantd.store import calls as store

        function = call.function
        methods = function.spec["methods"]
        session = call.session
        parent = None if session is None else session.parent_of(call.number)
        variant, sealer = function.described_variant(), self._hub.services.database.sealer
        place = store.place_of_variant(call.call_id)
        return {
            "call_id": call.call_id, "app_id": function.app.app_id, "app": function.app.name,
            "version": function.app.version, "pinned": int(function.app.state == "pinned"),
            "function": function.name,
            "method": methods[call.method]["name"] if methods else None,
            "variant": None if variant is None else sealer.later(place, variant),
            "origin": call.kept.origin,
            "parent": None if parent is None else parent[0],
            "parent_index": None if parent is None else parent[1],
            "inputs": call.inputs, "closed": int(call.closed), "state": "pending", "faults": 0,
            "created_at": wall_clock(), "finished_at": None, "made": None,
        }  # fmt: skip

    def _acknowledge(self, call: Call) -> None:
        kept = call.kept
        if kept.acknowledge is None or kept.unwritten:
            return
        told, kept.acknowledge, kept.also = [kept.acknowledge, *kept.also], None, []
        for session, number in told:
            if session.peer.closed:
                continue
            if kept.problem is None:
                session.reply(number, _told(call, session, number))
            else:
                session.refuse(number, error_fault(kept.problem))
        if kept.problem is not None:
            log.error("call_not_kept", extra={"fields": {"call": call.call_id}})
            self._hub.drop_call(call)

    def acknowledge_too(self, call: Call, session: Session, number: int) -> None:
        """Tell somebody else who has spawned a call by its key that it is kept, when it is."""
        if call.kept.acknowledge is None:
            session.reply(number, _told(call, session, number))
        else:
            call.kept.also.append((session, number))

    # -- results

    def keep(
        self, call: Call, first: int, count: int, section: bytes, fd: int | None,
        container_id: str = "",
    ) -> None:  # fmt: skip
        """Write results; takes the descriptor over. An input that has a result keeps that one.

        Args:
            call: a durable call.
            first: index of the first of them.
            count: how many there are.
            section: the results as they came.
            fd: the memory file that came along.
            container_id: where they come from; empty for what the daemon says.
        """
        fresh = call.kept.results.add(first, count)
        if call.call_id in self._parked or not fresh:
            if fd is not None:
                os.close(fd)
            return
        if fresh != [(first, count)]:
            items = frames.split_items(section, count)
            for at, size in fresh:
                piece = items[at - first : at - first + size]
                own = fd if at == first else None
                self._keep(call, at, size, frames.items_section(piece), own, container_id)
            if fd is not None and fresh[0][0] != first:
                os.close(fd)
            return
        self._keep(call, first, count, section, fd, container_id)

    def _keep(
        self, call: Call, first: int, count: int, section: bytes, fd: int | None, container_id: str
    ) -> None:
        from volantd.store import calls as store

        kept = call.kept
        kept.unwritten_results += 1
        faults = frames.count_of(section, count, frames.FAULT)
        kept.faults += faults
        row: dict[str, Any] = {
            "call_id": call.call_id, "first": first, "count": count, "section": section,
            "digest": None, "faults": faults, "container_id": container_id,
        }  # fmt: skip

        def done() -> None:
            kept.unwritten_results -= 1
            kept.written.add(first, count)
            self._hub.retained.keep(call, first, count, section, fd)
            self._settle(call)

        self._insist(call, store.ADD_RESULTS, row, done, fd)

    def _insist(
        self, call: Call, kind: Kind, row: dict[str, Any], then: Callable[[], None],
        fd: int | None = None,
    ) -> None:  # fmt: skip
        """Write a row until it is written: what has run must not be lost."""

        def done(error: Exception | None) -> None:
            if error is None or call.kept.problem is not None:
                then()  # with a problem the call itself is not kept
            else:
                log.error("result_not_written", extra={"fields": {"error": str(error)}})
                self._hub.loop.call_later(RETRY_S, self._insist, call, kind, row, then, fd)

        if fd is not None and row["digest"] is None:
            self._start(self._with_file([(kind, row)], row, os.dup(fd), done), "keep-result")
        else:
            self._hub.services.journal.write([(kind, row)], done)

    # -- the end

    def fail_rest(self, call: Call, fault: bytes) -> None:
        """Give every input without a result this fault."""
        for first, count in call.kept.results.missing(call.inputs):
            for at, size, section in frames.repeated(first, count, frames.FAULT, fault):
                self.keep(call, at, size, section, None)

    def finish(self, call: Call, *, cancelled: bool) -> None:
        """Note that all results of a call are known."""
        call.kept.ended = "cancelled" if cancelled else "finished"
        self._hub.streams.ended(call.function.app.app_id, f"fc-{call.call_id}")
        self._settle(call)

    def _settle(self, call: Call) -> None:
        """Write the end of a call, once all before it is written."""
        kept = call.kept
        if not kept.ended or kept.unwritten_results or call.call_id in self._parked:
            return
        from volantd.store import calls as store

        state = kept.ended
        if state == "finished":
            state = "failure" if kept.faults else "success"
        row = {
            "call_id": call.call_id, "inputs": call.inputs, "closed": 1, "state": state,
            "faults": kept.faults, "finished_at": wall_clock(), "made": _made(kept),
        }  # fmt: skip
        kept.made = []

        def done() -> None:
            kept.is_settled = True
            self._hub.retained.settle(call)
            if call.on_end is not None:
                call.on_end(call)

        kept.ended = ""  # once
        self._insist(call, store.FINISH_CALL, row, done)

    def park(self, call: Call) -> None:
        """Leave a call as it is for the daemon that follows."""
        self._parked.add(call.call_id)

    # -- looking

    def fetch(self, session: Session, number: int, call_id: str, index: int) -> None:
        """Send a result that is in the database to a session that asked for it."""
        self._start(self._fetch(session, number, call_id, index), "fetch-result")

    async def _fetch(self, session: Session, number: int, call_id: str, index: int) -> None:
        from volantd.store import calls as store

        services = self._hub.services
        try:
            found = await services.database.look(
                lambda connection: store.result_at(connection, call_id, index)
            )
            if session.peer.closed:
                return
            if found is None:
                row = await services.database.look(lambda one: store.find(one, call_id))
                if row is None or row.state != "pending":  # it has just become too old
                    raise OutputExpiredError(f"the results of fc-{call_id} are kept no more")
                self._hub.retained.say_pending(session, number)
                return
            kind, payload = frames.split_items(found.section, found.count)[index - found.first]
            fd = None
            if found.digest is not None and index == found.first:
                fd = await asyncio.to_thread(file_of, services.contents, found.digest)
        except (Error, OSError, ContentLostError) as error:
            session.refuse(number, error_fault(error_of(error)))
            return
        try:
            if not session.peer.closed:
                self._hub.retained.send(session, number, index, kind, payload, fd)
        finally:
            if fd is not None:
                os.close(fd)


def _made(kept: Kept) -> bytes | None:
    return values.encode({"calls": [one.row() for one in kept.made]}) if kept.made else None


def _told(call: Call, session: Session, number: int) -> dict[str, Any]:
    """What who spawned a call is told: its id, if it does not follow from the number."""
    known = ids.call_id(session.session_id, number)
    return {} if call.call_id == known else {"call": f"fc-{call.call_id}"}
