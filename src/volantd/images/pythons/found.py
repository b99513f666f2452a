"""The Pythons of this machine that can be moved into an image."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uv

from volant.errors import ImageBuildError
from volantd.images.programs import output_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.images.workbench import Say

#: Where Pythons are looked for when nothing was chosen: those of pyenv, of uv, of hand.
DIRECTORIES = ("~/.pyenv/versions", "~/.local/share/uv/python", "/usr/local")
#: Modules that need libraries. What works here has to work in an image.
MODULES = (
    "ssl", "sqlite3", "ctypes", "lzma", "bz2", "zlib", "hashlib", "readline", "curses", "uuid",
    "dbm.gnu", "pyexpat",
)  # fmt: skip
PROBE_TIMEOUT_S = 60.0
#: How long uv may take to bring a Python.
BRING_TIMEOUT_S = 600.0
_PROBE = """
import importlib, importlib.util, json, sys, sysconfig
works = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        continue
    works.append(name)
told = sysconfig.get_config_vars()
print(json.dumps({
    "version": sys.version, "release": sys.version_info[:3], "prefix": sys.base_prefix,
    "is_plain": sysconfig.get_default_scheme() == "posix_prefix" and sys.prefix == sys.base_prefix
        and not told.get("Py_GIL_DISABLED") and not told.get("Py_DEBUG")
        and importlib.util.find_spec("ensurepip") is not None,
    "is_portable": bool(told.get("PYTHON_BUILD_STANDALONE")) or told["prefix"] == "/install",
    "built_for": told["prefix"],
    "stdlib": sysconfig.get_path("stdlib"), "platstdlib": sysconfig.get_path("platstdlib"),
    "include": sysconfig.get_path("include"), "works": works,
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPython:
    """An interpreter of this machine.

    Attributes:
        prefix: the directory that it is installed in.
        built_for: the directory that it says it is in, which is another for some.
        series: such as "3.12".
        release: such as (3, 12, 1).
        version: all that it says of itself, which tells one build from another.
        is_portable: whether it needs nothing of a machine but its C library.
        parts: its directories, relative to the prefix.
        works: those of `MODULES` that can be imported.
    """

    prefix: str
    built_for: str
    series: str
    release: tuple[int, ...]
    version: str
    is_portable: bool
    parts: tuple[str, ...]
    works: tuple[str, ...]


async def find(series: str, directories: str) -> FoundPython | None:
    """The Python of a series that images get: a portable one first, then the newest.

    Args:
        series: such as "3.12".
        directories: the setting `image_python_dirs`.
    """
    found = [await _examine(prefix, series) for prefix in _prefixes(series, directories)]
    usable = [one for one in found if one is not None]
    return max(usable, key=lambda one: (one.is_portable, one.release), default=None)


async def bring(series: str, place: str, say: Say) -> FoundPython | None:
    """A Python of a series that uv fetches into a directory; None when it does not.

    What uv says is heard, as it is the reason when there is none.
    """
    program = shutil.which("uv") or uv.find_uv_bin()
    say(f"volant: there is no Python {series} here; asking uv for one\n".encode())
    try:
        await output_of(
            program, "python", "install", "--install-dir", place, series,
            say=say, timeout_s=BRING_TIMEOUT_S,
        )  # fmt: skip
    except ImageBuildError:
        return None
    return await find(series, place)


def missing(series: str) -> ImageBuildError:
    """What is said when no Python of a series can be had."""
    return ImageBuildError(
        f"there is no Python {series} on this machine that could be put into an image",
        hint=f"install it (`pyenv install {series}` or `uv python install {series}`), or set "
        f"`image_python_dirs` to a directory that has bin/python{series}",
    )


def _prefixes(series: str, directories: str) -> Iterator[str]:
    """Directories with an interpreter of a series, each once."""
    chosen = directories.split(os.pathsep) if directories else [*DIRECTORIES, sys.base_prefix]
    seen = set()
    for directory in map(os.path.expanduser, chosen):
        inside = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        for prefix in (directory, *(os.path.join(directory, name) for name in inside)):
            real = os.path.realpath(prefix)
            if os.access(f"{real}/bin/python{series}", os.X_OK) and real not in seen:
                seen.add(real)
                yield real


async def _examine(prefix: str, series: str) -> FoundPython | None:
    """What an interpreter says of itself; None for one that cannot be moved."""
    program = f"{prefix}/bin/python{series}"
    try:
        printed = await output_of(program, "-I", "-c", _PROBE, *MODULES, timeout_s=PROBE_TIMEOUT_S)
        told: dict[str, Any] = json.loads(printed)
        names = ("stdlib", "platstdlib", "include")
        parts = [os.path.relpath(told[name], prefix) for name in names]
        found = FoundPython(
            prefix=prefix, built_for=told["built_for"], series=series,
            release=tuple(told["release"]), version=told["version"],
            is_portable=told["is_portable"], parts=tuple(dict.fromkeys(parts)),
            works=tuple(told["works"]),
        )  # fmt: skip
        is_whole = told["is_plain"] and os.path.realpath(told["prefix"]) == prefix
    except (ImageBuildError, KeyError, TypeError, ValueError):
        return None
    return found if is_whole and not any(part.startswith("..") for part in parts) else None
