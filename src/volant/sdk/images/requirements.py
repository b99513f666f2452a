"""Lists of packages that live in local files: requirements, `pyproject.toml`, lock files.

Requirements travel as one text, with the files that they include put in their place. What only
this machine could install (a local directory, an editable package) is refused early.
"""

from __future__ import annotations

import os

from volant.errors import InvalidError, NotFoundError
from volant.sdk.ambient import is_local
from volant.sdk.images.local import Content, local_path, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.sdk.images.local import Gathered

#: How deep requirements files may include each other.
_DEPTH_MAX = 10
_INCLUDES = ("-r", "--requirement")
#: What a line may begin with although other files or this machine would be needed.
_REFUSED = {
    "-c": "constraints cannot be sent",
    "--constraint": "constraints cannot be sent",
    "-e": "an editable package stays on this machine",
    "--editable": "an editable package stays on this machine",
    ".": "a local package stays on this machine",
    "/": "a local package stays on this machine",
    "file:": "a local package stays on this machine",
}


class Requirements:
    """The text of requirements files, read when an app runs."""

    __slots__ = ("paths",)

    def __init__(self, paths: list[str]) -> None:
        """Take the files.

        Raises:
            InvalidError: for lines that an image cannot follow.
            NotFoundError: when one of them is not there.
        """
        self.paths = paths
        if is_local():
            self._text()

    def read(self, gathered: Gathered) -> str:
        """The digest of the text, for the wire."""
        return gathered.add_bytes(self._text().encode())

    def _text(self) -> str:
        lines: list[str] = []
        for path in self.paths:
            _add_lines(path, lines, 0)
        return "".join(f"{line}\n" for line in lines)


def _add_lines(path: str, lines: list[str], depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise InvalidError(f"requirements files include each other, the last is {path}")
    for line in read_text(path).replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        included = _included(line)
        if included is not None:
            beside = os.path.join(os.path.dirname(path), included)
            _add_lines(local_path(f"{path}: {line}", beside), lines, depth + 1)
            continue
        for start, reason in _REFUSED.items():
            if line.startswith(start):
                raise InvalidError(
                    f"{path}: {line!r} cannot be installed in an image: {reason}",
                    hint="write the packages themselves; for sources of your own use "
                    "add_local_python_source",
                )
        lines.append(line)


def _included(line: str) -> str | None:
    """The file that a line includes, None if it is another line."""
    for option in _INCLUDES:
        rest = line.removeprefix(option)
        if rest != line and (option == "-r" or rest[:1] in (" ", "=")):
            return rest.lstrip(" =").partition(" #")[0].strip()
    return None


class PyprojectPackages:
    """The dependencies of a `pyproject.toml`, read when an app runs."""

    __slots__ = ("groups", "path")

    def __init__(self, path: str, groups: list[str]) -> None:
        """Take the file and its optional groups.

        Raises:
            InvalidError: when the file lists no dependencies, or lacks a group.
        """
        self.path = path
        self.groups = groups
        if is_local():
            self._packages()

    def read(self, gathered: Gathered) -> list[str]:
        """The packages, sorted, for the wire."""
        return self._packages()

    def _packages(self) -> list[str]:
        project = read_toml(self.path).get("project", {})
        found = project.get("dependencies")
        if found is None:
            raise InvalidError(
                f"{self.path} has no `dependencies` in its table `[project]`",
                hint="for a project of Poetry use poetry_install_from_file, for one of uv uv_sync",
            )
        optional = project.get("optional-dependencies", {})
        for group in self.groups:
            if group not in optional:
                raise InvalidError(
                    f"{self.path} has no optional dependencies {group!r}",
                    hint=f"it has: {', '.join(sorted(optional)) or 'none'}",
                )
        return sorted({*found, *(word for group in self.groups for word in optional[group])})


def read_toml(path: str) -> dict[str, Any]:
    """A TOML file.

    Raises:
        InvalidError: when it cannot be read or is not valid.
    """
    import tomllib  # type: ignore[import-not-found,unused-ignore]  # not in 3.10

    try:
        tables: dict[str, Any] = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InvalidError(f"{path} is not valid TOML: {error}") from error
    return tables


def uv_project(directory: str) -> tuple[Content, Content | None]:
    """The `pyproject.toml` and, if there is one, the `uv.lock` of a project.

    Raises:
        InvalidError: for a workspace of several packages.
        NotFoundError: when there is no `pyproject.toml`.
    """
    pyproject = local_path("uv_sync", os.path.join(directory, "pyproject.toml"))
    lock = os.path.join(directory, "uv.lock")
    if is_local() and "workspace" in read_toml(pyproject).get("tool", {}).get("uv", {}):
        raise InvalidError(
            f"uv_sync: {pyproject} is a workspace of several packages",
            hint="give the directory of one project without `[tool.uv.workspace]`",
        )
    return Content(pyproject), Content(lock) if os.path.isfile(lock) else None


def poetry_lock(pyproject: str, given: object, *, is_ignored: bool) -> Content | None:
    """The lock file of a project of Poetry: the one given, or the one beside it.

    Raises:
        NotFoundError: when there is none and it is not to be ignored.
    """
    if is_ignored:
        return None
    if given is not None:
        return Content(local_path("poetry_install_from_file: poetry_lockfile", given))
    beside = os.path.join(os.path.dirname(pyproject), "poetry.lock")
    if is_local() and not os.path.isfile(beside):
        raise NotFoundError(
            f"poetry_install_from_file: there is no {beside}",
            hint="make one with `poetry lock`, or pass ignore_lockfile=True",
        )
    return Content(beside)
