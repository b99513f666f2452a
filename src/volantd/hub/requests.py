"""The requests a client can make, one function each: message in, fields of the reply out.

A function returns None when it answers later, and raises an error of `volant.errors` to refuse.
"""

from __future__ import annotations

import functools
import os
from time import time
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import (
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from volant.version import VERSION
from volantd.hub import checks, terminals
from volantd.hub.calls import graph, replaying, shown
from volantd.hub.deployed import requests as deployed_requests, updating
from volantd.hub.deployed.described import add_functions, sizes_of
from volantd.hub.durable import requests as call_requests
from volantd.hub.environments import book as environments, requests as environment_requests
from volantd.hub.environments.record import MAIN, Environment
from volantd.hub.objects import requests as object_requests
from volantd.hub.objects.dicts import requests as dict_requests
from volantd.hub.objects.queues import requests as queue_requests
from volantd.hub.pools import autoscaler, facts, leaving, printed
from volantd.hub.ports import tunnels
from volantd.hub.records import App, Function
from volantd.hub.sandboxes import (
    contents as sandbox_contents,
    copies as sandbox_copies,
    requests as sandbox_requests,
    trials as sandbox_trials,
)
from volantd.hub.schedules import requests as schedule_requests
from volantd.hub.secrets import requests as secret_requests, rotation as secret_rotation
from volantd.hub.volumes import changing, looking, mounting
from volantd.hub.web import asking, counting, dedicated, tokens
from volantd.images import described, requests as image_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.session import Session

    Handler = Callable[[Session, dict[str, Any]], dict[str, Any] | None]

#: Functions of one app.
FUNCTIONS_MAX = 10_000
#: States of apps that only their deployment knows of.
_UNSHOWN = ("staged", "pinned")
#: Of a name that was not found, what is looked at and said.
NAME_CHARS_MAX = 200


def hello(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Greet a client, and learn the prefix of its call ids."""
    wanted = checks.text(message, "session")
    try:
        ids.check_session(wanted)
    except ValueError as error:
        raise InvalidError(str(error)) from None
    named = environments.told(message)
    taken = any(other.session_id == wanted for other in session.hub.sessions)
    # A client may go on under the id it had before; a container takes what it is given, so
    # that it cannot speak in another session's name.
    if not taken and session.container_app is None:
        session.session_id = wanted
    if session.container_app is None and named not in (None, session.environment_name):
        session.environment_name, session.environment = str(named), None
    return {
        "version": VERSION,
        "pid": os.getpid(),
        "session": session.session_id,
        "express": session.container_app is None,
    }


# -- apps


def app_open(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take a described app; answers with the content hashes that have to be uploaded."""
    description = checks.mapping(message, "app")
    services = session.hub.services
    own = session.container_function
    if own is not None:
        # User code may run further apps, but sees no more of this machine than it does already.
        description["images"] = [own.version.image]
    checks.check_description(description)
    environment = _environment_for(session, message)
    if environment is None:
        return None
    app_id = _app_id(session, message)
    is_staged = checks.switch({"staged": False, **message}, "staged")
    if own is not None:
        _check_nested(session, description, own, is_staged=is_staged)
    elif not _settle_images(session, message, description["images"], environment, app_id):
        return None
    if (count := len(description["functions"])) > FUNCTIONS_MAX:
        raise InvalidError(f"{count} functions in one app, at most {FUNCTIONS_MAX}")
    app = _described(session, description, app_id, environment)
    add_functions(app, description)
    services.zygotes.check(app)
    missing = services.blobs.missing(sizes := sizes_of(description))
    session.uploads.expected.update((digest, sizes[digest]) for digest in missing)
    session.functions.update(app.numbers)
    session.apps[app.app_id] = app
    if is_staged:
        # Its images are built, and nothing runs before it is deployed.
        app.key, app.state = ids.new_id("ap"), "staged"
        session.hub.apps[app.key] = app
    else:
        session.hub.open_app(app)
        session.hub.unfinished.returned(app)
    if all(image["kind"] == "host" for image in app.images):
        services.zygotes.warm(app)  # else when they are built: see `app_images`
    services.tell_rung(session)
    return {
        "app_id": app.app_id,
        "images": [described.image_id_of(image) for image in app.images],
        "need": sorted(missing),
        "functions": [function.function_id for function in app.numbers.values()],
        "urls": app.urls,
    }


def _settle_images(
    session: Session, message: dict[str, Any], images: list[dict[str, Any]],
    environment: Environment, app_id: str,
) -> bool:  # fmt: skip
    """Look up what images begin with; False when the request is asked again once that is known."""
    hub, known = session.hub, session.hub.services.images
    bases = [image["steps"][0] for image in images if image["kind"] != "host"]
    if any(base.get("environment") for base in bases) and not hub.objects.is_open(session, message):
        return False

    def prefix_of(named: str | None) -> str:
        return (environment if named is None else hub.environments.find(named)).image_prefix

    if not known.settle(images, app_id, prefix_of):
        session.ask_after(known.opened, message)
        return False
    return True


def _environment_for(session: Session, message: dict[str, Any]) -> Environment | None:
    """The environment that an app is opened in; None when this is asked again once it is known.

    Raises:
        PermissionDeniedError: for a container that would open it in another than its own.
        NotFoundError: when there is no such environment.
    """
    named, hub = environments.told(message), session.hub
    if named not in (None, MAIN.name) and not hub.objects.is_open(session, message):
        return None
    environment = hub.environments.of(session, named)
    if session.container_app is not None and environment is not session.container_app.environment:
        raise PermissionDeniedError(
            f"a container of environment {session.container_app.environment.name!r} opens its apps "
            "there, and not in another"
        )
    return environment


def _described(
    session: Session, description: dict[str, Any], app_id: str, environment: Environment
) -> App:
    return App(
        app_id=app_id, name=description["name"] or "app", environment=environment,
        tags=description["tags"], detach=description["detach"],
        output=description["output"], images=description["images"],
        interactive=description["interactive"], session=session, sponsor=session.sponsor,
        description=description,
    )  # fmt: skip


def _app_id(session: Session, message: dict[str, Any]) -> str:
    """A new id; or the one that an app had with a daemon that has died, when its client returns."""
    before = {"before": None, **message}["before"]
    if before is None or session.container_app is not None:
        return ids.new_id("ap")
    if not isinstance(before, str) or not ids.is_id(before, "ap"):
        raise ValueError("what an app was called before is no id")
    return ids.new_id("ap") if before in session.hub.apps else before


def _check_nested(
    session: Session, description: dict[str, Any], own: Function, *, is_staged: bool
) -> None:
    checks.confine(description, own.options, may_last=is_staged)
    if len(session.apps) >= checks.NESTED_APPS_MAX:
        raise ResourceExhaustedError(
            f"a container has {len(session.apps)} apps of its own open, which is the most",
            hint="leave `with app.run():` blocks before opening further ones",
        )
    waiting = sum(session.uploads.expected.values())
    waiting += sum(entry[3] for entry in description["files"])
    if waiting > checks.NESTED_UPLOAD_BYTES_MAX:
        raise ResourceExhaustedError(
            f"sources of {waiting} bytes at once, at most {checks.NESTED_UPLOAD_BYTES_MAX}"
        )


def upload(session: Session, event: dict[str, Any]) -> None:
    """Take one piece of a source file."""
    digest = checks.text(event, "sha256")
    if digest in session.uploads.dropped and digest not in session.uploads.expected:
        return  # there was no room for what came before
    if digest not in session.uploads.expected and not session.hub.services.blobs.missing([digest]):
        return  # another app of this session has just sent it
    try:
        content = session.uploads.add(
            digest, checks.whole(event, "offset"), checks.whole(event, "size"),
            checks.raw(event, "data"),
        )  # fmt: skip
    except OSError as error:
        session.uploads.drop(digest)
        session.hub.services.blobs.refuse(digest, f"a file could not be taken: {error.strerror}")
        return
    if content is not None:
        session.hub.services.blobs.add(digest, content)


def app_close(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Stop an app of this user, after every log line of it was sent.

    The reply has the number of spawned calls that this cut short. Exit hooks print as well, so it
    waits for them.
    """
    app = session.hub.apps.get(str(message["app_id"]))
    if app is None or (session.container_app is not None and app.app_id not in session.apps):
        return {}
    session.hub.services.agent.drain_logs(app)
    if app.detach and session.hub.is_used(app):
        app.session = None
        app.state = "detached"
        session.apps.pop(app.app_id, None)
        return {"state": "detached"}
    unfinished = sum(
        call.retain and not call.finished and call.on_end is None for call in app.calls.values()
    )
    session.hub.close_app(app, str(message["reason"]))
    if not session.hub.services.agent.is_exiting(app):
        return {"unfinished": unfinished}
    session.hub.services.agent.when_exited(
        app, functools.partial(session.reply, message["id"], {"unfinished": unfinished})
    )
    return None


def app_set_tags(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Replace the tags of an app that this session runs."""
    app_id = checks.text(message, "app_id")
    tags = checks.mapping(message, "tags")
    checks.check_tags(tags)
    app = session.apps.get(app_id)
    if app is None:
        raise NotFoundError(f"this client runs no app {app_id[:NAME_CHARS_MAX]!r}")
    app.tags = tags
    return {}


def app_list(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """The apps of an environment that run, or ended lately; waits for those deployed before."""
    hub = session.hub
    deployments = hub.services.deployments
    if deployments.is_expected:
        session.ask_after(deployments.opened, message)
        return None
    apps = [app for app in hub.apps.values() if app.state not in _UNSHOWN]
    rows = [app.row(hub.services.agent.count_of(app)) for app in apps]
    rows += hub.ended
    rows += hub.services.logs.past_apps({row["app_id"] for row in rows}, hub.environments.names())
    name = hub.environments.of(session, environments.told(message)).name
    return {"apps": [row for row in rows if row["environment"] == name]}


def app_stop(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Stop an app by id or name, for good if it is deployed."""
    wanted = checks.text(message, "app")
    try:
        app = find_app(session, wanted, environments.told(message))
    except NotFoundError:
        if session.hub.services.deployments.opened.done():
            raise
    else:
        if app.state != "deployed":
            session.hub.close_app(app, "by `volant app stop`")
            return {"app_id": app.app_id}
    deployed_requests.stop_later(session, message)
    return None


def find_app(session: Session, wanted: str, named: str | None = None) -> App:
    """The app with an id or name; of several with a name, the one that is deployed.

    Args:
        session: whose environment names are looked up in.
        wanted: id or name.
        named: another environment instead.

    Raises:
        NotFoundError: when there is none.
        InvalidError: when there are several.
    """
    apps = {key: app for key, app in session.hub.apps.items() if app.state not in _UNSHOWN}
    if wanted in apps:
        return apps[wanted]
    environment = session.hub.environments.of(session, named)
    within = [app for app in apps.values() if app.environment is environment]
    found = [app for app in within if app.name == wanted]
    found = [app for app in found if app.state == "deployed"] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidError(
            f"{len(found)} apps are called {wanted!r}",
            hint="use the id: " + ", ".join(app.app_id for app in found),
        )
    known = [name for app in within for name in (app.app_id, app.name)]
    said = session.hub.environments.said(session, named)
    raise checks.not_found("app", wanted, known, environment=said)


def app_timings(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The phases of an app's latest inputs."""
    app = find_app(session, str(message["app_id"]))
    return {"calls": app.timings.rows()}


def app_logs(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """What an app's containers printed, running or not."""
    logs = session.hub.services.logs
    wanted, goes_on = str(message["app"]), True
    try:
        app_id = find_app(session, wanted).app_id
    except NotFoundError:
        app_id, goes_on = _find_past(session, wanted), False
        if not app_id:
            raise
    if message.get("follow"):
        logs.follow(session, app_id=app_id)
    asked = printed.Wanted.of(message, app_id)
    return printed.printed(session, message, asked, goes_on=goes_on, app_id=app_id)


def _find_past(session: Session, wanted: str) -> str:
    """The id of an app that has ended, by id, or by name in the session's environment; "" for none.

    The latest of that name which has printed something comes first.
    """
    place = session.hub.environments.of(session, None).name
    hub = session.hub
    past = hub.services.logs.past_apps(set(), hub.environments.names())
    past += reversed(hub.ended)
    for row in past:
        if wanted == row["app_id"] or (wanted, place) == (row["name"], row["environment"]):
            return str(row["app_id"])
    return ""


def _tail(message: dict[str, Any]) -> int | None:
    return None if message.get("tail") is None else checks.whole(message, "tail")


# -- containers


def container_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Every container of an environment that is not gone."""
    environment = session.hub.environments.of(session, environments.told(message))
    return {"containers": session.hub.services.agent.rows(environment)}


def container_stop(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Stop a container, after its exit hooks; its inputs run again elsewhere."""
    wanted = str(message["container"])
    agent = session.hub.services.agent
    if not agent.has(wanted):
        raise checks.not_found("container", wanted, [row["container_id"] for row in agent.rows()])
    agent.preempt(wanted, "it was stopped by `volant container stop`")
    return {"container_id": wanted}


def container_logs(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What one container printed."""
    logs = session.hub.services.logs
    wanted = str(message["container"])
    app_id = logs.app_of_container(wanted)
    if app_id is None:
        raise checks.not_found("container", wanted, logs.container_ids())
    entries = logs.read(app_id, tail=_tail(message), wanted=wanted)
    if message.get("follow"):
        logs.follow(session, app_id=app_id, wanted=wanted)
    return {"container_id": wanted, "entries": entries}


# -- the server


def server_status(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What the daemon is and does."""
    hub, services = session.hub, session.hub.services
    return {
        "pid": os.getpid(), "version": VERSION, "home": services.config.home,
        "started_at": services.started_at, "uptime_s": time() - services.started_at,
        "rung": services.rung, "reasons": list(services.reasons), "cgroup": services.cgroup,
        "apps": len(hub.apps), "containers": len(services.agent.rows()),
        "zygotes": services.zygotes.count(), "gpus": services.gpu_rows(),
        "idle_timeout_s": services.config.number("idle_timeout_s"),
        "gateway": services.gateway.row() if services.gateway is not None else None,
        "database": services.database.row(),
    }  # fmt: skip


def server_stop(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """End the daemon; the connection closes when it is gone."""
    session.hub.services.stop(str(message.get("reason") or "stopped by request"))
    return {"pid": os.getpid()}


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        hello, app_open, app_close, app_set_tags, app_list, app_stop, app_timings, app_logs,
        container_list, container_stop, container_logs, terminals.container_exec,
        terminals.function_shell, terminals.terminal_offer, *call_requests.SHARED_HANDLERS,
        graph.call_graph, *replaying.HANDLERS, *shown.HANDLERS,
        autoscaler.function_list, autoscaler.function_stats, autoscaler.function_settings,
        autoscaler.function_update, facts.function_info, printed.function_logs,
        server_status, server_stop,
        *image_requests.HANDLERS,
        *deployed_requests.HANDLERS, *updating.HANDLERS, *schedule_requests.HANDLERS,
        *tokens.HANDLERS, *dedicated.HANDLERS, *counting.HANDLERS, *asking.HANDLERS,
        *object_requests.HANDLERS, *dict_requests.HANDLERS, *queue_requests.HANDLERS,
        *looking.HANDLERS, *changing.HANDLERS, *mounting.HANDLERS, *secret_rotation.HANDLERS,
        *secret_requests.HANDLERS, *environment_requests.HANDLERS, *sandbox_requests.HANDLERS,
        *sandbox_contents.HANDLERS, *sandbox_trials.HANDLERS, *sandbox_copies.HANDLERS,
    )
}  # fmt: skip
#: Those that a client may ask for whatever environment it has named: they are not about any.
ANYWHERE = frozenset({
    "hello", "server_status", "server_stop",
    *(handler.__name__ for handler in environment_requests.HANDLERS),
})  # fmt: skip

#: What user code in a container may ask for; the rest belongs to the machine's user.
CONTAINER_HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        hello,
        app_open,
        app_close,
        app_set_tags,
        *call_requests.SHARED_HANDLERS,
        graph.call_graph,
        autoscaler.function_stats,
        facts.function_info,
        autoscaler.function_settings,
        autoscaler.function_update,
        terminals.terminal_join,
        leaving.container_retire,
        leaving.container_preempt,
        tunnels.tunnel_open,
        tunnels.tunnel_close,
        *deployed_requests.SHARED_HANDLERS,
        *dedicated.HANDLERS,
        *counting.HANDLERS,
        *object_requests.HANDLERS,
        *dict_requests.HANDLERS,
        *queue_requests.HANDLERS,
        *looking.HANDLERS,
        *changing.HANDLERS,
        *mounting.HANDLERS,
        *sandbox_requests.SHARED_HANDLERS,
        *sandbox_contents.HANDLERS,
        *sandbox_trials.SHARED_HANDLERS,
    )
}
