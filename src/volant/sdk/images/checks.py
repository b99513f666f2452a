"""Checks of what the steps of an image are given, so that mistakes show where they are written.

Every check names the value and says what to write instead. None of them looks at a disk.
"""

from __future__ import annotations

import posixpath

from volant.errors import InvalidError
from volant.sdk.options import checked_environment
from volant.sdk.planned import unimplemented
from volant.version import SERIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from volant.sdk.images.chain import SecretVariables

#: Series of Python that images can have.
PYTHON_SERIES = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: The tag of a published image whose name has none.
TAG_DEFAULT = "latest"
#: What ids of images begin with; names never do.
ID_PREFIX = "im-"
#: Instructions of a Dockerfile that have no meaning for containers of functions.
_INSTRUCTIONS_REFUSED = frozenset({"ONBUILD", "STOPSIGNAL", "VOLUME"})
_INSTRUCTIONS = frozenset({
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
    "MAINTAINER", "RUN", "SHELL", "USER", "WORKDIR",
})  # fmt: skip
_REPOSITORY_HOSTS = ("github.com", "gitlab.com")


def python_series(version: object, where: str) -> str:
    """The series of Python that `python_version=` asks for; that of this process for None.

    Raises:
        InvalidError: for one that images cannot have.
    """
    if version is None:
        version = SERIES
    if version in PYTHON_SERIES:
        return str(version)
    known = f"{PYTHON_SERIES[0]} to {PYTHON_SERIES[-1]}"
    if not isinstance(version, str):
        raise InvalidError(
            f"{where} must be a string, got {version!r}",
            hint='write it in quotes: as a number, "3.10" is 3.1',
        )
    series = ".".join(version.split(".")[:2])
    hint = f'write "{series}": images have the latest patch release of a series'
    raise InvalidError(
        f"{where} {version!r} is not supported, only {known}",
        hint=hint if series in PYTHON_SERIES else f"choose one of {', '.join(PYTHON_SERIES)}",
    )


def flattened(where: str, given: Sequence[object]) -> list[str]:
    """Strings out of strings and lists of strings, in order.

    Raises:
        InvalidError: for anything else, and for empty strings.
    """
    found: list[str] = []
    for word in given:
        parts = word if isinstance(word, (list, tuple)) else [word]
        for part in parts:
            if not isinstance(part, str) or not part.strip():
                raise InvalidError(
                    f"{where} takes strings and lists of strings, got {part!r}",
                    hint=f'for example .{where}("one", "two")',
                )
            found.append(part)
    return found


def package_names(where: str, given: Sequence[object]) -> list[str]:
    """Names of packages, sorted: their order means nothing, so it should rebuild nothing.

    Raises:
        InvalidError: for what is no string, and for options.
    """
    found = flattened(where, given)
    for word in found:
        if word.lstrip().startswith("-"):
            raise InvalidError(
                f"{where}: {word!r} is an option, not a package",
                hint="options of the installer go into extra_options=, requirements files into "
                "pip_install_from_requirements",
            )
    return sorted(word.strip() for word in found)


def strings(where: str, given: object) -> list[str]:
    """A list of strings, as a copy.

    Raises:
        InvalidError: for anything else, above all for one string.
    """
    if isinstance(given, (list, tuple)) and all(isinstance(word, str) for word in given):
        return list(given)
    hint = f"write {given.split()!r}" if isinstance(given, str) else 'for example ["one", "two"]'
    raise InvalidError(f"{where} must be a list of strings, got {given!r}", hint=hint)


def text(where: str, given: object) -> str:
    """A string.

    Raises:
        InvalidError: for anything else.
    """
    if not isinstance(given, str):
        raise InvalidError(f"{where} must be a string, got {given!r}")
    return given


def optional_text(where: str, given: object) -> str | None:
    """A string or None.

    Raises:
        InvalidError: for anything else.
    """
    return None if given is None else text(where, given)


def surroundings(
    where: str,
    env: Mapping[str, str] | None,
    secrets: Sequence[object] | None,
    gpu: object,
) -> dict[str, object]:
    """What most steps can be given beside their own words: fields for those that are.

    Raises:
        InvalidError: for variables that are not strings, and for what are no secrets.
        UnimplementedError: for a GPU.
    """
    if gpu is not None:
        raise unimplemented(f"Image.{where}(gpu=...)")
    fields: dict[str, object] = {}
    if env:
        fields["env"] = checked_environment(env, f"{where}: env")
    if secrets:
        fields["secrets"] = secret_variables(where, secrets)
    return fields


def secret_variables(where: str, secrets: object) -> SecretVariables:
    """The variables of some secrets, for a step.

    Raises:
        InvalidError: for what are no secrets.
    """
    from volant.sdk.images import chain
    from volant.sdk.objects.secret import given_by

    return chain.SecretVariables(*given_by(where, secrets))


def published_name(name: object) -> tuple[str, str]:
    """Name and tag of a published image, from `name` or `name:tag`.

    Raises:
        InvalidError: for what cannot be one.
    """
    from volant.sdk.naming import check_name

    word, colon, tag = text("the name of an image", name).partition(":")
    if word.startswith(ID_PREFIX):
        raise InvalidError(
            f"{name!r} cannot be the name of an image: ids begin with `{ID_PREFIX}`",
            hint="use Image.from_id(...) for an id, or choose another name",
        )
    check_name("an image", word)
    if colon:
        check_name(f"image {word!r}", tag, role="tag")
    return word, tag if colon else TAG_DEFAULT


def image_id(given: object) -> str:
    """The id of an image.

    Raises:
        InvalidError: for what cannot be one.
    """
    if isinstance(given, str) and given.startswith(ID_PREFIX) and given[3:].isalnum():
        return given
    raise InvalidError(
        f"{given!r} is not the id of an image: those begin with `{ID_PREFIX}`",
        hint="use Image.from_name(...) for a published name",
    )


def registry_reference(tag: object) -> str:
    """A name in a registry with all its parts: `python:3.12` is `docker.io/library/python:3.12`.

    Raises:
        InvalidError: for what cannot be one.
    """
    import re

    given = text("from_registry: tag", tag)
    rest, at, digest = given.partition("@")
    host, slash, path = rest.partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host):
        host, path = "docker.io", rest
    repository, colon, version = path.partition(":")
    if host == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    part = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    good = (
        re.fullmatch(r"[A-Za-z0-9.-]+(?::[0-9]+)?", host)
        and re.fullmatch(f"{part}(?:/{part})*", repository)
        and (not colon or re.fullmatch(r"\w[\w.-]{0,127}", version, re.ASCII))
        and (not at or re.fullmatch(r"sha256:[0-9a-f]{64}", digest))
    )
    if not good:
        raise InvalidError(
            f"{given!r} is not the name of an image in a registry",
            hint='for example "python:3.12-slim" or "ghcr.io/owner/image:tag"',
        )
    if not colon and not at:
        colon, version = ":", "latest"
    return f"{host}/{repository}{colon}{version}{at}{digest}"


def container_path(where: str, path: object, workdir: str | None) -> str:
    """An absolute path in a container; a relative one lies in the working directory.

    Args:
        workdir: the working directory at this step, None when the base decides and says later.

    Raises:
        InvalidError: for what is no path, and for a relative one whose directory is not known.
    """
    given = path if isinstance(path, str) else getattr(path, "__fspath__", lambda: None)()
    if not isinstance(given, str) or not given or "\0" in given:
        raise InvalidError(f"{where} must be a path in the container, got {path!r}")
    if not given.startswith("/") and workdir is None:
        raise InvalidError(
            f"{where} {given!r} is relative, and the working directory of this base is not known",
            hint='write an absolute path, or put .workdir("/...") before this step',
        )
    return posixpath.normpath(posixpath.join(workdir or "/", given)).replace("//", "/")


def repository_name(given: object) -> str:
    """A repository of a hosting service, as `github.com/owner/name[@reference]`.

    Raises:
        InvalidError: for anything else.
    """
    parts = given.split("/") if isinstance(given, str) else []
    if len(parts) >= 3 and parts[0] in _REPOSITORY_HOSTS and all(parts):
        return "/".join(parts)
    raise InvalidError(
        f"pip_install_private_repos: {given!r} is not a repository that can be reached",
        hint=f'for example "github.com/owner/name@main"; hosts: {", ".join(_REPOSITORY_HOSTS)}',
    )


def instruction(where: str, word: str, line: str) -> str:
    """The name of an instruction of a Dockerfile, in capitals.

    Raises:
        InvalidError: for one that does not exist, or that means nothing here.
    """
    name = word.upper()
    if name in _INSTRUCTIONS_REFUSED:
        raise InvalidError(
            f"{where}: {name} has no meaning for containers of functions, in {line!r}",
            hint="leave the line out",
        )
    if name not in _INSTRUCTIONS:
        raise InvalidError(
            f"{where}: {line!r} is no instruction of a Dockerfile",
            hint=f"for a command write RUN {line}, or use run_commands",
        )
    return name
