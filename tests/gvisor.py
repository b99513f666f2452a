"""gVisor for the tests: found on this machine, or fetched from Debian.

The release of Debian 13 is a static program that runs on other machines as well, so its package is
unpacked into the clone, from the mirror that apt of this machine has; nothing is installed.
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
from volant.errors import ImageBuildError
from volantd.agent.sandboxes.kernels.gvisor import OLDEST, PROGRAM
from volantd.images.debian.sources import sources

if TYPE_CHECKING:
    from pathlib import Path

FETCHED = ROOT / ".gvisor"
#: Where it is looked for first: `conftest` has this in PATH, for daemons as well.
PROGRAMS = FETCHED / "tree/usr/bin"
MISSING = "gVisor is neither installed nor to be had from Debian"
SUITE = "trixie"
#: How long fetching may take.
FETCH_S = 120.0


#: What sandboxes run on in this run of the tests, where these do not say it.
RUNTIME_VARIABLE = "TESTS_SANDBOX_RUNTIME"


class UnavailableError(Exception):
    """There is none, and none can be had."""


def find() -> str:
    """The path of a program that will do, which daemons find as well.

    Raises:
        UnavailableError: there is none, and none can be fetched.
    """
    found = _installed()
    if found is not None:
        return found
    try:
        FETCHED.mkdir(exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{MISSING}: {error}") from None
    with (FETCHED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _installed() is None:
            _fetch()
    found = _installed()
    if found is None:
        raise UnavailableError(f"{MISSING}: what there is is too old")
    return found


def default_runtime() -> str:
    """What sandboxes of this run are on, where a test does not say it."""
    return os.environ.get(RUNTIME_VARIABLE, "container")


def _installed() -> str | None:
    found = shutil.which(PROGRAM, path=PROGRAMS) or shutil.which(PROGRAM)
    if found is None:
        return None
    said = subprocess.run([found, "--version"], check=False, capture_output=True, text=True).stdout
    release = re.search(r"20\d{6}", said)
    return found if release is not None and int(release[0]) >= OLDEST else None


def _fetch() -> None:
    state, archives, parts = (FETCHED / name for name in ("state", "archives", "sources"))
    for directory in (parts, state / "lists/partial", archives / "partial", FETCHED / "tree"):
        directory.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {
        "Dir::State": state, "Dir::State::status": state / "status", "Dir::Cache": archives,
        "Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": parts,
        "Debug::NoLocking": 1, "APT::Sandbox::User": "", "Acquire::Retries": 2,
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    try:
        (parts / "debian.sources").write_text(asyncio.run(sources("", SUITE)).text())
        _run(*apt, "update")
        _run(*apt, "download", PROGRAM, cwd=archives)
        for archive in archives.glob("*.deb"):
            _run("dpkg-deb", "-x", str(archive), str(FETCHED / "tree"))
        for directory in (archives, state, parts):
            shutil.rmtree(directory)
    except (subprocess.SubprocessError, OSError, ImageBuildError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
        raise UnavailableError(f"{MISSING}: {said}") from None


def _run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        words, cwd=cwd, check=True, timeout=FETCH_S, capture_output=True, text=True
    )
    return done.stdout
