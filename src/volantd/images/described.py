"""A client's description of an image: checked before anything is built, and what it needs."""

from __future__ import annotations

import re
from typing import Any

from volant.errors import UnimplementedError
from volantd.fields import sequence, text

#: Steps that this daemon can build, by where they may stand.
BASES = frozenset({"registry", "scratch"})
STEPS = frozenset({"run", "copy", "env", "shell", "cmd"})
#: Where attached files may lie: with the sources, which are put there for each container.
ATTACHED_BELOW = "/root/"
STEPS_MAX = 500
_DIGEST = re.compile(r"[0-9a-f]{64}")


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
        kind = text(step, "kind")
        if kind not in (STEPS if index else BASES):
            raise UnimplementedError(f"building the step `{kind}` of an image is not there yet")
        _CHECKS[kind](step)
    for path, _, _, _ in _files(image, "attached"):
        if not path.startswith(ATTACHED_BELOW):
            raise UnimplementedError(
                f"a file at {path} that is attached to containers is not there yet",
                hint=f"put it below {ATTACHED_BELOW}, or add it with copy=True",
            )


def sizes(image: dict[str, Any]) -> dict[str, int]:
    """The files that building and running a checked image needs: digest -> size."""
    if image["kind"] == "host":
        return {}
    files = list(image["attached"])
    for step in image["steps"]:
        files += step.get("files", ())
    return {digest: size for _, _, digest, size in files}


def attached(image: dict[str, Any]) -> list[list[object]]:
    """The files that containers of a checked image get, as the sources are named."""
    files = [] if image["kind"] == "host" else image["attached"]
    return [[path[len(ATTACHED_BELOW) :], *rest] for path, *rest in files]


def _check_registry(step: dict[str, Any]) -> None:
    text(step, "reference")
    for name in ("add_python", "auth"):
        if step.get(name) is not None:
            raise UnimplementedError(f"`{name}` of an image from a registry is not there yet")


def _check_run(step: dict[str, Any]) -> None:
    _words(step, "commands")
    _variables(step.get("env", {}))
    if step.get("secrets"):
        raise UnimplementedError("secrets of a build step are not there yet")


def _check_copy(step: dict[str, Any]) -> None:
    _files(step, "files")


def _check_env(step: dict[str, Any]) -> None:
    _variables(step["variables"])


def _check_words(step: dict[str, Any]) -> None:
    _words(step, "words")


def _check_nothing(step: dict[str, Any]) -> None:
    """It has no fields."""


_CHECKS = {
    "registry": _check_registry, "scratch": _check_nothing, "run": _check_run,
    "copy": _check_copy, "env": _check_env, "shell": _check_words, "cmd": _check_words,
}  # fmt: skip


def _words(fields: dict[str, Any], name: str) -> None:
    for word in sequence(fields, name):
        if not isinstance(word, str) or "\0" in word:
            raise ValueError(f"a word of `{name}` is no text")


def _variables(variables: object) -> None:
    if not isinstance(variables, dict):
        raise ValueError("variables are no map")
    for name, value in variables.items():
        if not isinstance(name, str) or not isinstance(value, str) or "\0" in name + value:
            raise ValueError("a variable is no text")
        if not name or "=" in name:
            raise ValueError(f"a variable cannot have the name {name!r}")


def _files(fields: dict[str, Any], name: str) -> list[Any]:
    """Files of a step, each [absolute path, mode, digest, size]."""
    files = sequence(fields, name)
    for path, mode, digest, size in files:
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            raise ValueError("a file of an image has no absolute path")
        if {"", ".", ".."} & set(path[1:].split("/")):
            raise ValueError(f"{path[:200]!r} is no plain path")
        if type(mode) is not int or not 0 <= mode <= 0o777:
            raise ValueError("a file of an image has no mode")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError("a file of an image has no hash")
        if type(size) is not int or size < 0:
            raise ValueError("a file of an image has no size")
    return list(files)
