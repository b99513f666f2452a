"""A CRIU of Debian for the tests: found or fetched.

Where none is installed that fits this kernel, packages of Debian's mirror, as apt of this machine
has it, are unpacked into the clone with their libraries; nothing is installed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.support import ROOT
from volant.errors import ExecutionError, ImageBuildError
from volantd.agent.sandboxes.copies.program import Criu
from volantd.images.debian.sources import KEYRING, sources

if TYPE_CHECKING:
    from pathlib import Path

FETCHED = ROOT / ".criu"
MISSING = "CRIU is neither installed nor to be had from Debian"
#: Where there always is a new one.
SUITE = "sid"
#: Of all that it depends on: itself, its libraries, and the C library for which they were made.
_NEEDED = re.compile(r"(criu|lib.*|zlib1g)$")
#: How long fetching the packages may take.
FETCH_S = 240.0


class UnavailableError(Exception):
    """There is no CRIU, and none is to be had."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{MISSING}: {why}")


def find() -> str:
    """What `criu_path` has to be: "" for what is installed.

    Raises:
        UnavailableError: when it is not installed, and cannot be unpacked.
    """
    if _works(""):
        return ""
    FETCHED.mkdir(exist_ok=True)
    tree = FETCHED / "tree"
    with (FETCHED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _works(str(tree)):
            _fetch(tree)
    if not _works(str(tree)):
        raise UnavailableError("what apt has of it does not work")
    return str(tree)


def _works(place: str) -> bool:
    try:
        asyncio.run(Criu(place).program())
    except ExecutionError:
        return False
    return True


def _fetch(tree: Path) -> None:
    state, archives, entries = (FETCHED / name for name in ("state", "archives", "debian.list"))
    for directory in (state / "lists/partial", archives / "partial", tree):
        directory.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()  # as if nothing were installed: what is chosen is the same anywhere
    options = {
        "Dir::State": state, "Dir::State::status": state / "status", "Dir::Cache": archives,
        "Dir::Etc::sourcelist": entries, "Dir::Etc::sourceparts": "-", "Debug::NoLocking": 1,
        "APT::Sandbox::User": "", "Acquire::Retries": 2,
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    try:
        mirror = asyncio.run(sources("", SUITE)).entries[0][0]
        entries.write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n")
        _run(*apt, "update")
        wanted = ["--simulate", "--no-install-recommends", "install", "criu"]
        names = re.findall(r"^Inst (\S+)", _run(*apt, *wanted), re.MULTILINE)
        _run(*apt, "download", *(name for name in names if _NEEDED.match(name)), cwd=archives)
        for archive in archives.glob("*.deb"):
            _run("dpkg-deb", "-x", str(archive), str(tree))
        shutil.rmtree(archives)
    except (ImageBuildError, OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
        raise UnavailableError(said) from None


def _run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        words, cwd=cwd, check=True, timeout=FETCH_S, capture_output=True, text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    return done.stdout
