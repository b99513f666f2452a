"""Installs packages into a layer with the apt of the image, in steps that see nothing else.

apt-get update, --print-uris ─► what is wanted ─► copies of the archives that are here
apt-get install              ─► layer            ─► archives that are new are kept
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from volant.errors import ImageBuildError
from volantd.images.debian import sources
from volantd.images.debian.archives import Archives, parse_wanted
from volantd.images.files import SETTLED_S
from volantd.patience import on_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from volantd.images.workbench import Workbench

ARCHIVES = "/var/cache/apt/archives"
#: Under which name downloaded archives are kept for all images.
SHELF = "archives of apt"
#: A file beside the archives: what apt is about to fetch.
_WANTED = "wanted"
_WANTED_BYTES_MAX = 16 << 20
_FIRST = """
command -v apt-get >/dev/null || {
    echo "volant: this image has no apt-get: packages of Debian need an image of its kin"
    exit 127
}
"""
#: What apt leaves and nobody needs. It is removed in the step: a link of the image leads elsewhere
#: on this machine.
_LAST = """
rm -rf /var/lib/apt/lists/*_* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache
rm -f /var/lib/apt/lists/lock
rm -f /var/cache/debconf/*-old /var/lib/dpkg/*-old
for name in passwd group shadow gshadow; do rm -f "/etc/$name-"; done
for name in alternatives.log dpkg.log apt/history.log apt/term.log apt/eipp.log.xz; do
    rm -f "/var/log/$name"
done
"""
ENV = {
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": str(SETTLED_S),
}


async def install(
    bench: Workbench,
    place: str,
    names: Sequence[str],
    *,
    layers: tuple[str, ...],
    env: Mapping[str, str] | None = None,
    recommended: bool = True,
) -> None:
    """Install packages and all that they need into a new layer.

    Args:
        place: of the layer.
        names: of the packages, as apt takes them.
        layers: what they are installed on.
        env: variables beside those of the image.
        recommended: whether packages come along that those are seldom without.

    Raises:
        ImageBuildError: with apt's words, which name a package that is not there.
    """
    shelf = Archives(await on_thread(bench.store.caches.directory, SHELF))
    reaching = await sources.reaching()
    options = {
        # Archives are put into a directory of this machine, which has no other users.
        "APT::Sandbox::User": "root",
        "Acquire::ForceHash": "SHA256",
        "APT::Install-Recommends": "true" if recommended else "false",
        "Dpkg::Use-Pty": "0",
        # A program or a file of this machine is none of the image.
        **{name: value for name, value in reaching.items() if not value.startswith("/")},
    }
    words = " ".join(shlex.quote(f"-o{name}={value}") for name, value in options.items())
    wanted_names = " ".join(map(shlex.quote, names))

    async with bench.scratch() as archives:

        async def run(script: str) -> None:
            await bench.run(
                place, ("/bin/sh", "-c", script), what=f"apt-get install {' '.join(names)}",
                env={**ENV, **(env or {})}, layers=layers, shared=((archives, ARCHIVES),), cwd="/",
            )  # fmt: skip

        await run(
            f"{_FIRST}apt-get -q {words} update || exit\n"
            f"apt-get -q {words} -y --print-uris install -- {wanted_names} >{ARCHIVES}/{_WANTED}"
        )
        wanted = parse_wanted(await on_thread(_read, os.path.join(archives, _WANTED)))
        await on_thread(shelf.offer, wanted, archives)
        await run(f"apt-get -q {words} -y install -- {wanted_names} || exit\n{_LAST}")
        await on_thread(shelf.keep, wanted, archives)


def _read(path: str) -> str:
    """What a step wrote into a file, if it left a plain one of a sensible size."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(_WANTED_BYTES_MAX).decode("utf-8", "replace")
    except OSError as error:
        raise ImageBuildError(f"apt did not say what it wants: {error.strerror}") from error
