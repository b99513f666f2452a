"""A new version of an app takes the place of the one that runs, pool by pool.

A pool outlives the versions of its function: what waits in it, its autoscaler and its id stay, and
its containers give way to new ones (`core.pools.renewal`). Only where the way in which containers
share inputs has changed there is a new pool, and the old one fades with its last calls. Whoever
holds an earlier version of a `Function` finds the present one by its `latest()`.
"""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING

from volant.errors import InvalidError
from volantd.hub.pools import variants
from volantd.hub.pools.configuration import pool_config

if TYPE_CHECKING:
    from volantd.hub.hub import Hub
    from volantd.hub.records import App, Call, Function

#: Options that say how a container shares its inputs; with others, a pool is another pool.
_SHARING = ("max_inputs", "batch_size", "single_use", "cluster_size")


def replace(hub: Hub, app: App, coming: App, *, at_once: bool, anew: bool = False) -> None:
    """Give a running app the functions of another that was described and does not run.

    Args:
        hub: the hub.
        app: changed in place.
        coming: has the functions, images and tags; of no use afterwards.
        at_once: stop containers and run their inputs again; else they finish what they run.
        anew: replace containers also where the new version is the same.
    """
    before = app.functions
    app.functions, app.images = coming.functions, coming.images
    app.alone, app.tags = coming.alone, coming.tags
    for function in app.functions.values():
        function.app = app
    for name, old in before.items():
        new = app.functions.get(name)
        if new is None or bool(new.spec["methods"]) != bool(old.spec["methods"]):
            hub.remove_pool(old, monotonic())
            if new is not None:  # a function that has become a class, or the other way round
                new.object_id = old.object_id
    for name, new in app.functions.items():
        old_or_none = before.get(name)
        if old_or_none is None or old_or_none.function_id not in hub.functions:
            hub.add_pool(new, monotonic())
        else:
            _succeed(hub, old_or_none, new, at_once=at_once, anew=anew)
    _replace_variants(hub, app, at_once=at_once, anew=anew)
    _cancel_calls_of_lost_methods(hub, app)
    hub.door.open_app(app)
    close_faded(hub, app)
    hub.timetable.replace(app)


def _succeed(hub: Hub, old: Function, new: Function, *, at_once: bool, anew: bool) -> None:
    now = monotonic()
    new.object_id = old.object_id
    old.successor = new
    if any(new.options[name] != old.options[name] for name in _SHARING):
        old.app.fading.append(old)
        hub.add_pool(new, now)
        return
    new.function_id = old.function_id
    hub.functions[new.function_id] = new
    if not anew and _is_same(old, new):
        return
    hub.apply(hub.scheduler.update_pool_config(new.function_id, pool_config(new), now), now)
    hub.apply(hub.scheduler.renew_pool(new.function_id, at_once, now), now)


def _is_same(old: Function, new: Function) -> bool:
    """Whether containers of the one are as good as containers of the other."""
    return (old.version.key, old.spec, old.options, old.scaling) == (
        new.version.key, new.spec, new.options, new.scaling,
    )  # fmt: skip


def _replace_variants(hub: Hub, app: App, *, at_once: bool, anew: bool) -> None:
    before, app.variants = app.variants, {}
    requested, app.requested = app.requested, OrderedDict()
    for old_key, old in before.items():
        base = app.functions.get(old.name)
        try:
            if base is None:
                raise ValueError("its function is not there any more")
            key, new = variants.made_anew(old, base)
        except (ValueError, InvalidError):  # nothing that it could be any more
            hub.remove_pool(old, monotonic())
            continue
        app.variants[key] = new
        if old_key in requested:
            app.requested[key] = None
        _succeed(hub, old, new, at_once=at_once, anew=anew)


def method_of(call: Call, function: Function) -> int | None:
    """The index that a call's method has in some version of its class; None: it has none such."""
    if call.function is function or not call.function.spec["methods"]:
        return call.method
    return index_of(call.function, call.method, function)


def index_of(old: Function, method: int, new: Function) -> int | None:
    """The index in one version of a class of a method in another; None: it has none such."""
    name = old.spec["methods"][method]["name"]
    for index, one in enumerate(new.spec["methods"]):
        if one["name"] == name:
            return index
    return None


def _cancel_calls_of_lost_methods(hub: Hub, app: App) -> None:
    now = monotonic()
    for call in list(app.calls.values()):
        latest = call.function.latest()
        if call.finished or latest.function_id not in hub.functions:
            continue
        if method_of(call, latest) is None and hub.scheduler.has_call(call.call_id):
            hub.apply(hub.scheduler.cancel_call(call.call_id, False, now), now)


def close_faded(hub: Hub, app: App) -> None:
    """Remove pools of earlier versions that have no calls any more."""
    used = {call.function.function_id for call in app.calls.values() if not call.finished}
    used |= hub.door.leases.pools()
    for function in list(app.fading):
        if function.function_id not in used:
            app.fading.remove(function)
            hub.remove_pool(function, monotonic())


def is_settled(hub: Hub, app: App) -> bool:
    """Whether in no pool old containers still wait for the first new one."""
    pools = hub.scheduler.state.pools
    return not any(
        pools[function.function_id].is_renewing
        for function in app.pools()
        if function.function_id in pools
    )
