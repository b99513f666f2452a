"""The layer that every image of Debian begins with: made once, of verified archives.

    apt-get update, download   apt of this machine, in a root of its own
    dpkg-deb | tar             extracted on this machine; nothing of it runs
    dpkg --install             in a step: maintainer scripts see the new layer and nothing else
    store.keep                 times that would tell one machine from another go

The id of the layer says the suite and is a hash of all that it is made of, so two machines make
the same layer of the same packages.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from volant.errors import ImageBuildError
from volantd.images.debian import sources
from volantd.images.debian.archives import Archive, parse_wanted
from volantd.images.files import SETTLED_S, put
from volantd.images.programs import output_of
from volantd.patience import on_thread

if TYPE_CHECKING:
    from volantd.images.debian.sources import Sources
    from volantd.images.workbench import Workbench

#: Part of the layer's id: raise it when what is made of the same packages changes.
RECIPE = 1
#: What apt is asked for: what slim images elsewhere have, names of protocols and time zones too.
#: The last one says that /bin is /usr/bin where a suite has to be told.
PACKAGES = (
    "?essential", "apt", "ca-certificates", "netbase", "tzdata", "?name(^usr-is-merged$)",
)  # fmt: skip
_MERGED = ("bin", "sbin", "lib")
#: Documents are no part of images, as they are none of slim images elsewhere.
EXCLUDED = ("doc", "doc-base", "groff", "info", "lintian", "linda", "locale", "man")
FILES = {
    "etc/apt/apt.conf.d/50image": (
        'Acquire::Languages "none";\nAcquire::GzipIndexes "true";\n'
        'Apt::AutoRemove::SuggestsImportant "false";\n'
    ),
    "etc/dpkg/dpkg.cfg.d/50image": "".join(
        ["force-unsafe-io\n"]
        + [f"path-exclude=/usr/share/{name}/*\n" for name in EXCLUDED]
        + ["path-include=/usr/share/doc/*/copyright\n"]
    ),
    # Nothing is started where nothing supervises it.
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}
ARCHIVES = "/var/cache/apt/archives"
#: Runs in the new layer, which nothing of this machine is in: so a link leads nowhere but there.
CONFIGURE = f"""
set -e
[ -e /usr/bin/awk ] || ln -s mawk /usr/bin/awk
dpkg --force-depends --install {ARCHIVES}/*.deb
cd /
rm -f etc/.pwd.lock etc/hostname etc/machine-id etc/group- etc/gshadow- etc/passwd- etc/shadow-
rm -f etc/subgid- etc/subuid- var/cache/debconf/*-old var/cache/debconf/passwords.dat
rm -f var/cache/ldconfig/aux-cache var/lib/dpkg/*-old var/lib/dpkg/lock var/lib/dpkg/lock-frontend
find run tmp var/log var/lib/apt/lists -type f -delete
cd /usr/share
find {" ".join(EXCLUDED)} ! -type d ! -name copyright -delete 2>/dev/null || true
find {" ".join(EXCLUDED)} -mindepth 1 -type d -empty -delete 2>/dev/null || true
mkdir -p {" ".join(f"man/man{section}" for section in range(1, 9))}
"""


async def debian_layer(bench: Workbench, suite: str, *, anew: bool) -> str:
    """The id of Debian's layer, which is made if it is not here.

    Args:
        suite: such as `trixie`.
        anew: make it again, of what the mirror has now.

    Raises:
        ImageBuildError: when this machine cannot; the hint says what it needs.
    """
    beginning = f"debian-{suite}-"
    return await bench.once(beginning, partial(_make, suite, beginning, anew))


async def _make(suite: str, beginning: str, anew: bool, bench: Workbench) -> str:
    found = bench.store.newest_layer(beginning)
    if found is not None and not anew:
        return found
    where = await sources.sources(bench.choice("image_debian_mirror"), suite)
    bench.say(f"volant: making Debian {where.suite} of {where.entries[0][0]}\n".encode())
    async with bench.scratch() as scratch:
        apt = await _Apt.begin(scratch, where)
        wanted = await apt.wanted(bench)
        layer_id = beginning + _hash(wanted, where, apt.options)
        await apt.download(bench)
        async with bench.new_layer(layer_id) as place:
            root = os.path.join(place, "diff")
            await on_thread(_extract, root, apt.archives, where, apt.options)
            await bench.run(
                place, ("/bin/sh", "-c", CONFIGURE), what="dpkg --install", layers=(), cwd="/",
                shared=((apt.archives, ARCHIVES),),
                env={"DEBIAN_FRONTEND": "noninteractive", "SOURCE_DATE_EPOCH": str(SETTLED_S)},
            )  # fmt: skip
    return layer_id


class _Apt:
    """This machine's apt, working in a directory that is otherwise empty.

    Attributes:
        archives: where it puts what it downloads.
        options: how it reaches mirrors.
    """

    def __init__(self, root: str, options: dict[str, str]) -> None:
        self.archives = root + ARCHIVES
        self.options = options
        self._config = os.path.join(root, "apt.conf")

    @classmethod
    async def begin(cls, root: str, where: Sources) -> _Apt:
        """Make the directory what apt expects."""
        apt = cls(root, await sources.reaching())
        for name in (
            "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d",
            "etc/apt/trusted.gpg.d", "var/lib/apt/lists/partial", "var/lib/dpkg",
            f"{ARCHIVES[1:]}/partial",
        ):  # fmt: skip
            os.makedirs(os.path.join(root, name))
        put(f"{root}/var/lib/dpkg/status", b"")
        put(f"{root}/etc/apt/sources.list.d/debian.sources", where.text().encode())
        options = {
            "Dir": root,
            # The directories of a daemon home are its user's alone.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::ForceHash": "SHA256",
            "APT::Install-Recommends": "false",
            **apt.options,
        }
        lines = [f'{name} "{value}";\n' for name, value in options.items()]
        put(f"{root}/apt.conf", "".join(lines).encode())
        return apt

    async def wanted(self, bench: Workbench) -> list[Archive]:
        """What Debian is made of today."""
        await self._run("update", say=bench)
        return parse_wanted(await self._run("--print-uris", "-y", "install", *PACKAGES))

    async def download(self, bench: Workbench) -> None:
        """Fetch it, verified by the signatures of Debian."""
        await self._run("-y", "--download-only", "install", *PACKAGES, say=bench)

    async def _run(self, *words: str, say: Workbench | None = None) -> str:
        try:
            return await output_of(
                f"APT_CONFIG={self._config}", "apt-get", "-q", *words,
                say=None if say is None else say.say,
            )  # fmt: skip
        except ImageBuildError as error:
            error.hint = error.hint or sources.MIRROR_HINT
            raise


def _hash(wanted: list[Archive], where: Sources, options: dict[str, str]) -> str:
    """What tells this layer from others: all that it is made of."""
    parts = [str(RECIPE), where.text(), _checks(options), *sorted(one.digest for one in wanted)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _checks(options: dict[str, str]) -> str:
    """What apt has to know of mirrors anywhere; proxies are those of a machine."""
    kept = {name: value for name, value in options.items() if "::Check-" in name}
    return "".join(f'{name} "{value}";\n' for name, value in sorted(kept.items()))


def _extract(root: str, archives: str, where: Sources, options: dict[str, str]) -> None:
    """Put the files of all archives into the layer, without running any."""
    for name in _MERGED:
        os.makedirs(os.path.join(root, "usr", name))
        os.symlink(f"usr/{name}", os.path.join(root, name))
    if os.uname().machine == "x86_64":
        os.mkdir(os.path.join(root, "usr/lib64"))
        os.symlink("usr/lib64", os.path.join(root, "lib64"))
    for entry in sorted(os.scandir(archives), key=lambda entry: entry.name):
        if entry.name.endswith(".deb"):
            _unpack(entry.path, root)
    for name, text in FILES.items():
        put(f"{root}/{name}", text.encode(), 0o755 if "/sbin/" in name else 0o644)
    checks = _checks(options)
    if checks:
        put(f"{root}/etc/apt/apt.conf.d/51mirror", checks.encode())
    put(f"{root}/etc/apt/sources.list.d/debian.sources", where.text().encode())
    for name in ("status", "available"):
        put(f"{root}/var/lib/dpkg/{name}", b"")


def _unpack(archive: str, root: str) -> None:
    packed = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
    unpacked = subprocess.run(
        ["tar", "-x", "-p", "--numeric-owner", "--keep-directory-symlink", "-C", root],
        stdin=packed.stdout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if packed.wait() or unpacked.returncode:
        raise ImageBuildError(f"{os.path.basename(archive)} cannot be unpacked: {unpacked.stderr}")
