"""Packages of this installation that every image is lent, and none contains.

Some serve web functions. Others are guises: packages that give out Volant's names as those of
another package, for programs that import that one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
from importlib import metadata
from pathlib import Path

from volant.runner.libraries import guises as places
from volantd import syncing

#: What serves web functions, with all that it imports; `typing_extensions` is a single module.
WEB_PACKAGES = ("a2wsgi", "click", "h11", "typing_extensions", "uvicorn", "websockets")
#: By entry points of this group distributions say that a package of theirs is a guise.
GUISES_GROUP = "volant.guises"
_OWN_PREFIX = "VOLANT_"
#: Compiled modules are for this Python only, and all of these packages do without.
_LEFT_OUT = shutil.ignore_patterns("*.so", "*.c", "*.pyi", "licenses")


def package_dir(name: str) -> str:
    """Where an installed package lies on this machine."""
    found = importlib.util.find_spec(name)
    assert found is not None and found.submodule_search_locations is not None
    return os.path.abspath(next(iter(found.submodule_search_locations)))


@functools.cache
def guises() -> tuple[str, ...]:
    """Top-level names of the guises that were installed when this process first asked.

    A name that leads nowhere, as of a distribution that is half removed, is none.
    """
    found = {point.value for point in metadata.entry_points(group=GUISES_GROUP)}
    return tuple(sorted(name for name in found if name.isidentifier() and _is_there(name)))


def _is_there(name: str) -> bool:
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None


def under_all_names(variables: dict[str, str]) -> dict[str, str]:
    """Variables that tell a container of itself, also as a program written for a guise knows them.

    Args:
        variables: those whose names begin with `VOLANT_` are given under the others' prefixes too.
    """
    told = [item for item in variables.items() if item[0].startswith(_OWN_PREFIX)]
    copies = {
        f"{guise.upper()}_{name.removeprefix(_OWN_PREFIX)}": value
        for guise in guises()
        for name, value in told
    }
    return {**copies, **variables}


def container_marks(container_id: str, app_id: str, environment: str) -> dict[str, str]:
    """Variables that tell the programs of a container where they are, under all names."""
    return under_all_names({
        "VOLANT_CONTAINER_ID": container_id, "VOLANT_TASK_ID": container_id,
        "VOLANT_APP_ID": app_id, "VOLANT_ENVIRONMENT": environment,
    })  # fmt: skip


def without_names(variables: dict[str, str]) -> dict[str, str]:
    """Variables less those that tell a container of itself, under any name."""
    prefixes = (_OWN_PREFIX, *(f"{guise.upper()}_" for guise in guises()))
    return {name: value for name, value in variables.items() if not name.startswith(prefixes)}


def directory(home: str) -> str:
    """The directory with copies of what is lent, in a daemon's home; guises have one in it.

    Containers see it as one, and nothing else of this installation. It is made when it is not there
    or one of the packages has changed, and those before it are removed. Nothing of it is synced, so
    after another start of the machine it is made anew.
    """
    origins = [_origin(name) for name in WEB_PACKAGES]
    fronts = [_origin(name) for name in guises()]
    marks = [f"{path} {os.stat(path).st_mtime_ns} {os.stat(path).st_size}" for path in origins]
    marks += _marks_of(fronts)
    key = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]
    parent = os.path.join(home, "lent")
    wanted = os.path.join(parent, key)
    about = os.path.join(parent, "boot")
    boot = syncing.boot()
    if not os.path.isdir(wanted) or _read(about) != boot:
        shutil.rmtree(parent, ignore_errors=True)
        made = os.path.join(parent, "new")
        os.makedirs(made)
        for path in origins:
            _copy(path, made)
        put_guises(os.path.join(made, places.NAME))
        Path(about).write_text(boot, encoding="ascii")
        os.rename(made, wanted)
    return wanted


def put_guises(target: str) -> None:
    """Copy the guises into a directory, which is made."""
    os.makedirs(target)
    for name in guises():
        _copy(_origin(name), target)


def _marks_of(origins: list[str]) -> list[str]:
    """What changes with any file of some packages."""
    files = [file for path in origins for file in sorted(Path(path).parent.rglob("*.py"))]
    return [f"{file} {file.stat().st_mtime_ns} {file.stat().st_size}" for file in files]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""


def _origin(name: str) -> str:
    found = importlib.util.find_spec(name)
    assert found is not None and found.origin is not None
    return os.path.abspath(found.origin)


def _copy(origin: str, target: str) -> None:
    """Copy a package, or a single module, with its byte code if that is there."""
    source, name = os.path.split(origin)
    if name == "__init__.py":
        shutil.copytree(source, os.path.join(target, os.path.basename(source)), ignore=_LEFT_OUT)
        return
    shutil.copy2(origin, target)
    compiled = importlib.util.cache_from_source(origin)
    if os.path.exists(compiled):
        os.makedirs(os.path.join(target, "__pycache__"), exist_ok=True)
        shutil.copy2(compiled, os.path.join(target, "__pycache__"))
