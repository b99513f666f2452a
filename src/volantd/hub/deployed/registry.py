"""The apps that are deployed: kept in the database, served by the hub, one version at a time.

    staged app ──prepare──► contents and version kept ──► replaces the version that is served
                   └ a failure up to here changes nothing

A version is kept before it is served, so that what was answered survives a kill. Whoever asks
before all apps of the last daemon are open again waits.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace as changed
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import (
    DataLossError,
    Error,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    ServiceError,
)
from volant.wire import values
from volantd.hub import checks
from volantd.hub.deployed import described, inside
from volantd.hub.deployed.keeping import Keeping
from volantd.hub.deployed.replacing import is_settled, replace
from volantd.hub.deployed.trying import try_out
from volantd.hub.records import App
from volantd.images.kept.books import wall_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import TypeAlias

    from volantd.blobs.files import BlobFiles
    from volantd.hub.blobs import BlobCache
    from volantd.hub.environments.record import Environment
    from volantd.hub.hub import Hub
    from volantd.store.database import Database
    from volantd.store.deployments import VersionRow

    #: An environment, and the name of an app in it.
    Place: TypeAlias = tuple[Environment, str]

log = logging.getLogger(__name__)

#: How long a deployment waits for the first container of the new version in each pool.
SETTLE_S = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a client says of a new version."""

    name: str
    strategy: str
    tag: str = ""
    deployed_by: str = ""
    commit_id: str | None = None
    branch: str | None = None
    dirty: bool | None = None

    @property
    def at_once(self) -> bool:
        """Whether old containers are stopped, whatever they run."""
        return self.strategy == "recreate"


class Deployed:
    """One app that is deployed, beside the `App` that serves it."""

    def __init__(
        self, app: App, served: VersionRow, fingerprint: str, function_ids: Mapping[str, str]
    ) -> None:
        self.app = app
        self.served = served
        #: of the description of the version that is served
        self.fingerprint = fingerprint
        self.function_ids = dict(function_ids)
        #: Earlier versions that are called by their number.
        self.pinned: dict[int, App] = {}


class Deployments:
    """All deployed apps.

    Attributes:
        opened: done once those of the last daemon are served again, or cannot be.
        keeping: what they have on the disk.
    """

    def __init__(self, hub: Hub, database: Database, contents: BlobFiles, blobs: BlobCache) -> None:
        self._hub, self._blobs = hub, blobs
        self._database = database
        self.keeping = Keeping(database, contents, blobs)
        #: Who changes an app waits for whoever does already; and how many there are.
        self._turns: dict[Place, tuple[asyncio.Lock, int]] = {}
        self._by_name: dict[Place, Deployed] = {}
        self.opened: asyncio.Future[None] = hub.loop.create_future()

    async def open(self) -> None:
        """Serve what was deployed; to be called once, when images can be looked up."""
        while True:
            try:
                if self._database.exists:
                    await self._open()
            except ServiceError as error:  # the database is away: whoever asks is told
                waiting, self.opened = self.opened, self._hub.loop.create_future()
                self._refuse(waiting, error)
                await self._database.usable()
            except Exception as error:  # a broken database must not end the daemon
                log.exception("deployments_unusable")
                known = error if isinstance(error, Error) else InvalidError(
                    f"deployed apps cannot be read: {getattr(error, 'orig', error)}",
                    hint="`volant server logs` has the details",
                )  # fmt: skip
                self._refuse(self.opened, known)
                return
            else:
                self.opened.set_result(None)
                break
        if self._database.exists:
            await self.keeping.look_through()
        else:
            self.keeping.read.set_result(None)

    @staticmethod
    def _refuse(waiting: asyncio.Future[None], error: Error) -> None:
        waiting.set_exception(error)
        waiting.exception()  # whoever asks gets it

    async def ready(self) -> None:
        """Return when what was deployed is served.

        Raises:
            Error: when it cannot be read, or not yet.
        """
        if not self.opened.done() and self._database.trouble is not None:
            trouble = self._database.trouble
            raise type(trouble)(trouble.message, hint=trouble.hint)
        await asyncio.shield(self.opened)

    @property
    def is_expected(self) -> bool:
        """Whether more is about to be served than is."""
        return not self.opened.done() and self._database.trouble is None

    async def _open(self) -> None:
        from volantd.store import deployments as store

        await self._hub.services.standings.open()
        await self._hub.environments.read()
        sealer = self._database.sealer
        for row in await self._database.run(store.deployed):
            place = store.place_of_description(row.app_id, row.served.version)
            try:
                raw = sealer.open(place, row.description)
                environment = self._hub.environments.of_app(row.environment)
                app = described.opened(
                    self._blobs, raw, environment, row.app_id, row.served.version
                )
            except (DataLossError, PermissionDeniedError):  # of the key: it is the same for all
                raise
            except (ValueError, KeyError, Error):
                log.exception("deployment_unusable", extra={"fields": {"app": row.name}})
                continue
            app.name, app.created_at = row.name, row.created_at
            app.deployed_at = row.served.deployed_at
            deployed = Deployed(app, row.served, described.fingerprint_of(raw), row.function_ids)
            self._take_ids(deployed, app, row.function_ids)
            self._by_name[environment, row.name] = deployed
            self._hub.open_app(app)

    @staticmethod
    def _take_ids(deployed: Deployed, app: App, known: Mapping[str, str]) -> None:
        """Give the functions of an app that has no pools yet the ids that they had before."""
        for name, function in app.functions.items():
            if name in known:
                function.function_id = function.object_id = known[name]
            deployed.function_ids[name] = function.object_id

    # -- looking

    def all(self) -> list[Deployed]:
        """All of them."""
        return list(self._by_name.values())

    def find(self, wanted: str, environment: Environment | None = None) -> Deployed:
        """The one with an id, or with a name in an environment.

        Raises:
            NotFoundError: when there is none.
        """
        found = None if environment is None else self._by_name.get((environment, wanted))
        for one in self._by_name.values():
            if one.app.app_id == wanted:
                found = one
        if found is None:
            raise checks.not_found("app", wanted, self._names(environment))
        return found

    def _names(self, environment: Environment | None) -> list[str]:
        return [name for place, name in self._by_name if place is environment]

    async def version(self, deployed: Deployed, version: int) -> App:
        """The app as it was in a version; one that is not served has pools of its own.

        Raises:
            NotFoundError: when that version is not kept.
        """
        if version == deployed.app.version:
            return deployed.app
        found = deployed.pinned.get(version)
        if found is None:
            raw = await self._description(deployed, version)
            found = deployed.pinned.get(version)  # somebody else was faster, meanwhile
            if found is None:
                key = f"{deployed.app.app_id}/{version}"
                found = self._opened(deployed.app, raw, version, key)
                found.name, found.state = deployed.app.name, "pinned"
                for function in found.functions.values():
                    # What is kept ready is kept for the version that is served.
                    function.options = {**function.options, "min_containers": 0}
                    known = deployed.function_ids.get(function.name, function.object_id)
                    function.object_id = known
                deployed.pinned[version] = found
                self._hub.open_app(found)
        return found

    def _opened(self, app: App, raw: bytes, version: int, key: str) -> App:
        return described.opened(self._blobs, raw, app.environment, app.app_id, version, key)

    async def _description(self, deployed: Deployed, version: int) -> bytes:
        from volantd.store import deployments as store

        app_id = deployed.app.app_id
        sealed = await self._database.run(
            lambda connection: store.description_of(connection, app_id, version)
        )
        if sealed is None:
            raise NotFoundError(
                f"app {deployed.app.name!r} has no version {version}",
                hint=f"`volant app history {deployed.app.name}` shows those that are kept",
            )
        return self._database.sealer.open(store.place_of_description(app_id, version), sealed)

    async def history(self, wanted: str, environment: Environment) -> list[VersionRow]:
        """The versions of an app, by id or name, the latest first; also of one that was stopped.

        Raises:
            NotFoundError: when there never was such an app.
        """
        from volantd.store import deployments as store

        found = self._by_name.get((environment, wanted))
        app_id = found.app.app_id if found is not None else None
        if app_id is None and self._database.exists:
            place = environment.environment_id
            app_id = await self._database.run(
                lambda connection: store.stopped(connection, wanted, place)
            )
        key = app_id or wanted
        rows = []
        if self._database.exists:
            rows = await self._database.run(lambda connection: store.history(connection, key))
        if not rows:
            raise checks.not_found("app", wanted, self._names(environment))
        return rows

    # -- changing

    async def deploy(self, staged: App, description: dict[str, Any], wish: Wish) -> dict[str, Any]:
        """Serve an app that was described and whose images are built.

        Raises:
            FaultError: with what importing the program raised.
            NotFoundError: when its client, or its environment, is gone before the version is kept.
            PermissionDeniedError: when a container may not deploy that.
            ResourceExhaustedError: when there is no room for it; in all of these nothing is
                changed.
        """
        async with self._turn((staged.environment, wish.name)):
            current = self._by_name.get((staged.environment, wish.name))
            kept = described.kept(description, wish.name, staged.sponsor)
            print_ = described.fingerprint(kept)
            if current is not None and _is_no_news(current, print_, wish):
                return {**self._told(current), "changed": False}
            raw = values.encode(kept)
            if staged.sponsor:
                await self._check_inside(staged, wish.name, kept, len(raw))
            await try_out(self._hub, staged)
            await self.keeping.put(kept, wish.name)
            if staged.state != "staged" or staged.environment.is_ending:
                raise NotFoundError("its client is gone, or the environment that it is to be in")
            row = self._row(current, "deploy", wish)
            staged.name, staged.version = wish.name, row.version  # whatever it was described as
            return await self._serve(current, staged, raw, row, wish)

    async def _check_inside(
        self, staged: App, name: str, description: dict[str, Any], size: int
    ) -> None:
        await asyncio.shield(self.keeping.read)  # else it is not known how much is kept
        beside = [one.app for one in self.all() if one.app.environment is staged.environment]
        inside.check(
            staged.sponsor, name, description, beside,
            self.keeping.bytes_with(staged, description, size),
        )  # fmt: skip

    @asynccontextmanager
    async def _turn(self, place: Place) -> AsyncIterator[None]:
        """Be the one who changes the app of a name in an environment."""
        lock, count = self._turns.get(place, (asyncio.Lock(), 0))
        self._turns[place] = lock, count + 1
        try:
            async with lock:
                yield
        finally:
            _, count = self._turns.pop(place)
            if count > 1:
                self._turns[place] = lock, count - 1

    async def roll(
        self, wanted: str, environment: Environment, action: str, version: int | None, wish: Wish
    ) -> dict[str, Any]:
        """Serve the content of an earlier version again, or that of the present one anew.

        Args:
            wanted: name of the app in an environment, or its id.
            environment: that one.
            action: `rollback` or `rollover`.
            version: of a rollback; the one before by default.
            wish: its strategy, and who wants it.

        Raises:
            NotFoundError: when there is no such app or version.
        """
        async with self._turn(_place_of(self.find(wanted, environment))):
            current = self.find(wanted, environment)
            present = current.app.version
            of = present if action == "rollover" else version or present - 1
            if of < 1 or (of == present and action == "rollback"):
                raise InvalidError(
                    f"app `{current.app.name}` cannot be rolled back from version {present} "
                    f"to {of}",
                    hint=f"`volant app history {current.app.name}` shows its versions",
                )
            raw = await self._description(current, of)
            row = changed(self._row(current, action, wish), of_version=of)
            if action == "rollback":
                kept = await self.history(current.app.app_id, current.app.environment)
                earlier = {one.version: one for one in kept}[of]
                row = changed(
                    row,
                    tag=earlier.tag,
                    branch=earlier.branch,
                    commit_id=earlier.commit_id,
                    dirty=earlier.dirty,
                )
            coming = self._opened(current.app, raw, row.version, ids.new_id("ap"))
            with self._staged(coming):
                await try_out(self._hub, coming)
                return await self._serve(current, coming, raw, row, wish)

    @contextmanager
    def _staged(self, app: App) -> Iterator[None]:
        """Have an app in the books, so that its images are built, without pools."""
        app.state = "staged"
        self._hub.apps[app.key] = app
        try:
            yield
        finally:
            del self._hub.apps[app.key]
            self._hub.services.images.end_unwanted()

    def _row(self, current: Deployed | None, action: str, wish: Wish) -> VersionRow:
        from volantd.store.deployments import VersionRow

        return VersionRow(
            version=1 if current is None else current.app.version + 1, action=action,
            of_version=None, tag=wish.tag, strategy=wish.strategy, deployed_at=wall_clock(),
            deployed_by=wish.deployed_by, commit_id=wish.commit_id, branch=wish.branch,
            dirty=wish.dirty,
        )  # fmt: skip

    async def _serve(
        self, current: Deployed | None, coming: App, raw: bytes, row: VersionRow, wish: Wish
    ) -> dict[str, Any]:
        """Keep a version, and have it take the place of the one that is served."""
        known = {} if current is None else current.function_ids
        app = coming if current is None else current.app
        of_functions = {name: one.function_id for name, one in coming.functions.items()}
        function_ids = {**of_functions, **known}
        await self.keeping.add(app, wish.name, row, raw, function_ids)
        print_ = described.fingerprint_of(raw)
        if current is None:
            current = self._begin(coming, row, print_)
        else:
            current.served, current.fingerprint = row, print_
            current.app.version, current.app.deployed_at = row.version, row.deployed_at
            current.app.sponsor = coming.sponsor
            replace(
                self._hub, current.app, coming, at_once=wish.at_once,
                anew=row.action == "rollover",
            )  # fmt: skip
            current.pinned.pop(row.version, None)
        coming.functions = {}  # they are another app's now
        for name, function in current.app.functions.items():
            current.function_ids[name] = function.object_id
        self._hub.after_events()
        settled = await self._settled(current.app)
        return {**self._told(current), "changed": True, "settled": settled}

    def _begin(self, coming: App, row: VersionRow, fingerprint: str) -> Deployed:
        """Serve the first version of an app."""
        app = App(
            app_id=coming.app_id, name=coming.name, environment=coming.environment, version=1,
            tags=coming.tags, detach=True, output=False, images=coming.images, interactive=False,
            session=None, state="deployed", sponsor=coming.sponsor,
        )  # fmt: skip
        app.functions, app.alone = coming.functions, coming.alone
        app.deployed_at = row.deployed_at
        for function in app.functions.values():
            function.app = app
        found = self._by_name[app.environment, app.name] = Deployed(app, row, fingerprint, {})
        self._hub.open_app(app)
        return found

    async def _settled(self, app: App) -> bool:
        """Wait until a container of the present version is ready in each pool that has any."""
        if is_settled(self._hub, app):
            return True
        settled = asyncio.Event()
        watch = (lambda: is_settled(self._hub, app), settled.set)
        self._hub.awaited.append(watch)
        try:
            async with asyncio.timeout(SETTLE_S):
                await settled.wait()
        except TimeoutError:
            return False
        finally:
            self._hub.awaited.remove(watch)
        return True

    async def stop(self, wanted: str, environment: Environment) -> App:
        """Have an app deployed no more, for good.

        Raises:
            NotFoundError: when there is no such app.
        """
        async with self._turn(_place_of(self.find(wanted, environment))):
            found = self.find(wanted, environment)
            await self._stop(found, "by `volant app stop`")
            return found.app

    async def stop_all(self, environment: Environment) -> None:
        """Have all apps of an environment that is ending deployed no more.

        It waits for those that are just being deployed; none comes after them.
        """
        while places := [one for one in (*self._turns, *self._by_name) if one[0] is environment]:
            async with self._turn(places[0]):
                found = self._by_name.get(places[0])
                if found is not None:
                    await self._stop(found, "its environment was deleted")

    async def _stop(self, found: Deployed, reason: str) -> None:
        """Stop an app; to be called in its turn."""
        from volantd.store import deployments as store

        app, now = found.app, wall_clock()
        await self._database.run(lambda connection: store.stop(connection, app.app_id, now))
        del self._by_name[_place_of(found)]
        self._hub.timetable.forget(app)
        for one in (app, *found.pinned.values()):
            self._hub.close_app(one, reason)
        self._hub.after_events()

    @staticmethod
    def _told(deployed: Deployed) -> dict[str, Any]:
        """What a client is told of a deployment."""
        app = deployed.app
        return {
            "app_id": app.app_id, "name": app.name, "version": app.version,
            "functions": {name: one.object_id for name, one in app.functions.items()},
        }  # fmt: skip


def _place_of(found: Deployed) -> Place:
    return found.app.environment, found.app.name


def _is_no_news(current: Deployed, fingerprint: str, wish: Wish) -> bool:
    """Whether a deployment would change nothing."""
    has_tag = not wish.tag or wish.tag == current.served.tag
    return current.fingerprint == fingerprint and has_tag
