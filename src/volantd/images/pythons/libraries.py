"""The shared libraries that a Python of this machine needs, brought into an image.

An image of the same distribution, as old or newer, gets the packages that they belong to. Any
other image gets copies of those that it lacks, where its C library lies: its own linker looks
there, and a package that brings one later takes its place.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from volant.errors import ImageBuildError
from volantd.images.debian.sources import OS_RELEASE, os_release
from volantd.images.kept.tree import find, has_file, text_in
from volantd.images.programs import output_of
from volantd.images.pythons.moving import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.images.pythons.found import FoundPython

_NEEDED = re.compile(r"^\s*(\S+) => (/\S+) \(0x", re.MULTILINE)
#: Part of the C library, which every image brings itself: mixing two of them breaks both.
_OF_C = re.compile(
    r"(ld-linux.*|lib(c|m|pthread|dl|rt|util|resolv|anl|nss_\w+|BrokenLocale))\.so.*"
)
_OWNED = re.compile(r"^([a-z0-9][a-z0-9.+-]+)(?::[a-z0-9-]+)?: /", re.MULTILINE)
_INSTALLED = re.compile(r"^Package: (\S+)\nStatus: install ok installed$", re.MULTILINE)
_C_LIBRARY = "libc.so.6"


async def needed(python: FoundPython) -> dict[str, str]:
    """Libraries beside those of C and its own: name -> path on this machine."""
    programs = [
        os.path.join(python.prefix, name)
        for name in files(python)
        if name == f"bin/python{python.series}" or ".so" in name
    ]
    printed = await output_of("ldd", *programs) if shutil.which("ldd") else ""
    return {
        name: path
        for name, path in _NEEDED.findall(printed)
        if not _OF_C.fullmatch(name) and not path.startswith(python.prefix + "/")
    }


async def packages(paths: list[str], layers: Sequence[str]) -> list[str] | None:
    """The packages that an image lacks of those that own libraries here.

    Args:
        paths: of libraries on this machine.
        layers: directories of the image, the lowest first.

    Returns:
        Their names, or None for an image that cannot take packages of this machine.
    """
    if not _is_kin(layers) or shutil.which("dpkg") is None:
        return None
    # A library is owned under the path that its package had before /lib became a link.
    merged = [path for real in paths for path in (real, real.removeprefix("/usr"), f"/usr{real}")]
    # It fails when it does not know one of them.
    printed = await output_of("sh", "-c", 'dpkg -S "$@" 2>/dev/null || true', "sh", *merged)
    status = text_in(layers, "/var/lib/dpkg/status")
    return sorted({*_OWNED.findall(printed)} - {*_INSTALLED.findall(status)})


def copy(libraries: dict[str, str], layers: Sequence[str], place: str) -> None:
    """Copy libraries that an image lacks into a layer.

    Raises:
        ImageBuildError: for an image whose C library is another.
    """
    directories = [f"/lib/{os.uname().machine}-linux-gnu", "/lib64", "/lib", "/usr/lib64"]
    found = [
        directory for path in directories
        if (directory := find(layers, path)) and has_file(layers, f"{directory}/{_C_LIBRARY}")
    ]  # fmt: skip
    if not found:
        raise ImageBuildError(
            "a Python of this machine cannot run in this image: it has no GNU C library",
            hint="begin with an image that has Python, or with one of Debian or its kin",
        )
    target = os.path.join(place, "diff" + found[0])
    os.makedirs(target, exist_ok=True)
    for name, path in libraries.items():
        if not any(has_file(layers, f"{directory}/{name}") for directory in found):
            shutil.copy(path, os.path.join(target, name))


def _is_kin(layers: Sequence[str]) -> bool:
    """Whether an image is of this machine's distribution, and no older."""
    image = os_release(text_in(layers, OS_RELEASE).splitlines())
    try:
        with open(OS_RELEASE, encoding="utf-8", errors="replace") as file:
            here = os_release(file)
        versions = [tuple(map(int, one["VERSION_ID"].split("."))) for one in (image, here)]
    except (OSError, KeyError, ValueError):
        return False
    return image["ID"] == here["ID"] and versions[0] >= versions[1]
