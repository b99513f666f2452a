"""What every kind of step says of itself, and the checks that several of them share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volantd.fields import sequence, switch, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volantd.images.store import Record
    from volantd.images.workbench import Workbench

#: Series of Python that images can have.
PYTHON_SERIES = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: Volumes of one step, and names of the root below which a step has none.
VOLUMES_MAX = 100
PLACES_OF_OTHERS = ("proc", "sys", "dev", ".volant")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z.+!-]{0,63}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step.

    Attributes:
        check: refuses a step of a stranger that is not what it has to be: raises ValueError or
            KeyError, or UnimplementedError for what cannot be built yet.
        build: makes the layers of a checked step and returns the image up to it; raises
            ImageBuildError.
        is_base: whether an image may begin with it.
        is_step: whether it may follow another.
    """

    check: Callable[[dict[str, Any]], None]
    build: Callable[[dict[str, Any], Workbench], Awaitable[Record]]
    is_base: bool = False
    is_step: bool = True


def words(fields: dict[str, Any], name: str) -> list[str]:
    """A field that is a list of texts which can be arguments of a program."""
    given = sequence(fields, name)
    for word in given:
        if not isinstance(word, str) or "\0" in word:
            raise ValueError(f"a word of `{name}` is no text")
    return given


def names(fields: dict[str, Any], name: str) -> None:
    """A field that is a list of names of variables, or null."""
    if fields[name] is not None:
        variables(dict.fromkeys(words(fields, name), ""))


def variables(given: object) -> None:
    """Environment variables: a map of texts to texts."""
    if not isinstance(given, dict):
        raise ValueError("variables are no map")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str) or "\0" in name + value:
            raise ValueError("a variable is no text")
        if not name or "=" in name:
            raise ValueError(f"a variable cannot have the name {name!r}")


def surroundings(step: dict[str, Any]) -> None:
    """What many steps may have: variables of their own, and names of those of secrets."""
    variables(step.get("env") or {})
    names({"secrets": [], **step}, "secrets")


def volumes(step: dict[str, Any]) -> list[dict[str, Any]]:
    """The volumes that a step has while it runs, each with path, id, directory and right."""
    given = sequence({"volumes": [], **step}, "volumes")
    if len(given) > VOLUMES_MAX:
        raise ValueError(f"{len(given)} volumes of one step, at most {VOLUMES_MAX}")
    for one in given:
        if absolute_path(one["path"]).split("/")[1] in PLACES_OF_OTHERS:
            raise ValueError(f"no volume can be mounted at {one['path'][:200]!r}")
        text(one, "volume")
        text(one, "sub_path")
        switch(one, "read_only")
    if len({one[key] for one in given for key in ("path", "volume")}) != 2 * len(given):
        raise ValueError("a volume is mounted twice, or two at one place")
    return given


def absolute_path(path: object) -> str:
    """A plain absolute path in an image."""
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise ValueError("a file of an image has no absolute path")
    if {"", ".", ".."} & set(path[1:].split("/")):
        raise ValueError(f"{path[:200]!r} is no plain path")
    return path


def series(value: object) -> str:
    """A series of Python that images can have, such as "3.12"."""
    if value not in PYTHON_SERIES:
        raise ValueError(f"images cannot have a Python {str(value)[:20]!r}")
    return str(value)


def version(fields: dict[str, Any], name: str) -> None:
    """A field that is the version of a program, or a word such as `latest`."""
    given = text(fields, name)
    if not _VERSION.fullmatch(given):
        raise ValueError(f"`{name}` is no version")


def digest(value: object) -> str:
    """The sha256 of a content that the client sends, in hexadecimal."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("a file of an image has no hash")
    return value


def files(fields: dict[str, Any], name: str) -> list[Any]:
    """Files of a step, each [absolute path, mode, digest, size]."""
    given = sequence(fields, name)
    for path, mode, content, size in given:
        absolute_path(path)
        if type(mode) is not int or not 0 <= mode <= 0o777:
            raise ValueError("a file of an image has no mode")
        digest(content)
        if type(size) is not int or size < 0:
            raise ValueError("a file of an image has no size")
    return given
