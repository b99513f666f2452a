"""The registry of named objects: which there are, what they are called, when each ends.

    object_get, object_create ─► name taken in memory ─► row on the disk ─► answered
    object_delete ─► gone from memory ─► row removed ─► answered ─► what its kind kept is purged

An object without a name ends with the session of its client. One that a dead daemon left waits
`ORPHAN_GRACE_S` for its client to come back. What is written for clients goes through `change`,
which answers when it is on the disk, and makes it once however often it is sent.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import (
    AlreadyExistsError,
    Error,
    InvalidError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
)
from volant.wire.faults import error_fault
from volantd.hub import checks
from volantd.hub.objects.kinds import NamedObject, ObjectKind
from volantd.hub.objects.reads import Reads, write_error
from volantd.hub.objects.tickets import Tickets
from volantd.images.kept.books import wall_clock
from volantd.store.journal import Kind
from volantd.store.records import ObjectRow

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from volantd.hub.environments.record import Environment
    from volantd.hub.hub import Hub
    from volantd.hub.session import Session
    from volantd.store.database import Database
    from volantd.store.journal import Journal, Rows

    Done = Callable[[Error | None], object]

log = logging.getLogger(__name__)

#: Digits of the second in which an object was made: those that a `datetime` has.
CLOCK_DIGITS = 6
#: All objects, and those of one client that end with it.
OBJECTS_MAX = 100_000
OWNED_MAX = 1000
#: How long objects without a name that a dead daemon left wait for their client.
ORPHAN_GRACE_S = 60.0
#: Rows that are purged in one transaction, between which others write.
PURGE_ROWS = 2000


def _remove(connection: Connection, object_ids: list[str]) -> None:
    from volantd.store import objects as store

    store.remove(connection, object_ids)


def _add(connection: Connection, rows: list[NamedObject]) -> None:
    from volantd.store import objects as store

    store.add(connection, [
        ObjectRow(
            object_id=one.object_id, kind=one.kind, environment=one.environment.environment_id,
            name=one.name, created_at=one.created_at, created_by=one.created_by,
            options=one.options,
        )
        for one in rows
    ])  # fmt: skip


def _rename(connection: Connection, rows: list[tuple[str, str]]) -> None:
    from volantd.store import objects as store

    store.rename(connection, rows)


REMOVE, ADD, RENAME = Kind(10, _remove), Kind(11, _add), Kind(11, _rename)


class Objects:
    """All named objects.

    Attributes:
        kinds: those that are registered, by name.
        opened: done once what the last daemon kept is known.
    """

    def __init__(
        self, hub: Hub, database: Database, journal: Journal, *, home: str, reserve_bytes: int
    ) -> None:
        """`reserve_bytes`: of the disk that `home` is on, that are left to others."""
        self._hub = hub
        self._home = home
        self._reserve_bytes = reserve_bytes
        self.database = database
        self.journal = journal
        self.kinds: dict[str, ObjectKind] = {}
        self.tickets = Tickets(database, journal, hub.loop)
        self.reads = Reads(hub, database)
        self._by_id: dict[str, NamedObject] = {}
        self._by_name: dict[tuple[Environment, str, str], NamedObject] = {}
        #: Those that end with a session.
        self._owned: dict[Session, dict[str, NamedObject]] = {}
        self.opened: asyncio.Future[None] = hub.loop.create_future()

    def register(self, kind: ObjectKind) -> None:
        """Have a kind of objects."""
        self.kinds[kind.name] = kind

    # -- the start

    async def open(self) -> None:
        """Learn what was kept; to be called once, before anybody is answered."""
        while True:
            try:
                if self.database.exists:
                    await self._open()
            except ServiceError as error:  # the database is away: whoever asks is told
                waiting, self.opened = self.opened, self._hub.loop.create_future()
                _refuse(waiting, error)
                await self.database.usable()
            except Exception as error:  # a broken database must not end the daemon
                log.exception("objects_unusable")
                _refuse(self.opened, write_error(error))
                return
            else:
                self.opened.set_result(None)
                return

    async def _open(self) -> None:
        from volantd.store import objects as store

        await self._hub.environments.read()
        for row in await self.database.run(store.load):
            found = NamedObject(
                object_id=row.object_id, kind=row.kind, name=row.name,
                environment=self._hub.environments.by_id[row.environment],
                created_at=row.created_at, created_by=row.created_by, options=row.options,
                is_kept=True,
            )  # fmt: skip
            self._by_id[row.object_id] = found
            if row.name is not None:
                self._by_name[found.environment, row.kind, row.name] = found
        await self.tickets.open()
        self._hub.loop.call_later(ORPHAN_GRACE_S, self._end_orphans)
        for kind in self.kinds.values():
            if kind.opening is not None:
                await kind.opening()
            for table in kind.tables:
                left = await self.database.run(partial(store.ownerless, table_name=table))
                for object_id in left:
                    self._hub.services.tasks.start(self._purge(kind, object_id), "purge-object")

    def _end_orphans(self) -> None:
        for found in list(self._by_id.values()):
            if found.name is None and found.owner is None:
                self.remove(found)

    def is_open(self, session: Session, message: dict[str, Any]) -> bool:
        """Whether requests can be answered; if not, this one is asked again when they can be.

        Raises:
            Error: when they never will be.
        """
        if not self.opened.done():
            session.ask_after(self.opened, message)
            return False
        self.opened.result()
        return True

    # -- looking

    def find(self, kind: str, object_id: str) -> NamedObject:
        """The object of a kind with an id.

        Raises:
            NotFoundError: when there is none.
        """
        found = self._by_id.get(object_id)
        if found is None or found.kind != kind:
            raise NotFoundError(
                f"there is no {kind} {object_id[: checks.SOUGHT_CHARS_MAX]!r}",
                hint=f"it was deleted, or was never there; `volant {kind} list` shows all",
            )
        return found

    def named(self, kind: str, environment: Environment, name: str) -> NamedObject | None:
        """The object of a kind with a name, None if there is none."""
        return self._by_name.get((environment, kind, name))

    def names(self, kind: str, environment: Environment) -> list[str]:
        """The names of all objects of a kind."""
        return [
            name for place, of, name in self._by_name if place is environment and of == kind
        ]  # fmt: skip

    def ids(self, kind: str) -> list[str]:
        """The ids of all objects of a kind, also of those without a name."""
        return [one.object_id for one in self._by_id.values() if one.kind == kind]

    def all(self, kind: str, environment: Environment) -> list[NamedObject]:
        """The objects of a kind that have names, the newest first."""
        found = [
            one for one in self._by_id.values()
            if one.kind == kind and one.environment is environment and one.name is not None
        ]  # fmt: skip
        return sorted(found, key=lambda one: one.created_at)[::-1]  # also of one moment

    def within(self, environment: Environment) -> list[NamedObject]:
        """All objects of an environment, also those without a name."""
        return [one for one in self._by_id.values() if one.environment is environment]

    # -- making

    def create(
        self, kind: ObjectKind, environment: Environment, name: str | None, *, object_id: str = "",
        created_by: str, owner: Session | None = None, options: bytes = b"", rows: Rows = (),
    ) -> NamedObject:  # fmt: skip
        """Make an object; it is in the books at once, and `is_kept` when it is on the disk.

        Args:
            object_id: that the client has chosen; a fresh one by default.
            owner: of one without a name.
            rows: what its kind writes along with it.

        Raises:
            AlreadyExistsError: when there is another of that name or id.
            ResourceExhaustedError: when there are too many.
        """
        object_id = object_id or ids.new_id(kind.prefix)
        taken = name is not None and (environment, kind.name, name) in self._by_name
        if taken or object_id in self._by_id:
            raise AlreadyExistsError(
                f"there is a {kind.name} {name or object_id!r} already",
                hint="choose another name, or say `allow_existing=True`",
            )
        owned = len(self._owned.get(owner, ())) if owner is not None else 0
        if len(self._by_id) >= OBJECTS_MAX or owned >= OWNED_MAX:
            raise ResourceExhaustedError(
                f"there are {len(self._by_id)} objects, {owned} of them this client's own, "
                f"at most {OBJECTS_MAX} and {OWNED_MAX}",
                hint=f"`volant {kind.name} delete` removes one",
            )
        made = NamedObject(
            object_id=object_id, kind=kind.name, environment=environment, name=name,
            created_at=round(wall_clock(), CLOCK_DIGITS), created_by=created_by, options=options,
        )  # fmt: skip
        self._by_id[object_id] = made
        if name is not None:
            self._by_name[environment, kind.name, name] = made
        if owner is not None:
            self.own(made, owner)
        self.journal.write([(ADD, made), *rows], lambda error: self._kept(made, error))
        return made

    def own(self, found: NamedObject, owner: Session) -> None:
        """Have an object end with a session."""
        found.owner = owner
        self._owned.setdefault(owner, {})[found.object_id] = found

    def _kept(self, made: NamedObject, error: Exception | None) -> None:
        made.is_kept = error is None
        failure = None if error is None else write_error(error)
        if failure is not None:
            self._drop(made)
        waiting, made.waiting = made.waiting, []
        for say in waiting:
            say(failure)

    def rename(self, found: NamedObject, name: str, done: Done) -> None:
        """Give an object another name.

        Args:
            done: told when it is on the disk, or why it is not.

        Raises:
            AlreadyExistsError: when another one has it.
            InvalidError: for an object without a name.
        """
        if found.name is None:
            raise InvalidError(f"{found.object_id} has no name")
        there = self._by_name.get((found.environment, found.kind, name))
        if there is not None and there is not found:
            raise AlreadyExistsError(f"there is a {found.kind} {name!r} already")
        self._by_name.pop((found.environment, found.kind, found.name))
        found.name = name
        self._by_name[found.environment, found.kind, name] = found
        rows = [(RENAME, (found.object_id, name))]
        self.journal.write(rows, lambda error: done(None if error is None else write_error(error)))

    # -- ending

    def remove(self, found: NamedObject, done: Done | None = None) -> None:
        """End an object; nobody finds it from now on.

        Args:
            done: told when it is gone from the disk, or why it is not.
        """
        if not found.is_kept:  # its row is about to be written, and has to be there first
            found.waiting.append(lambda error: self._remove_kept(found, error, done))
            return
        self._remove_kept(found, None, done)

    def _remove_kept(self, found: NamedObject, error: Error | None, done: Done | None) -> None:
        if error is not None or self._by_id.get(found.object_id) is not found:
            if done is not None:
                done(None)  # it is not there, which is what was wanted
            return
        self._drop(found)
        kind = self.kinds[found.kind]

        def removed(error: Exception | None) -> None:
            if error is None:
                self._hub.services.tasks.start(self._purge(kind, found.object_id), "purge-object")
            else:  # the next daemon will find it again
                log.error("object_not_removed", extra={"fields": {"error": str(error)}})
            if done is not None:
                done(None if error is None else write_error(error))

        self.journal.write([(REMOVE, found.object_id)], removed)
        kind.ended(found)

    def _drop(self, found: NamedObject) -> None:
        """Take it out of the books."""
        self._by_id.pop(found.object_id, None)
        if found.name is not None:
            self._by_name.pop((found.environment, found.kind, found.name), None)
        if found.owner is not None:
            self._owned.get(found.owner, {}).pop(found.object_id, None)

    async def _purge(self, kind: ObjectKind, object_id: str) -> None:
        from volantd.store import objects as store

        if kind.leaving is not None:
            await kind.leaving(object_id)
        for table in kind.tables:
            removed = PURGE_ROWS
            while removed == PURGE_ROWS:
                removed = await self.database.run(
                    partial(store.purge, table_name=table, object_id=object_id, rows_max=PURGE_ROWS)
                )

    def session_closed(self, session: Session) -> None:
        """End what was to end with a session."""
        self.reads.forget(session)
        self.tickets.session_closed(session)
        owned = self._owned.pop(session, {})
        if self._hub.services.stopping.is_set():
            return  # the next daemon sees to them, unless their client comes back
        for found in owned.values():
            found.owner = None
            self.remove(found)

    # -- changing

    def check_room(self) -> None:
        """Refuse to take more than the disk has room for.

        Raises:
            ResourceExhaustedError: when only the reserve is left.
        """
        found = os.statvfs(self._home)
        if found.f_bavail * found.f_frsize < self._reserve_bytes:
            raise ResourceExhaustedError(
                "the disk of the daemon's home is full but for its reserve",
                hint="free some of it, or lower the setting `disk_reserve_mib`",
            )

    def change(
        self, session: Session, message: dict[str, Any], rows: Sequence[tuple[Kind, Any]],
        answer: dict[str, Any], *, size: int = 0,
        settled: Callable[[Exception | None], object] = lambda _: None,
    ) -> None:  # fmt: skip
        """Write what a request asks for, and answer it when that is on the disk.

        Args:
            answer: the fields of the reply; whoever writes the rows may fill them in.
            size: bytes that are held until then.
            settled: called first, with None or why nothing was changed.
        """
        number = message["id"]
        session.held.add(size, fd=False)
        ticket = self.tickets.begin(session, message)
        noted = self.tickets.rows(message, ticket, answer)

        def done(error: Exception | None) -> None:
            session.held.drop(size, fd=False)
            settled(error)
            fault = None if error is None else error_fault(write_error(error))
            for asker, asked in [(session, number), *self.tickets.end(ticket, answer, error)]:
                if fault is None:
                    asker.reply(asked, answer)
                else:
                    asker.refuse(asked, fault)

        self.journal.write([*rows, *noted], done)


def _refuse(waiting: asyncio.Future[None], error: Error) -> None:
    waiting.set_exception(error)
    waiting.exception()  # whoever asks gets it
