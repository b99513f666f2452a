"""Requests about the autoscaler of one pool: how it stands, what it is told, what changes.

A client names a pool by the number under which it calls it, and people by an id or a name. What is
changed holds for that pool alone, until its app ends; the options that describe it stay as they
were, so that pools made of them do not change with it.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.errors import (
    ExecutionError,
    InvalidError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from volant.wire.frames import FUNCTION_MASK
from volantd.core import pool_statistics
from volantd.hub import checks
from volantd.hub.environments.book import told
from volantd.hub.pools.configuration import pool_config
from volantd.hub.pools.waiting import text_of
from volantd.hub.web.checked import SCALEUP_WINDOW_S_MAX, scaleup_window_s_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volantd.core import PoolStatistics
    from volantd.hub.records import Function
    from volantd.hub.session import Session

#: What can be changed of a pool that exists.
SETTINGS = (
    "min_containers", "max_containers", "buffer_containers", "scaledown_window_s", "target_inputs",
    "scaleup_window_s",
)  # fmt: skip
#: Seconds that an idle container may be kept.
WINDOW_S_MAX = 7 * 86400.0
#: Names with which one that was not found is compared.
COMPARED_MAX = 1000
#: Containers that the pools of an app keep ready because its own containers have asked for it.
KEPT_MAX = 100


def function_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Every pool of an environment: those of functions and classes, and those beside them."""
    return {"functions": [_row(session, one) for one in _within(session, message)]}


def _within(session: Session, message: dict[str, Any]) -> list[Function]:
    """The pools of the environment that a request means."""
    environment = session.hub.environments.of(session, told(message))
    return [one for one in session.hub.functions.values() if one.app.environment is environment]


def function_stats(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """How a pool stands."""
    function = find(session, message)
    state = session.hub.scheduler.state
    pool = state.pools[function.function_id]
    standing = _standing(pool_statistics(state, pool))
    waits_for = text_of(session.hub.scheduler, function)
    if session.container_function is not None and waits_for:
        waits_for = "waiting for room on the machine"  # how large that is, is not its business
    return {"function_id": function.function_id, **standing, "waits_for": waits_for}


def function_settings(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What the autoscaler of a pool is told."""
    return _settings(find(session, message))


def function_update(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Tell the autoscaler of a pool something else; what is not named stays as it is."""
    changes = _changes(message)
    function = find(session, message)
    scaling = {**function.scaling, **changes}
    low, high = (
        scaling.get(name, function.options[name]) for name in ("min_containers", "max_containers")
    )
    if high is not None and low > high:
        raise InvalidError(f"min_containers ({low}) is above max_containers ({high})")
    target = scaling.get("target_inputs")
    most = 0 if function.options["batch_size"] else function.options["max_inputs"]
    if target is not None and target > most:
        raise InvalidError(f"the target ({target}) is above what a container takes ({most})")
    if session.container_function is not None:
        _confine(session, function, scaling)
    function.scaling = scaling
    hub, now = session.hub, monotonic()
    config = pool_config(function)
    hub.apply(hub.scheduler.update_pool_config(function.function_id, config, now), now)
    return _settings(function)


def _changes(message: dict[str, Any]) -> dict[str, Any]:
    """The settings that a message changes.

    Raises:
        ValueError: for what no client sends.
    """
    changes = {name: message[name] for name in SETTINGS if name in message}
    for name in ("min_containers", "buffer_containers"):
        if name in changes:
            checks.whole(changes, name, 0, checks.CONTAINERS_MAX)
    if "max_containers" in changes:
        checks.optional(checks.whole, changes, "max_containers", 1, checks.CONTAINERS_MAX)
    if "target_inputs" in changes:
        checks.optional(checks.whole, changes, "target_inputs", 1, checks.INPUTS_MAX)
    if "scaledown_window_s" in changes:
        checks.number(changes, "scaledown_window_s", 0, WINDOW_S_MAX)
    if "scaleup_window_s" in changes:
        checks.number(changes, "scaleup_window_s", 0, SCALEUP_WINDOW_S_MAX)
    return changes


def _confine(session: Session, function: Function, scaling: dict[str, Any]) -> None:
    """Hold what user code in a container has kept ready to what its app may."""
    app = function.app
    is_users = app is session.container_app and not app.sponsor
    most = KEPT_MAX if is_users else checks.NESTED_KEPT_MAX
    kept = described = 0
    for one in app.pools():
        described += _kept(one.options)
        kept += _kept({**one.options, **(scaling if one is function else one.scaling)})
    if kept > max(most, described):
        raise ResourceExhaustedError(
            f"app {app.name!r} would keep {kept} containers ready, and its containers may have it "
            f"keep {max(most, described)}",
            hint="raise min_containers or buffer_containers from the program or the command",
        )


def _kept(options: dict[str, Any]) -> int:
    return int(options["min_containers"] + options["buffer_containers"])


def _settings(function: Function) -> dict[str, Any]:
    described = {**function.options, "scaleup_window_s": scaleup_window_s_of(function.spec)}
    settings = {**described, **function.scaling}
    return {"function_id": function.function_id, **{name: settings[name] for name in SETTINGS}}


def _standing(pool: PoolStatistics) -> dict[str, Any]:
    unfinished = pool.queued_inputs + pool.delayed_inputs + pool.running_inputs
    return {
        "backlog": unfinished - pool.begun_inputs,
        "num_total_runners": pool.starting + pool.ready,
        "num_running_inputs": pool.begun_inputs,
        "input_headroom": pool.headroom,
    }


def _row(session: Session, function: Function) -> dict[str, Any]:
    state = session.hub.scheduler.state
    app = function.app
    kind = "class" if function.spec["methods"] else "function"
    return {
        "function_id": function.function_id, "name": function.name, "app": app.name,
        "environment": app.environment.name,
        "app_id": app.app_id, "kind": kind, "variant": app.functions[function.name] is not function,
        **_standing(pool_statistics(state, state.pools[function.function_id])),
    }  # fmt: skip


def find(session: Session, message: dict[str, Any]) -> Function:
    """The pool that a message is about.

    Raises:
        NotFoundError: for a name that means nothing.
        InvalidError: for one that means several.
        ExecutionError: for a number whose app does not run any more.
        PermissionDeniedError: for user code that asks by name.
    """
    if "number" not in message:
        wanted = checks.text(message, "function")
        if session.container_app is not None:
            raise PermissionDeniedError("a container only knows the functions that it can call")
        by_id = session.hub.functions.get(wanted)
        return _named(_within(session, message), wanted) if by_id is None else by_id
    number = checks.whole(message, "number", 0, FUNCTION_MASK)
    function = session.functions.get(number)
    function = None if function is None else function.latest()
    if function is not None and function.function_id in session.hub.functions:
        return function
    raise session.refused_functions.get(
        number, ExecutionError("the app of this function does not run any more")
    )


def _named(functions: Iterable[Function], wanted: str) -> Function:
    """The pool of an id, or that of the function with a name: `function` or `app.function`."""
    known: dict[str, list[Function]] = {}
    for one in functions:
        known.setdefault(one.function_id, []).append(one)
        if one.app.functions[one.name] is one:
            known.setdefault(one.name, []).append(one)
            known.setdefault(f"{one.app.name}.{one.name}", []).append(one)
    found = known.get(wanted)
    if found is None:
        like = [name for name in known if name.startswith("fu-") == wanted.startswith("fu-")]
        raise checks.not_found("function", wanted, like[:COMPARED_MAX])
    if len(found) > 1:
        raise InvalidError(
            f"{len(found)} functions are called {wanted!r}",
            hint="use the id: " + ", ".join(one.function_id for one in found),
        )
    return found[0]
