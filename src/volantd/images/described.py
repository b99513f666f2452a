"""A client's description of an image: checked before anything is built, and what it needs."""

from __future__ import annotations

from typing import Any

from volant.errors import UnimplementedError
from volantd.fields import mapping, number, optional, sequence, text
from volantd.images.keys import FORCE, LOOKED_UP, image_id, keys_of
from volantd.images.steps import kind, kind_of

#: Attached files that lie here come with the sources, which are put there for each container,
#: as long as they have no more bytes than this.
ATTACHED_BELOW = "/root/"
ATTACHED_BYTES_MAX = 16 << 20
STEPS_MAX = 500
#: The field of an image that says who has asked for it: once for each wish, forced steps are built.
ASKED_BY = "asked_by"
#: The field of a settled image with the key of its last step.
KEY = "key"


def check(image: dict[str, Any]) -> None:
    """Make sure that a built image is described as it has to be.

    Raises:
        ValueError: naming what is wrong.
        KeyError: when a field is missing.
        UnimplementedError: for what cannot be built yet.
    """
    steps = sequence(image, "steps")
    if image["kind"] != "built" or not 1 <= len(steps) <= STEPS_MAX:
        raise ValueError(f"an image of {len(steps)} steps")
    for index, step in enumerate(steps):
        name = text(step, "kind")
        known = kind_of(name)
        if known is None or not (known.is_step if index else known.is_base):
            raise UnimplementedError(f"building the step `{name}` of an image is not there yet")
        known.check(step)
    _check_calls(image)
    _check_secrets(mapping(image, "secrets"))
    mapping({"stored": {}, **image}, "stored")  # its layers are the hub's to check
    kind.files(image, "attached")
    for digest, size in mapping(image, "contents").items():
        kind.digest(digest)
        if type(size) is not int or size < 0:
            raise ValueError("a content of an image has no size")


def _check_calls(image: dict[str, Any]) -> None:
    """Make sure that each step which calls a function has its call beside the steps."""
    calls = mapping({"calls": {}, **image}, "calls")
    for call in calls.values():
        if not isinstance(call, dict):
            raise ValueError("a call of a build is no map")
        kind.digest(call["payload"])
        number(call, "timeout_s", 0.001)
        for name in ("cpu_limit", "memory_limit_mib"):
            optional(number, call, name, 0.001)
    wanted = {step["digest"] for step in image["steps"] if step["kind"] == "function"}
    if not wanted.issubset(calls):
        raise ValueError("a function that a build calls has no call")


def _check_secrets(secrets: dict[str, Any]) -> None:
    for of_step in secrets.values():
        if not isinstance(of_step, dict):
            raise ValueError("secrets of a step are no map")
        for values in of_step.values():
            kind.variables(values)


def sizes(image: dict[str, Any]) -> dict[str, int]:
    """What the client has to send for building and running a checked image: digest -> size."""
    if image["kind"] == "host":
        return {}
    files = list(image["attached"])
    for step in image["steps"]:
        files += step.get("files", ())
    return {**image["contents"], **{digest: size for _, _, digest, size in files}}


def attached(image: dict[str, Any]) -> list[list[object]]:
    """The files that come with the sources of a checked image, named as those are."""
    files = [] if image["kind"] == "host" else _divided(image)[0]
    return [[path[len(ATTACHED_BELOW) :], *rest] for path, *rest in files]


def _divided(image: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Attached files that come with the sources, and those that are in a layer."""
    below: list[Any] = []
    elsewhere: list[Any] = []
    for entry in image["attached"]:
        (below if entry[0].startswith(ATTACHED_BELOW) else elsewhere).append(entry)
    if sum(size for _, _, _, size in below) > ATTACHED_BYTES_MAX:
        return [], image["attached"]
    return below, elsewhere


def steps(image: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a checked image that is built, and one more for the other attached files."""
    files = _divided(image)[1]
    found: list[dict[str, Any]] = image["steps"]
    return [*found, {"kind": "copy", "files": files}] if files else found


def identity(image: dict[str, Any]) -> dict[str, Any]:
    """What of a checked image tells it from others."""
    if image["kind"] == "host":
        return image
    told = {"kind": image["kind"], "steps": image["steps"], "attached": image["attached"]}
    if any(step.get(FORCE) for step in image["steps"]):
        told[ASKED_BY] = image[ASKED_BY]  # whoever asks anew wants it built anew
    return told


def is_looked_up(image: dict[str, Any]) -> bool:
    """Whether a checked image begins with one that was built before."""
    return image["kind"] != "host" and image["steps"][0]["kind"] in (LOOKED_UP, "name")


def settle(image: dict[str, Any], key: str | None, asked_by: str) -> None:
    """Make a checked image of a client one whose meaning changes no more.

    Args:
        image: changed in place.
        key: of the image that it begins with, where `is_looked_up`.
        asked_by: what tells this wish for it from others.
    """
    if image["kind"] != "host":
        image[ASKED_BY] = asked_by
        if key is not None:
            image["steps"][0] = {"kind": LOOKED_UP, "key": key}
        image[KEY] = keys_of(steps(image))[-1]


def image_id_of(image: dict[str, Any]) -> str | None:
    """The id that a settled image has, built or not; None for that of this machine."""
    return None if image["kind"] == "host" else image_id(image[KEY])
