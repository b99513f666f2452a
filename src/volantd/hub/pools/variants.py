"""Pools beside a function's own: with other options, or of a class with parameters.

A client names such a pool by a number of its own and says what it means ahead of its first call,
without waiting for an answer. What cannot be is remembered under the number, and answers the calls.
"""

from __future__ import annotations

import hashlib
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import Error, ExecutionError, InvalidError, ResourceExhaustedError
from volant.wire import values
from volant.wire.frames import EXPRESS_TOKEN_BYTES, FUNCTION_MASK
from volantd.hub import checks
from volantd.hub.records import App, Function
from volantd.hub.secrets import layers

if TYPE_CHECKING:
    from volantd.hub.hub import Hub
    from volantd.hub.session import Session

#: Pools of one app beside those of its functions, and bytes of what they differ in: containers
#: can ask for them, and must not fill the memory of the daemon.
VARIANTS_MAX = 10_000
VARIANTS_BYTES_MAX = 64 << 20
#: Bytes of the parameters of one.
PARAMETERS_BYTES_MAX = 16 << 10
#: Pools of one app that only requests have asked for, by their query: strangers send those.
REQUESTED_MAX = 1000
#: Options that a variant may change.
_CHANGEABLE = frozenset({
    "env", "secrets", "stored", "gpu", "cpu", "cpu_limit", "memory_mib", "memory_limit_mib",
    "timeout_s", "retries", "max_containers", "buffer_containers", "scaledown_window_s",
    "max_inputs", "target_inputs", "batch_size", "batch_wait_s", "volumes",
})  # fmt: skip


def variant(session: Session, event: dict[str, Any]) -> None:
    """Learn what a number of a client means.

    Raises:
        ValueError: for what no SDK sends.
    """
    number = checks.whole(event, "number", 0, FUNCTION_MASK)
    if number in session.functions:
        raise ValueError(f"number {number} is another function's already")
    base = session.functions.get(checks.whole(event, "base", 0, FUNCTION_MASK))
    parameters = checks.raw(event, "parameters")
    express = checks.raw(event, "express")
    if len(express) != EXPRESS_TOKEN_BYTES or len(parameters) > PARAMETERS_BYTES_MAX:
        raise ValueError("the token or the parameters of a pool are not what they have to be")
    changes = checks.mapping(event, "options")
    if not _CHANGEABLE.issuperset(changes):
        raise ValueError(f"a pool cannot change {sorted(set(changes) - _CHANGEABLE)}")
    layers.check(changes)
    session.refused_functions.pop(number, None)
    try:
        found = _found_or_made(session, base, changes, parameters)
    except Error as error:
        session.refused_functions[number] = error
        return
    if not found.express_token and found.app.session is session:
        found.express_token = express
    session.functions[number] = found
    if found.app.session is session:
        found.app.numbers[number] = found


def _found_or_made(
    session: Session, base: Function | None, changes: dict[str, Any], parameters: bytes
) -> Function:
    base = None if base is None else base.latest()
    if base is None or base.function_id not in session.hub.functions:
        raise ExecutionError("the app of this function does not run any more")
    own = session.container_function
    if own is not None:
        changes = _confined(base, changes, own)
    return found_or_made(session.hub, base, changes, parameters)


def _confined(base: Function, changes: dict[str, Any], own: Function) -> dict[str, Any]:
    """What a container may change of the changes that it asks for, whenever they are applied."""
    asked, allowed = _options(base, changes), _options(base, changes)
    checks.confine_options(allowed, own.options, base.options["gpu"])
    owners = [base.options]
    if own.app.environment is base.app.environment:  # else the same name means another secret
        owners.append(own.options)
    layers.confine(layers.of(changes), *owners)
    differing = {name: value for name, value in allowed.items() if value != asked[name]}
    return {**changes, **differing}


def found_or_made(hub: Hub, base: Function, changes: dict[str, Any], parameters: bytes) -> Function:
    """The pool beside that of a function which has these options and parameters.

    Raises:
        ResourceExhaustedError: when its app has too many.
    """
    app = base.app
    options = _options(base, changes)
    meaning = _meaning(base, options, parameters)
    key = hashlib.sha256(meaning).digest()
    app.requested.pop(key, None)
    if key not in app.variants:
        _add(hub, key, _made(app, base, changes, options, parameters))
    return app.variants[key]


def of_query(hub: Hub, base: Function, parameters: bytes) -> Function:
    """The pool of a class with parameters that a request names.

    One that was made for requests alone goes when it has no container and there are too many.

    Args:
        hub: the hub.
        base: the class, as it is served.
        parameters: as the SDK encodes them; b"" for the class's own pool.

    Raises:
        InvalidError: when they are too large.
        ResourceExhaustedError: when there are too many pools, and all have containers.
    """
    if not parameters:
        return base
    if len(parameters) > PARAMETERS_BYTES_MAX:
        raise InvalidError(f"the parameters take more than {PARAMETERS_BYTES_MAX} bytes")
    app = base.app
    options = _options(base, {})
    key = hashlib.sha256(_meaning(base, options, parameters)).digest()
    found = app.variants.get(key)
    if found is None:
        if len(app.requested) >= REQUESTED_MAX:
            _make_room(hub, app)
        found = _made(app, base, {}, options, parameters)
        _add(hub, key, found)
        app.requested[key] = None
    elif key in app.requested:
        app.requested.move_to_end(key)
    return found


def _add(hub: Hub, key: bytes, made: Function) -> None:
    _check_room(made.app, len(_meaning(made, made.options, made.parameters)))
    made.app.variants[key] = made
    hub.add_pool(made, monotonic())


def _make_room(hub: Hub, app: App) -> None:
    """Forget the pool of requests that was asked for longest ago, of those without a container."""
    for key in app.requested:
        found = app.variants[key]
        pool = hub.scheduler.state.pools[found.function_id]
        if not pool.containers and not pool.queued_inputs:
            del app.requested[key], app.variants[key]
            app.variants_bytes -= len(_meaning(found, found.options, found.parameters))
            hub.remove_pool(found, monotonic())
            return
    raise ResourceExhaustedError(
        f"{REQUESTED_MAX} distinct sets of parameters that requests have named are in use"
    )


def _options(base: Function, changes: dict[str, Any]) -> dict[str, Any]:
    # What is kept ready is kept for the function itself.
    options = {**base.options, "min_containers": 0, **changes}
    # Who has looked a function up does not know its environment and secrets.
    options["env"] = {**base.options["env"], **changes.get("env", {})}
    options["stored"], options["secrets"] = layers.merged(base.options, changes)
    if not options["stored"]:
        del options["stored"]
    options["volumes"] = _volumes(base, checks.sequence({"volumes": [], **changes}, "volumes"))
    if options["cluster_size"] and changes.get("max_inputs", 1) != 1:
        raise InvalidError(
            f"`{base.name}` has @volant.clustered and runs one input at a time",
            hint="drop with_concurrency(...) or with_batching(...)",
        )
    checks.check_options(options)
    return options


def _volumes(base: Function, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The volumes of a function, with those that a variant has besides or in their places.

    Raises:
        InvalidError: for one volume at two places; who looked the function up did not know.
    """
    places = {one["path"]: one for one in (*base.options["volumes"], *changes)}
    found = list(places.values())
    volumes = [one["volume"] for one in found if "volume" in one]
    if len(set(volumes)) < len(volumes):
        raise InvalidError(
            f"`{base.name}` has a volume already that with_options(volumes=...) mounts as well",
            hint="give the volume the same path",
        )
    return found


def _meaning(base: Function, options: dict[str, Any], parameters: bytes) -> bytes:
    return values.encode([base.object_id, options, parameters])


def made_anew(variant: Function, base: Function) -> tuple[bytes, Function]:
    """What a pool beside that of a function is in a later version, and its key among them.

    Raises:
        ValueError: when its options and those of that version do not go together.
    """
    options = _options(base, variant.changes)
    key = hashlib.sha256(_meaning(base, options, variant.parameters)).digest()
    return key, _made(base.app, base, variant.changes, options, variant.parameters)


def _check_room(app: App, size: int) -> None:
    app.variants_bytes += size
    if len(app.variants) >= VARIANTS_MAX or app.variants_bytes > VARIANTS_BYTES_MAX:
        app.variants_bytes -= size
        raise ResourceExhaustedError(
            f"app {app.name!r} has {len(app.variants)} pools beside its functions, with "
            f"{app.variants_bytes} bytes of parameters and options, and there is no room for more",
            hint="use fewer distinct parameters and options, or pass them to a method",
        )


def _made(
    app: App, base: Function, changes: dict[str, Any], options: dict[str, Any], parameters: bytes
) -> Function:
    made = Function(
        function_id=ids.new_id("fu"), name=base.name, app=app, express_token=b"",
        version=base.version.with_options(options), spec=base.spec, options=options,
        parameters=parameters or base.parameters, changes=changes,
    )  # fmt: skip
    made.keep_instance()
    return made
