"""A small image made of this machine's own Python, for tests that need a base and no network."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import uv

#: Programs of the base besides Python.
PROGRAMS = (
    "sh", "cat", "chmod", "chown", "id", "ln", "ls", "mkdir", "mkfifo", "mv", "rm", "setpriv",
    "sleep", "stat",
)  # fmt: skip
#: As its directory of the standard library is called.
SERIES = f"python{sys.version_info[0]}.{sys.version_info[1]}"
#: Debian's own Python has its files elsewhere than all others.
IS_OF_DEBIAN = "deb_system" in sysconfig.get_scheme_names()
PREFIX = "usr" if IS_OF_DEBIAN else "usr/local"
PYTHON = f"/{PREFIX}/bin/python3"
#: The directory that packages are installed in, below the one of the series in /usr/local/lib.
SITE = "dist-packages" if IS_OF_DEBIAN else "site-packages"
#: Parts of the standard library that no test needs.
_LEFT_OUT = {
    "__pycache__", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tests", "tkinter",
    "turtledemo",
}  # fmt: skip


def layer() -> bytes:
    """The base's one layer, a tar archive."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        stdlib = Path(sysconfig.get_path("stdlib"))
        archive.add(stdlib, f"{PREFIX}/lib/{SERIES}", filter=_wanted)
        python = Path(sys.executable).resolve()
        archive.add(python, PYTHON[1:])
        programs = [Path(found) for name in PROGRAMS if (found := shutil.which(name))]
        for program in programs:
            archive.add(program.resolve(), f"usr/bin/{program.name}")
        lent = Path(uv.find_uv_bin())  # no part of the base, and needs what it is linked with
        for library in _libraries([python, lent, *programs, *stdlib.glob("lib-dynload/*.so")]):
            archive.add(library.resolve(), f"usr/lib/base/{library.name}")
        loader = next(path for path in _libraries([python]) if path.name.startswith("ld-linux"))
        archive.add(loader.resolve(), str(loader).lstrip("/"))
        archive.addfile(_link("bin", "usr/bin"))
    return target.getvalue()


def bare_layer() -> bytes:
    """A layer with a few programs and the C library where its linker looks, and no Python."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        programs = [Path(found) for name in PROGRAMS if (found := shutil.which(name))]
        for program in programs:
            archive.add(program.resolve(), f"usr/bin/{program.name}")
        needed = {*_libraries(programs), *filter(_is_of_c, _libraries([Path(sys.executable)]))}
        for library in sorted(needed):
            archive.add(library.resolve(), str(library).lstrip("/"))
        archive.addfile(_link("bin", "usr/bin"))
    return target.getvalue()


def _is_of_c(library: Path) -> bool:
    return re.match(r"lib(c|m|dl|pthread|util|rt)\.so", library.name) is not None


def empty_layer() -> bytes:
    """A layer with a directory and nothing else."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        directory = tarfile.TarInfo("srv")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(directory)
    return target.getvalue()


def config() -> dict[str, object]:
    """What the base says about itself."""
    env = ["LD_LIBRARY_PATH=/usr/lib/base", "PATH=/usr/local/bin:/usr/bin:/bin", "FROM_BASE=yes"]
    return {"config": {"Env": env}}


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _LEFT_OUT.intersection(entry.name.split("/")) else entry


def _link(name: str, target: str) -> tarfile.TarInfo:
    link = tarfile.TarInfo(name)
    link.type = tarfile.SYMTYPE
    link.linkname = target
    return link


def _libraries(programs: list[Path]) -> list[Path]:
    asked = subprocess.run(
        ["ldd", *programs], capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    found = re.findall(r"(?:=>)?\s(/\S+) \(0x", asked.stdout)
    return [Path(path) for path in dict.fromkeys(found)]
