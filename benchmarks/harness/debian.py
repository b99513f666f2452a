"""Programs of Debian that are peers: taken from this machine, or fetched and unpacked beside us."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness.contestant import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: Program -> packages that hold it and what it needs.
PACKAGES = {
    "nginx": ("nginx",),
    "redis-server": ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1"),
    "wrk": ("wrk", "libluajit-5.1-2", "libluajit-5.1-common"),
}
_PLACE = ROOT / ".venv-bench" / "debian"


class Program(NamedTuple):
    """A program, and the environment that it starts with."""

    path: str
    env: dict[str, str]


def find(name: str) -> Program:
    """A program, fetched by the package manager of this machine if it is not installed.

    Raises:
        RuntimeError: when it can be had in neither way.
    """
    installed = shutil.which(name)
    if installed is not None:
        return Program(installed, dict(os.environ))
    unpacked = _PLACE / name
    found = _in(unpacked, name)
    if found is None:
        _fetch(unpacked, PACKAGES[name])
        found = _in(unpacked, name)
    if found is None:
        raise RuntimeError(f"{name} is not in its package")
    libraries = ":".join(str(path) for path in unpacked.glob("usr/lib/*-linux-gnu"))
    return Program(str(found), {**os.environ, "LD_LIBRARY_PATH": libraries})


def _in(place: Path, name: str) -> Path | None:
    return next((path for path in place.glob(f"usr/*bin/{name}")), None)


def _fetch(place: Path, packages: tuple[str, ...]) -> None:
    archives = place / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["apt-get", "download", *packages],
        cwd=archives,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"apt-get cannot fetch {', '.join(packages)}:\n{done.stderr}")
    for archive in archives.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, place], check=True)
