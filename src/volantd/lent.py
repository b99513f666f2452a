"""Packages of this installation that every image is lent, and none contains."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from pathlib import Path

from volantd import syncing

#: What serves web functions, with all that it imports; `typing_extensions` is a single module.
WEB_PACKAGES = ("a2wsgi", "click", "h11", "typing_extensions", "uvicorn", "websockets")
#: Compiled modules are for this Python only, and all of these packages do without.
_LEFT_OUT = shutil.ignore_patterns("*.so", "*.c", "*.pyi", "licenses")


def package_dir(name: str) -> str:
    """Where an installed package lies on this machine."""
    found = importlib.util.find_spec(name)
    assert found is not None and found.submodule_search_locations is not None
    return os.path.abspath(next(iter(found.submodule_search_locations)))


def directory(home: str) -> str:
    """The directory with copies of what web functions are lent, in a daemon's home.

    Containers see it as one, and nothing else of this installation. It is made when it is not there
    or one of the packages has changed, and those before it are removed. Nothing of it is synced, so
    after another start of the machine it is made anew.
    """
    origins = [_origin(name) for name in WEB_PACKAGES]
    marks = [f"{path} {os.stat(path).st_mtime_ns} {os.stat(path).st_size}" for path in origins]
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
        Path(about).write_text(boot, encoding="ascii")
        os.rename(made, wanted)
    return wanted


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
