"""A sandbox from what a client says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import InvalidError, NotFoundError, UnimplementedError
from volantd.fields import mapping, number, optional, text
from volantd.hub import checks
from volantd.hub.records import App, Function, Version
from volantd.hub.sandboxes import checked
from volantd.hub.sandboxes.outbound import networks_of, outbound_of
from volantd.hub.sandboxes.record import Ending, Result, Sandbox, terminated
from volantd.hub.secrets import layers

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


def made(session: Session, message: dict[str, Any]) -> Sandbox | None:
    """The sandbox that a message describes; None when that is asked again once it can be told.

    Raises:
        InvalidError, NotFoundError, PermissionDeniedError: for what cannot be.
        ValueError, KeyError: for what no SDK sends.
    """
    told = mapping(message, "sandbox")
    app = _app_of(session, text(message, "app_id"))
    options = mapping(told, "options")
    checks.check_options(options)
    image = _image_of(session, told, options)
    outbound = _outbound_of(session, told, options)
    services = session.hub.services
    if session.container_function is None:
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
    if options["gpu"]:
        raise UnimplementedError("a sandbox with a GPU is not implemented yet")
    if options["timeout_s"] > checked.TIMEOUT_MAX_S:
        raise InvalidError(f"a timeout of {options['timeout_s']:g} s is too long")
    description = {"images": [image], "files": [], "imports": False, "entry": _ENTRY}
    version = Version.of(description, {"image": 0, "options": options}, app.environment)
    function = Function(
        function_id=ids.new_id("fu"), name=FUNCTION_NAME, app=app, version=version,
        express_token=b"", spec=_SPEC, options=options,
    )  # fmt: skip
    return Sandbox(
        sandbox_id=message["sandbox_id"], app=app, function=function,
        name=checked.name_of(told), tags=told["tags"], argv=checked.words(told, "argv"),
        workdir=checked.workdir(told), timeout_s=options["timeout_s"],
        idle_timeout_s=told["idle_timeout_s"], terminal=checked.terminal(told),
        ports=checked.ports(told), probe=checked.probe(told), outbound=outbound,
        inbound=networks_of(told, "inbound"),
    )  # fmt: skip


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
        session=None, state="stopped",
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
        idle_timeout_s=None, terminal=None, ports=(), probe=None, created_at=row["created_at"],
        started_at=row["started_at"], container_id=row["container_id"],
    )  # fmt: skip
    told = row["result"]
    if told is None:
        sandbox.finish(terminated("the daemon of this machine ended"))
    else:
        ending = Ending[told["ending"].upper()]
        sandbox.finish(Result(ending=ending, code=told["code"], reason=told["reason"]))
        sandbox.finished_at = row["finished_at"]
    return sandbox


def _app_of(session: Session, app_id: str) -> App:
    own, hub = session.container_app, session.hub
    found = session.apps.get(app_id)
    if found is None and own is not None and own.app_id == app_id:
        found = own
    if found is None and own is None:
        apps = [one for one in hub.apps.values() if one.app_id == app_id and one.state != "staged"]
        found = apps[-1] if apps else None
    if found is None or found.state == "stopped":
        raise NotFoundError(
            f"app {app_id[:100]!r} does not run",
            hint="create sandboxes in `with app.run():`, or of `volant.App.lookup(name)`",
        )
    return found


def _image_of(session: Session, told: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The image, checked; for user code in a container that container's, and its limits."""
    own = session.container_function
    if own is None:
        image = mapping(told, "image")
        checks.check_image(image)
        return image
    checks.confine_options(options, own.options)
    layers.confine(options.get("stored", ()), own.options)
    return own.version.image
