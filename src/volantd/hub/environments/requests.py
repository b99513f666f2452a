"""Requests about environments, of the machine's user.

environment_create  one with a name that none has, or, with `allow_existing`, any
environment_get     by name
environment_list    all
environment_update  another name, or another end of addresses in it
environment_delete  with all that is in it, where that is wished; it may take a while
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import (
    AlreadyExistsError,
    ConflictError,
    Error,
    InvalidError,
    ResourceExhaustedError,
)
from volantd.fields import optional, switch, text
from volantd.hub.environments.book import ENVIRONMENTS_MAX, checked_name
from volantd.hub.environments.record import MAIN, SUFFIX_CHARS_MAX, Environment
from volantd.hub.web.routes import slug
from volantd.images.kept.books import wall_clock
from volantd.images.requests import later
from volantd.store.journal import Kind
from volantd.store.records import EnvironmentRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from volantd.hub.hub import Hub
    from volantd.hub.records import App
    from volantd.hub.session import Session


def _add(connection: Connection, rows: list[EnvironmentRow]) -> None:
    from volantd.store import objects as store

    store.add_environments(connection, rows)


def _change(connection: Connection, rows: list[tuple[str, str, str]]) -> None:
    from volantd.store import objects as store

    store.change_environments(connection, rows)


def _remove(connection: Connection, environment_ids: list[str]) -> None:
    from volantd.store import objects as store

    store.remove_environments(connection, environment_ids)


#: Written ahead of the objects that are in one, and removed behind the last of those.
ADD, CHANGE, REMOVE = Kind(9, _add), Kind(13, _change), Kind(14, _remove)


def environment_create(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Make an environment."""
    name, allow = checked_name(message, "name"), switch(message, "allow_existing")
    hub = session.hub
    if not hub.objects.is_open(session, message):
        return None
    if not hub.objects.tickets.admit(session, message):
        return None
    environments = hub.environments
    found = environments.named(name)
    if found is not None and found.is_ending:
        raise ConflictError(f"environment {name!r} is being deleted", hint="try again in a moment")
    if found is not None:
        if not allow:
            raise AlreadyExistsError(
                f"there is an environment {name!r} already", hint="choose another name"
            )
        return found.row()
    if len(environments.by_id) >= ENVIRONMENTS_MAX:
        raise ResourceExhaustedError(
            f"there are {ENVIRONMENTS_MAX} environments, which is the most",
            hint="`volant environment delete` removes one",
        )
    made = Environment(
        environment_id=ids.new_id("en"), name=name, created_at=round(wall_clock(), 3),
        web_suffix=_free_suffix(hub, name),
    )  # fmt: skip
    environments.by_id[made.environment_id] = made

    def settled(error: Exception | None) -> None:
        if error is not None:
            environments.by_id.pop(made.environment_id, None)

    row = EnvironmentRow(
        environment_id=made.environment_id, name=name, created_at=made.created_at,
        web_suffix=made.web_suffix,
    )  # fmt: skip
    hub.objects.change(session, message, [(ADD, row)], made.row(), settled=settled)
    return None


def _free_suffix(hub: Hub, name: str) -> str:
    """What addresses end with by default: like the name, and unlike those of all others."""
    taken = {one.web_suffix for one in hub.environments.by_id.values()}
    found, count = slug(name, SUFFIX_CHARS_MAX), 1
    while found in taken:
        count += 1
        found = slug(f"{name[: SUFFIX_CHARS_MAX - 6]}-{count}", SUFFIX_CHARS_MAX)
    return found


def environment_get(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """One environment."""
    name = checked_name(message, "name")
    if not session.hub.objects.is_open(session, message):
        return None
    return session.hub.environments.find(name).row()


def environment_list(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """All environments, the oldest first."""
    if not session.hub.objects.is_open(session, message):
        return None
    found = [one for one in session.hub.environments.by_id.values() if not one.is_ending]
    found.sort(key=lambda one: (one.created_at, one.name))
    return {"environments": [_described(session.hub, one) for one in found]}


def _described(hub: Hub, environment: Environment) -> dict[str, Any]:
    apps = _apps_of(hub, environment)
    named = [one for one in hub.objects.within(environment) if one.name is not None]
    return {**environment.row(), "apps": len(apps), "objects": len(named)}


def _apps_of(hub: Hub, environment: Environment) -> list[App]:
    """The apps of an environment that run or are deployed."""
    return [
        app for app in hub.apps.values()
        if app.environment is environment and app.state not in ("staged", "pinned")
    ]  # fmt: skip


def environment_update(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Give an environment another name, or its addresses another end."""
    name, hub = checked_name(message, "name"), session.hub
    optional(checked_name, message, "new_name")
    optional(text, message, "web_suffix")
    if not hub.objects.is_open(session, message) or not hub.objects.tickets.admit(session, message):
        return None
    found = hub.environments.find(name)
    if found is MAIN:
        raise InvalidError(
            "environment 'main' stays as it is",
            hint="make another one, and set VOLANT_ENVIRONMENT or use `--env`",
        )
    new_name = message["new_name"] or found.name
    suffix = found.web_suffix
    if message["web_suffix"] is not None:
        suffix = _checked_suffix(message["web_suffix"])
    for other in hub.environments.by_id.values():
        if other is not found and other.name == new_name:
            raise AlreadyExistsError(f"there is an environment {new_name!r} already")
        if other is not found and other.web_suffix == suffix:
            raise AlreadyExistsError(
                f"addresses of environment {other.name!r} end with {suffix!r} already"
            )
    before = found.name, found.web_suffix
    _rename(hub, found, new_name, suffix)

    def settled(error: Exception | None) -> None:
        if error is not None:
            _rename(hub, found, *before)

    row = found.environment_id, new_name, suffix
    hub.objects.change(session, message, [(CHANGE, row)], found.row(), settled=settled)
    return None


def _checked_suffix(suffix: str) -> str:
    """The end of addresses that a client wishes.

    Raises:
        InvalidError: for what cannot be one.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", suffix) or len(suffix) > SUFFIX_CHARS_MAX:
        raise InvalidError(
            f"{suffix[:SUFFIX_CHARS_MAX]!r} cannot be the end of addresses",
            hint=f"1 to {SUFFIX_CHARS_MAX} lower-case letters, digits and single `-`",
        )
    return suffix


def _rename(hub: Hub, environment: Environment, name: str, web_suffix: str) -> None:
    """Have an environment known under a name, and its web functions where they are from now on."""
    _note_ended(hub, environment, name)
    moves = environment.web_suffix != web_suffix
    environment.name, environment.web_suffix = name, web_suffix
    if moves:
        for app in list(hub.apps.values()):
            if app.environment is environment and app.state != "staged":
                hub.door.open_app(app)


def _note_ended(hub: Hub, environment: Environment, name: str) -> None:
    """Have apps that have ended listed in the environment of a name; "" for none."""
    for row in hub.ended:
        if row["environment"] == environment.name:
            row["environment"] = name


async def environment_delete(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """End an environment with what is in it."""
    hub = session.hub
    await hub.services.deployments.ready()
    await asyncio.shield(hub.objects.opened)
    found = hub.environments.find(message["name"])
    if found is MAIN:
        raise InvalidError("environment 'main' is always there, and cannot be deleted")
    told = _described(hub, found)
    if (told["apps"] or told["objects"]) and not message["force"]:
        raise ConflictError(
            f"environment {found.name!r} has {told['apps']} apps and {told['objects']} objects",
            hint=f"`volant environment delete {found.name} --yes` stops and deletes them with it",
        )
    found.is_ending = True
    try:
        await _empty(hub, found)
        await hub.services.journal.written([(REMOVE, found.environment_id)])
    except BaseException:
        found.is_ending = False  # with what is left in it
        raise
    _note_ended(hub, found, "")
    del hub.environments.by_id[found.environment_id]
    return told


async def _empty(hub: Hub, environment: Environment) -> None:
    """Stop the apps of an environment, and delete its objects and names of images."""
    await hub.services.deployments.stop_all(environment)
    for app in list(hub.apps.values()):
        if app.environment is environment:
            hub.close_app(app, "its environment was deleted")
    hub.after_events()
    names = hub.services.images.store.names  # those that are known: no other has this id
    names.delete({name for name in names.all() if name.startswith(environment.image_prefix)})
    for found in hub.objects.within(environment):
        removed: asyncio.Future[None] = hub.loop.create_future()
        hub.objects.remove(found, partial(_settle, removed))
        await removed


def _settle(future: asyncio.Future[None], error: Error | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _check_delete(message: dict[str, Any]) -> None:
    checked_name(message, "name")
    switch(message, "force")


HANDLERS = (
    environment_create, environment_get, environment_list, environment_update,
    later(environment_delete, _check_delete, images=False),
)  # fmt: skip
