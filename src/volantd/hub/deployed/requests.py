"""The requests about deployed apps: deploy, look up, go back, stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError, NotFoundError
from volant.wire.frames import FUNCTION_MASK
from volantd.fields import optional, switch, text, whole
from volantd.hub.deployed.registry import Wish
from volantd.hub.deployed.trying import staged_app
from volantd.hub.environments.book import told
from volantd.hub.pools import facts
from volantd.images.requests import later

if TYPE_CHECKING:
    from volantd.hub.deployed.registry import Deployments
    from volantd.hub.environments.record import Environment
    from volantd.hub.records import App, Function
    from volantd.hub.session import Session

STRATEGIES = ("rolling", "recreate")
#: Characters of a name, tag or branch in a message.
NAME_CHARS_MAX = 64
BRANCH_CHARS_MAX = 256


async def _opened(session: Session) -> Deployments:
    deployments = session.hub.services.deployments
    await deployments.ready()
    return deployments


def _meant(session: Session, message: dict[str, Any]) -> Environment:
    return session.hub.environments.of(session, told(message))


async def app_deploy(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Serve a staged app of this client; answers when the new version takes calls."""
    deployments = await _opened(session)
    staged = staged_app(session, message["app_id"])
    assert staged.description is not None, staged.app_id
    try:
        reply = await deployments.deploy(staged, staged.description, _wish(session, message))
    finally:
        session.hub.close_app(staged, "it was staged for a deployment")
    serving = deployments.find(reply["app_id"]).app
    for number, function in staged.numbers.items():
        session.functions[number] = serving.functions.get(function.name, function)
    return {**reply, "urls": serving.urls}


def _wish(session: Session, message: dict[str, Any]) -> Wish:
    by = f"container of {session.sponsor}" if session.sponsor else message["deployed_by"]
    return Wish(
        name=message.get("name", ""), strategy=message["strategy"], tag=message.get("tag", ""),
        deployed_by=by[:NAME_CHARS_MAX], commit_id=message.get("commit_id"),
        branch=message.get("branch"), dirty=message.get("dirty"),
    )  # fmt: skip


def _check_wish(message: dict[str, Any]) -> None:
    if text(message, "strategy") not in STRATEGIES:
        raise ValueError(f"no strategy is called {message['strategy'][:NAME_CHARS_MAX]!r}")
    fields = {"name": "", "tag": "", "branch": None, "commit_id": None, "dirty": None, **message}
    for name in ("name", "tag", "deployed_by"):
        _short(text(fields, name), NAME_CHARS_MAX)
    for name, chars_max in (("branch", BRANCH_CHARS_MAX), ("commit_id", NAME_CHARS_MAX)):
        optional(text, fields, name)
        _short(fields[name] or "", chars_max)
    optional(switch, fields, "dirty")


def _short(value: str, chars_max: int) -> None:
    if len(value) > chars_max or (value and not value.isprintable()):
        raise ValueError("a name is too long, or cannot be printed")


def _check_deploy(message: dict[str, Any]) -> None:
    text(message, "app_id")
    if not text(message, "name"):
        raise ValueError("a deployed app has no name")
    _check_wish(message)


async def app_roll(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Serve an earlier version again, or the present one with fresh containers."""
    deployments = await _opened(session)
    return await deployments.roll(
        message["app"], _meant(session, message), message["action"], message["version"],
        _wish(session, message),
    )  # fmt: skip


def _check_roll(message: dict[str, Any]) -> None:
    text(message, "app")
    optional(whole, message, "version", 1)
    if text(message, "action") not in ("rollback", "rollover"):
        raise ValueError("an app is rolled back or over")
    _check_wish(message)


async def app_history(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The versions of a deployed app."""
    deployments = await _opened(session)
    wanted, environment = message["app"], _meant(session, message)
    rows = await deployments.history(wanted, environment)
    try:
        present = deployments.find(wanted, environment).app.version
    except NotFoundError:
        present = 0  # it was stopped
    return {"versions": [{**asdict(row), "served": row.version == present} for row in rows]}


async def stop_deployed(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Have an app deployed no more, for good."""
    deployments = await _opened(session)
    return {"app_id": (await deployments.stop(message["app"], _meant(session, message))).app_id}


async def app_lookup(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What a deployed app is, or one that runs and that the asker knows by its id."""
    deployments = await _opened(session)
    wanted = message["app"]
    running = session.hub.apps.get(wanted)
    own = session.container_app
    if running is not None and running.state != "deployed" and own in (None, running):
        return {
            **_described(running), "deployed_at": None, "deployed_by": None, "tag": "",
            "state": "detached" if running.detach else "ephemeral",
        }  # fmt: skip
    found = deployments.find(wanted, _meant(session, message))
    served = found.served
    return {
        **_described(found.app), "deployed_at": served.deployed_at,
        "deployed_by": served.deployed_by, "tag": served.tag, "state": "deployed",
    }  # fmt: skip


def _described(app: App) -> dict[str, Any]:
    """What there is to know of an app, however it came about."""
    servers = {
        name: one.object_id
        for name, one in app.functions.items()
        if any((form["web"] or {}).get("kind") == "stateless" for form in one.spec["methods"])
    }
    return {
        "app_id": app.app_id, "name": app.name, "environment": app.environment.name,
        "version": app.version, "tags": app.tags, "created_at": app.created_at,
        "functions": {name: one.object_id for name, one in app.functions.items()},
        "servers": servers, "urls": app.urls,
        "classes": [name for name, one in app.functions.items() if one.spec["methods"]],
    }  # fmt: skip


async def function_lookup(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Learn a deployed function, and what number this client calls it by."""
    deployments = await _opened(session)
    if message["function_id"] is not None:
        app, function = _by_id(deployments, message["function_id"])
    else:
        app, function = await _by_name(session, deployments, message)
    session.functions[message["number"]] = function
    spec = function.spec
    return {
        "app_id": app.app_id, "app": app.name, "version": app.version, "name": function.name,
        "function_id": function.object_id, "is_async": spec["is_async"],
        "is_generator": spec["is_generator"], "methods": spec["methods"], "schema": spec["schema"],
        "is_web": spec["web"] is not None,
        "urls": [row for row in app.urls if row[0] == function.name],
        "options": {name: function.options[name] for name in facts.SHOWN},
    }  # fmt: skip


async def _by_name(
    session: Session, deployments: Deployments, message: dict[str, Any]
) -> tuple[App, Function]:
    wanted, name = message["app"], message["name"]
    kind = "Class" if message["is_class"] else "Function"
    failed = f"Lookup failed for {kind} {name!r} from the {wanted!r} app"
    said = session.hub.environments.said(session, told(message))
    if said is not None:
        failed += f" in the {said!r} environment"
    try:
        found = deployments.find(wanted, _meant(session, message))
        version = message["version"]
        app = found.app if version is None else await deployments.version(found, version)
    except NotFoundError as error:
        raise NotFoundError(f"{failed}: {error.message}", hint=error.hint) from None
    function = app.functions.get(name)
    is_class = function is not None and bool(function.spec["methods"])
    if function is not None and is_class == message["is_class"]:
        return app, function
    if function is not None:
        form = "volant.Cls" if is_class else "volant.Function"
        hint = f"it is a {'class' if is_class else 'function'}: use {form}.from_name(...)"
    elif "." in name:
        hint = "a method is reached by its class: volant.Cls.from_name(...)().method"
    else:
        hint = "it has " + (", ".join(sorted(app.functions)[:20]) or "no functions")
    raise NotFoundError(f"{failed}: version {app.version} has no such {kind.lower()}", hint=hint)


def _by_id(deployments: Deployments, wanted: str) -> tuple[App, Function]:
    for one in deployments.all():
        for function in one.app.functions.values():
            if function.object_id == wanted:
                return one.app, function
    raise NotFoundError(
        f"there is no deployed function {wanted[:NAME_CHARS_MAX]!r}",
        hint="`volant function list` shows all",
    )


def _check_lookup(message: dict[str, Any]) -> None:
    told(message)
    whole(message, "number", 0, FUNCTION_MASK)
    optional(text, message, "function_id")
    if message["function_id"] is None:
        text(message, "app")
        text(message, "name")
        switch(message, "is_class")
        optional(whole, message, "version", 1)


def _check_app(message: dict[str, Any]) -> None:
    if not text(message, "app"):
        raise InvalidError("an app has no name", hint="give its name or its id")
    told(message)


#: What user code in containers may ask for as well.
SHARED_HANDLERS = [
    later(answer, check, images=False)
    for answer, check in (
        (app_lookup, _check_app),
        (function_lookup, _check_lookup),
        (app_deploy, _check_deploy),
    )
]
stop_later = later(stop_deployed, _check_app, images=False)
HANDLERS = [
    *SHARED_HANDLERS,
    *(
        later(answer, check, images=False)
        for answer, check in (
            (app_roll, _check_roll),
            (app_history, _check_app),
        )
    ),
]
