"""A sandbox from what a client says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import InvalidError, NotFoundError, PermissionDeniedError
from volantd.fields import mapping, number, optional, switch, text
from volantd.hub import checks
from volantd.hub.environments.record import MAIN, Environment
from volantd.hub.records import App, Function, Version
from volantd.hub.sandboxes import checked
from volantd.hub.sandboxes.outbound import networks_of, outbound_of
from volantd.hub.sandboxes.record import Ending, Result, Sandbox, terminated
from volantd.hub.secrets import layers
from volantd.images import described

if TYPE_CHECKING:
    from volantd.hub.sandboxes.outbound import Outbound
    from volantd.hub.session import Session

#: What its logs are filed under, beside its container.
FUNCTION_NAME = "sandbox"
_ENTRY: dict[str, Any] = {"module": None, "file": None, "path": []}
_SPEC: dict[str, Any] = {
    "name": FUNCTION_NAME, "module": "", "qualname": "", "serialized": None, "series": None,
    "is_async": False, "is_generator": False, "methods": [], "schema": None, "web": None,
}  # fmt: skip


def made(
    session: Session, message: dict[str, Any], known: dict[str, Any] | None = None
) -> Sandbox | None:
    """The sandbox that a message describes; None when that is asked again once it can be told.

    Args:
        session: whose.
        message: see `sandbox_create`.
        known: an image that was checked and opened already, for one that says none itself.

    Raises:
        InvalidError, NotFoundError, PermissionDeniedError: for what cannot be.
        ValueError, KeyError: for what no SDK sends.
    """
    told = mapping(message, "sandbox")
    app = app_of(session, text(message, "app_id"))
    options = mapping(told, "options")
    checks.check_options(options)
    image = _image_of(session, told, options, known)
    outbound = _outbound_of(session, told, options)
    services, own = session.hub.services, session.container_function
    if stored := options.get("stored"):
        if not session.hub.objects.is_open(session, message):
            return None
        session.hub.secrets.layered(stored, app.environment)  # what is not there is told at once
    if image is not known and (own is None or image is not own.version.image):
        bases = image["steps"][0] if image["kind"] != "host" else {}
        if bases.get("environment") and not session.hub.objects.is_open(session, message):
            return None

        def prefix_of(named: str | None) -> str:
            place = app.environment if named is None else session.hub.environments.find(named)
            return place.image_prefix

        if not services.images.settle([image], app.app_id, prefix_of):
            session.ask_after(services.images.opened, message)
            return None
        services.zygotes.check_image(image)
    optional(number, told, "idle_timeout_s", 0.001, checked.TIMEOUT_MAX_S)
    checks.check_tags(mapping(told, "tags"))
    if options["timeout_s"] > checked.TIMEOUT_MAX_S:
        raise InvalidError(f"a timeout of {options['timeout_s']:g} s is too long")
    description = {"images": [image], "files": [], "imports": False, "entry": _ENTRY}
    version = Version.of(description, {"image": 0, "options": options}, app.environment)
    function = Function(
        function_id=ids.new_id("fu"), name=FUNCTION_NAME, app=app, version=version,
        express_token=b"", spec=_SPEC, options=options,
    )  # fmt: skip
    made = Sandbox(
        sandbox_id=message["sandbox_id"], app=app, function=function, sponsor=session.sponsor,
        name=checked.name_of(told), tags=told["tags"], argv=checked.words(told, "argv"),
        workdir=checked.workdir(told), timeout_s=options["timeout_s"],
        idle_timeout_s=told["idle_timeout_s"], terminal=checked.terminal(told),
        runtime=checked.runtime(told) or session.hub.sandboxes.runtime,
        ports=checked.ports(told), probe=checked.probe(told), outbound=outbound,
        inbound=networks_of(told, "inbound"), leaves_image=_is_on(told, "exit_snapshot"),
        verbose=_is_on(told, "verbose"),
    )  # fmt: skip
    if options["gpu"]:
        made.check_kernel("a GPU")
    return made


def _is_on(told: dict[str, Any], name: str) -> bool:
    """A switch that older clients do not know."""
    return switch({name: False, **told}, name)


def _outbound_of(
    session: Session, told: dict[str, Any], options: dict[str, Any]
) -> Outbound | None:
    """Whom it may reach; whoever has a say in that has a network of its own."""
    outbound = outbound_of(session, told)
    if outbound is not None and options["block_network"] and session.container_function is None:
        raise ValueError("a network that is blocked, and whom it reaches")
    if outbound is not None or session.hub.sandboxes.are_blocked:
        options["block_network"] = True
    return outbound


def past(row: dict[str, Any]) -> Sandbox | None:
    """A sandbox of an earlier daemon, from what that has noted; None for what it never noted."""
    try:
        return _past(row)
    except (KeyError, ValueError, TypeError):
        return None  # of another release, or damaged


def _past(row: dict[str, Any]) -> Sandbox:
    app = App(
        app_id=row["app_id"], name=row["app"], detach=True, output=False, interactive=False,
        session=None, state="stopped", environment=_environment_of(row),
    )  # fmt: skip
    options: dict[str, Any] = {"env": {}, "secrets": {}, "block_network": False}
    description = {
        "images": [{"kind": "host"}], "files": [], "imports": False, "entry": _ENTRY,
    }  # fmt: skip
    function = Function(
        function_id="", name=FUNCTION_NAME, app=app, express_token=b"", spec=_SPEC,
        version=Version.of(description, {"image": 0, "options": options}), options=options,
    )  # fmt: skip
    sandbox = Sandbox(
        sandbox_id=row["sandbox_id"], app=app, function=function, name=row["name"],
        tags=row["tags"], argv=tuple(row["argv"]), workdir=None, timeout_s=row["timeout_s"],
        runtime=row.get("runtime", "container"),
        idle_timeout_s=None, terminal=None, ports=(), probe=None, created_at=row["created_at"],
        started_at=row["started_at"], container_id=row["container_id"],
        sidecar_of=row.get("sidecar_of") or "",
        leaves_image=bool(row.get("leaves_image")), exit_image_id=row.get("exit_image_id") or "",
    )  # fmt: skip
    told = row["result"]
    if told is None:
        sandbox.finish(terminated("the daemon of this machine ended"))
    else:
        ending = Ending[told["ending"].upper()]
        sandbox.finish(Result(ending=ending, code=told["code"], reason=told["reason"]))
        sandbox.finished_at = row["finished_at"]
    return sandbox


def _environment_of(row: dict[str, Any]) -> Environment:
    """That of the app of a past sandbox: told apart by its id, which no name is given again."""
    known = row.get("environment_id", MAIN.environment_id)
    if known == MAIN.environment_id:
        return MAIN
    return Environment(environment_id=str(known), name=str(row["environment"]))


def app_of(session: Session, app_id: str) -> App:
    """The app of an id, in which sandboxes can be made.

    Raises:
        NotFoundError: when it does not run, or is not for this session.
    """
    own, found = session.container_app, session.apps.get(app_id)
    if found is None and own is not None and own.app_id == app_id:
        found = own
    if found is None:
        every = [one for one in session.hub.apps.values() if one.state != "staged"]
        apps = [one for one in every if one.app_id == app_id and _may_fill(session, one)]
        found = apps[-1] if apps else None
    if found is None or found.state == "stopped":
        raise NotFoundError(
            f"app {app_id[:100]!r} does not run",
            hint="create sandboxes in `with app.run():`, or of `volant.App.lookup(name)`",
        )
    return found


def _may_fill(session: Session, app: App) -> bool:
    """Whether a session may make sandboxes in an app that it has not opened.

    For user code in a container it is one of its environment that containers of its app have
    deployed, or in which there is nothing but sandboxes: it sees its own of those alone.
    """
    own = session.container_app
    if own is None:
        return True
    is_own = bool(app.sponsor) and app.sponsor == session.sponsor
    return app.environment is own.environment and (is_own or not app.functions)


def _image_of(
    session: Session, told: dict[str, Any], options: dict[str, Any], known: dict[str, Any] | None
) -> dict[str, Any]:
    """The image, checked; of user code in a container its own container's, unless it says another.

    Raises:
        PermissionDeniedError: for what such code may not have.
    """
    own, image = session.container_function, known or mapping(told, "image")
    if own is None:
        if image is not known:
            checks.check_image(image)
        return image
    checks.confine_options(options, own.options)
    layers.confine(options.get("stored", ()), own.options)
    if image is known:
        return image
    if image["kind"] == "host":
        return own.version.image
    checks.check_image(image)
    for of_step in image.get("stored", {}).values():
        for stored in of_step.values():
            layers.confine(stored, own.options)
    place, is_kept = own.app.environment.name, described.is_looked_up(image)
    if is_kept and image["steps"][0].get("environment") not in (None, place):
        raise PermissionDeniedError("a container has images of its own environment only")
    if own.options["block_network"] and (len(image["steps"]) > 1 or not is_kept):
        raise PermissionDeniedError(
            "a container without a network has no images built, which would be a way out",
            hint="use an image that there is, or give its own function a network",
        )
    return image
