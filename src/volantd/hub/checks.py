"""What strangers send, checked before anybody acts on it: control messages field by field.

Clients are of the machine's user, but may be broken; containers are user code, and may be
hostile. A message that is not what it has to be is a `ValueError`, which ends its connection.
"""

from __future__ import annotations

import difflib
import fcntl
import os
from typing import TYPE_CHECKING, Any

from volant import gpus
from volant.errors import NotFoundError, PermissionDeniedError, ResourceExhaustedError
from volant.wire.frames import EXPRESS_TOKEN_BYTES, FUNCTION_MASK, METHODS_MAX
from volantd.core.volumes.entries import parts_of
from volantd.fields import (
    mapping,
    module_names,
    number,
    optional,
    raw,
    sequence,
    switch,
    text,
    whole,
)
from volantd.hub.secrets import layers
from volantd.hub.volumes import buckets
from volantd.hub.web import checked
from volantd.images import described
from volantd.schedules.times import rule_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from volant.wire.stream import FrameStream

#: Checks of single fields, for whoever checks a message.
__all__ = [
    "mapping", "module_names", "number", "optional", "raw", "sequence", "switch", "text", "whole",
]  # fmt: skip

#: Not in every Python: it is of the system that one was built on.
_F_GET_SEALS = getattr(fcntl, "F_GET_SEALS", 1034)
#: Source files of one app, their bytes together, and functions.
FILES_MAX = 20_000
FILES_BYTES_MAX = 256 << 20
#: Containers that a function may ask for; what the machine gives is another matter.
CONTAINERS_MAX = 1 << 20
#: Apps that user code in a container may have open at once, containers that these may keep ready,
#: and bytes of sources that it may be about to send.
NESTED_APPS_MAX = 16
NESTED_KEPT_MAX = 16
NESTED_UPLOAD_BYTES_MAX = 64 << 20
#: Characters of a name that was not found that are looked at and said.
SOUGHT_CHARS_MAX = 200
#: Characters of the name of an app or function.
NAME_CHARS_MAX = 500
#: Bytes that say which parameters a class has.
SCHEMA_BYTES_MAX = 64 << 10
#: Tags of one app, and characters of a name or a value of one.
TAGS_MAX = 64
TAG_CHARS_MAX = 64
_TAG_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
#: Schedules of one app.
SCHEDULES_MAX = 1000
#: Inputs that a container may run at the same time: each may need a thread.
INPUTS_MAX = 1000
#: Containers of one cluster; 0: none.
CLUSTER_SIZE_MAX = 64
#: What a limit of memory may be multiplied by at once.
MULTIPLIER_MAX = 10
#: Largest number that the first of an app's functions may have on its connection.
NUMBER_MAX = FUNCTION_MASK - (1 << 16)
#: Volumes of one function, characters of where one is mounted, and names of the root below which
#: none can be.
VOLUMES_MAX = 100
MOUNT_CHARS_MAX = 1000
FORBIDDEN_MOUNTS = frozenset({"proc", "sys", "dev", ".volant"})
_HEX = frozenset("0123456789abcdef")


def payload_fd(stream: FrameStream) -> int:
    """The file of the frame being handled, which has to be one in memory.

    Whatever else a descriptor may be (a socket, a terminal, a file on a disk) could make whoever
    reads, maps or closes it wait.
    """
    fd = stream.take_fd()
    try:
        fcntl.fcntl(fd, _F_GET_SEALS)
    except OSError:
        os.close(fd)
        raise ValueError("a file of values that is not in memory") from None
    return fd


#: Kinds of objects -> how one is made, where the command for it stands in the place.
_MADE_BY = {
    **dict.fromkeys(
        ("dict", "queue", "volume"),
        "`{}` makes it, as from_name(..., create_if_missing=True) does",
    ),
    "secret": "`{} KEY=VALUE` makes it",
}


def not_found(
    what: str, wanted: str, known: Iterable[str], *, environment: str | None = None
) -> NotFoundError:
    """The error for a name that means nothing, with what is close to it.

    Args:
        what: it would be.
        wanted: the name.
        known: names that mean something.
        environment: where it was looked up, if that is worth saying.
    """
    wanted = wanted[:SOUGHT_CHARS_MAX]  # comparing with all that is known takes time
    near = difflib.get_close_matches(wanted, list(known), n=3)
    there = "" if environment in (None, "main") else f" -e {environment}"
    hint = f"did you mean {', '.join(near)}?" if near else f"`volant {what} list{there}` shows all"
    if what in _MADE_BY:
        made = _MADE_BY[what].format(f"volant {what} create{there} {wanted!r}")
        hint = f"{hint} {made}" if near else f"{hint}; {made}"
    where = "" if environment is None else f" in environment {environment!r}"
    return NotFoundError(f"there is no {what} {wanted!r}{where}", hint=hint)


def check_description(app: dict[str, Any]) -> None:
    """Make sure that an app is described as the SDK describes one.

    Raises:
        ValueError: naming the field that is not what it has to be.
        KeyError: when one is missing.
        UnimplementedError: for an image that would have to be built.
        ResourceExhaustedError: for too many schedules.
    """
    if app["name"] is not None:
        _name(app)
    check_tags(mapping(app, "tags"))
    switch(app, "detach")
    switch(app, "output")
    switch(app, "interactive")
    switch(app, "imports")
    whole(app, "base", 0, NUMBER_MAX)
    entry = mapping(app, "entry")
    optional(text, entry, "module")
    optional(text, entry, "file")
    _texts(entry, "path")
    images = sequence(app, "images")
    for image in images:
        check_image(image)
    _check_files(sequence(app, "files"))
    functions = sequence(app, "functions")
    if len(raw(app, "express")) not in (0, EXPRESS_TOKEN_BYTES * len(functions)):
        raise ValueError("`express` has not one token for each function")
    for function in functions:
        if not isinstance(function, dict):
            raise ValueError("a function is no map")
        _name(function)
        for name in ("module", "qualname"):
            text(function, name)
        for name in ("is_async", "is_generator"):
            switch(function, name)
        optional(raw, function, "serialized")
        optional(text, function, "series")
        optional(raw, function, "schema")
        if len(function["schema"] or b"") > SCHEMA_BYTES_MAX:
            raise ValueError("the parameters of a class take too many bytes to describe")
        whole(function, "image", 0, len(images) - 1)
        _check_methods(sequence(function, "methods"))
        check_options(mapping(function, "options"))
        checked.check(function)
    _check_schedules(functions)


def _check_schedules(functions: list[dict[str, Any]]) -> None:
    scheduled = [one for one in functions if one["options"]["schedule"] is not None]
    if any(one["methods"] or one["is_generator"] or one["web"] for one in scheduled):
        raise ValueError("what has a schedule is a function that returns, and no web function")
    if len(scheduled) > SCHEDULES_MAX:
        raise ResourceExhaustedError(
            f"{len(scheduled)} schedules in one app, at most {SCHEDULES_MAX}"
        )


def confine(app: dict[str, Any], own: dict[str, Any], *, may_last: bool) -> None:
    """Hold an app that user code in a container opens to what that container may do itself.

    Args:
        app: a checked description, changed in place.
        own: the options of the container's own function.
        may_last: whether it may outlive the container, as what is deployed does.

    Raises:
        PermissionDeniedError: for an app that would outlive the container.
        ResourceExhaustedError: when it would keep too many containers ready.
    """
    if app["detach"] and not may_last:
        raise PermissionDeniedError(
            "an app that a container opens ends with it, so it cannot be detached"
        )
    app["interactive"] = False  # the terminal is of whoever runs the program
    kept = 0
    for function in app["functions"]:
        options = function["options"]
        confine_options(options, own)
        layers.confine(layers.of(options), own)
        kept += options["min_containers"] + options["buffer_containers"]
    if kept > NESTED_KEPT_MAX:
        raise ResourceExhaustedError(
            f"an app that a container opens asks to keep {kept} containers ready, at most "
            f"{NESTED_KEPT_MAX}",
            hint="lower min_containers= and buffer_containers=",
        )


def confine_options(
    options: dict[str, Any], own: dict[str, Any], gpus_allowed: Sequence[list[Any]] = ()
) -> None:
    """Hold options that user code in a container asks for to those of its own function.

    Args:
        options: checked, and changed in place.
        own: those of the container's function.
        gpus_allowed: wishes that it may make although its own function does not.

    Raises:
        PermissionDeniedError: for GPUs that its own function has not got, and for a bucket that is
            another way out of a container without a network.
    """
    buckets.confine(options, own)
    options["block_network"] = options["block_network"] or own["block_network"]
    for name, count in options["gpu"]:
        allowed = [most for known, most in (*own["gpu"], *gpus_allowed) if known == name]
        if count > max(allowed, default=0):
            raise PermissionDeniedError(
                f"a container asks for GPUs that its own function has not: {name}:{count}",
                hint="ask for them with @app.function(gpu=...)",
            )
    if own["memory_limit_mib"] is not None:
        options["retries"] = {**options["retries"], "memory_multiplier": 1.0}
    for name in ("memory_limit_mib", "cpu_limit", "ephemeral_disk_mib"):
        limits = [limit for limit in (options[name], own[name]) if limit is not None]
        options[name] = min(limits, default=None)
    if options["memory_limit_mib"] is not None:
        options["memory_mib"] = min(options["memory_mib"], options["memory_limit_mib"])


def check_tags(tags: dict[str, Any]) -> None:
    """Make sure that tags are few, short, and nothing that a terminal would obey.

    Raises:
        ValueError: for the first that is not.
    """
    if len(tags) > TAGS_MAX:
        raise ValueError(f"{len(tags)} tags, at most {TAGS_MAX}")
    for name in tags:
        for part in (name, text(tags, name)):
            if not 0 < len(part) <= TAG_CHARS_MAX or not _TAG_CHARS.issuperset(part):
                raise ValueError(f"{part[:200]!r} cannot be part of a tag")


def _texts(fields: dict[str, Any], name: str) -> None:
    if not all(isinstance(value, str) for value in sequence(fields, name)):
        raise ValueError(f"`{name}` is no list of texts")


def _name(fields: dict[str, Any]) -> None:
    """A name that can be shown on a terminal."""
    name = text(fields, "name")
    if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise ValueError("a name is empty, too long, or cannot be printed")


def check_image(image: Any) -> None:
    """Make sure that an image is described as the SDK describes one; raises as above."""
    if not isinstance(image, dict):
        raise ValueError("an image is no map")
    if image["kind"] != "host":
        described.check(image)
        for of_step in image.get("stored", {}).values():
            for field in mapping({"step": of_step}, "step"):
                layers.check({"stored": of_step[field]})
        return
    for name in ("python", "prefix", "base_prefix"):
        text(image, name)
    _texts(image, "trees")


def _check_files(files: list[Any]) -> None:
    if len(files) > FILES_MAX:
        raise ValueError(f"{len(files)} source files, at most {FILES_MAX}")
    total = 0
    for entry in files:
        if not isinstance(entry, list) or len(entry) != 4:
            raise ValueError("a source file is no list of four")
        fields = dict(zip(("path", "mode", "sha256", "size"), entry, strict=True))
        whole(fields, "mode", 0, 0o7777)
        total += whole(fields, "size")
        digest, path = text(fields, "sha256"), text(fields, "path")
        if len(digest) != 64 or not _HEX.issuperset(digest):
            raise ValueError("`sha256` is no hash")
        if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            raise ValueError(f"a source file cannot be at {path[:200]!r}")
    if total > FILES_BYTES_MAX:
        raise ValueError(f"source files of {total} bytes, at most {FILES_BYTES_MAX}")


def _check_methods(methods: list[Any]) -> None:
    if len(methods) > METHODS_MAX:
        raise ValueError(f"{len(methods)} methods of one class, at most {METHODS_MAX}")
    for method in methods:
        if not isinstance(method, dict):
            raise ValueError("a method is no map")
        _name(method)
        switch(method, "is_async")
        switch(method, "is_generator")


def check_options(options: dict[str, Any]) -> None:
    """Make sure that the options of a function are what the SDK makes of them.

    Raises:
        ValueError: naming the one that is not what it has to be.
        KeyError: when one is missing.
    """
    layers.check(options)
    for variables in ("env", "secrets"):
        for name in mapping(options, variables):
            text(options[variables], name)
    low = whole(options, "min_containers", 0, CONTAINERS_MAX)
    optional(whole, options, "max_containers", max(1, low), CONTAINERS_MAX)
    whole(options, "buffer_containers", 0, CONTAINERS_MAX)
    number(options, "scaledown_window_s", 0)
    number(options, "timeout_s", 0.001)
    number(options, "startup_timeout_s", 0.001)
    retries = mapping(options, "retries")
    whole(retries, "max_retries", 0, 1000)
    number(retries, "backoff_coefficient", 1, 1000)
    number(retries, "initial_delay_s", 0)
    number(retries, "max_delay_s", 0)
    number(retries, "memory_multiplier", 1, MULTIPLIER_MAX)
    if whole(options, "max_inputs", 1, INPUTS_MAX) > 1 and options["single_use"]:
        raise ValueError("a container for one input cannot run several")
    optional(whole, options, "target_inputs", 1, options["max_inputs"])
    if whole(options, "batch_size", 0, INPUTS_MAX) not in (0, options["max_inputs"]):
        raise ValueError("what is taken together is as much as a container may have")
    number(options, "batch_wait_s", 0)
    options.setdefault("cluster_size", 0)  # described by a client of before there were any
    is_cluster = whole(options, "cluster_size", 0, CLUSTER_SIZE_MAX) > 0
    if is_cluster and (options["max_inputs"] > 1 or switch(options, "block_network")):
        raise ValueError("a cluster runs one input at a time, and has the network")
    options.setdefault("volumes", [])  # likewise
    options.setdefault("restricted", False)  # likewise
    switch(options, "restricted")
    _check_volumes(sequence(options, "volumes"))
    switch(options, "single_use")
    switch(options, "block_network")
    switch(options, "snapshot")
    switch(options, "has_exit")
    number(options, "memory_mib", 0)
    _check_gpus(sequence(options, "gpu"))
    if options["schedule"] is not None:
        rule_of(mapping(options, "schedule"), 0.0)
    for name in ("cpu", "cpu_limit", "memory_limit_mib", "ephemeral_disk_mib"):
        optional(number, options, name, 0.001)


def _check_volumes(volumes: list[Any]) -> None:
    if len(volumes) > VOLUMES_MAX:
        raise ValueError(f"{len(volumes)} volumes of one function, at most {VOLUMES_MAX}")
    places: set[str] = set()
    for one in volumes:
        if not isinstance(one, dict):
            raise ValueError("a volume is no map")
        path = text(one, "path")
        parts = path.split("/")
        if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
            raise ValueError(f"no volume can be mounted at {path[:200]!r}")
        is_theirs = parts[1] in FORBIDDEN_MOUNTS or parts[1:] == ["tmp"]
        if is_theirs or "\0" in path or len(path) > MOUNT_CHARS_MAX:
            raise ValueError(f"no volume can be mounted at {path[:200]!r}")
        switch(one, "read_only")
        if "bucket" in one:
            buckets.check(mapping(one, "bucket"))
            places.update((path, f"bucket at {path}"))
            continue
        places.update((path, text(one, "volume")))
        parts_of(text(one, "sub_path"))
    if len(places) != 2 * len(volumes):
        raise ValueError("a volume is mounted twice, or two at one place")


def _check_gpus(wishes: list[Any]) -> None:
    if len(wishes) > gpus.WISHES_MAX:
        raise ValueError(f"{len(wishes)} alternatives of GPUs, at most {gpus.WISHES_MAX}")
    for wish in wishes:
        if not isinstance(wish, list) or len(wish) != 2:
            raise ValueError("a wish for GPUs is no list of two")
        fields = dict(zip(("name", "count"), wish, strict=True))
        whole(fields, "count", 1, gpus.COUNT_MAX)
        if text(fields, "name") != gpus.ANY and wish[0] not in gpus.MODELS:
            raise ValueError(f"no GPU is called {wish[0][:NAME_CHARS_MAX]!r}")
