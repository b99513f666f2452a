"""Where Debian comes from: the suite, and the mirrors that this machine's own apt uses."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volant.errors import ImageBuildError
from volantd.images.programs import output_of

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The suite of images on machines that run something else.
SUITE_DEFAULT = "trixie"
#: The Python that each suite has itself.
PYTHONS = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13", "forky": "3.14"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
OS_RELEASE = "/etc/os-release"
MIRROR_HINT = (
    "set `image_debian_mirror` to the address of a mirror, or `image_debian_reference` to an image "
    "of a registry to begin with instead"
)
_ADDRESS = re.compile(r"(?:https?|file)://[^\s'\"\\]+")
_SUITE = re.compile(r"[a-z]+")
#: An index of a suite, as `apt-get update --print-uris` names it.
_INDEX = re.compile(r"'([a-z+]+:[^'\s]+?)/?/dists/([a-z-]+)/InRelease'")
#: How apt of this machine reaches mirrors; what else it is told is no business of images.
_REACHING = re.compile(
    r'^(Acquire::(?:https?::[\w:.-]*|Retries|Check-(?:Valid-Until|Date))) "([^"\n]*)";$',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the packages of a suite are.

    Attributes:
        suite: such as `trixie`.
        entries: (address of a mirror, suites there), the main one first.
    """

    suite: str
    entries: tuple[tuple[str, tuple[str, ...]], ...]

    def text(self) -> str:
        """As a file for apt."""
        return "\n".join(
            f"Types: deb\nURIs: {address}\nSuites: {' '.join(suites)}\nComponents: main\n"
            f"Signed-By: {KEYRING}\n"
            for address, suites in self.entries
        )

    def of(self, suite: str) -> Sources:
        """The same mirrors, for another suite."""
        entries = tuple(
            (address, tuple(name.replace(self.suite, suite, 1) for name in suites))
            for address, suites in self.entries
        )
        return Sources(suite, entries)


def os_release(lines: Iterable[str]) -> dict[str, str]:
    """What an `os-release` file says."""
    pairs = [line.strip().partition("=") for line in lines if "=" in line]
    return {name: value.strip("\"'") for name, _, value in pairs}


def suite_here() -> str:
    """The suite of images on this machine: its own where it is Debian."""
    try:
        with open(OS_RELEASE, encoding="utf-8", errors="replace") as file:
            told = os_release(file)
    except OSError:
        told = {}
    codename = told.get("VERSION_CODENAME", "")
    return codename if told.get("ID") == "debian" and _SUITE.fullmatch(codename) else SUITE_DEFAULT


def chosen(suite: str, mirror: str) -> Sources:
    """The sources that a setting names: a mirror, and after a space that of security updates.

    Raises:
        ImageBuildError: for what is no address.
    """
    words = mirror.split()
    if not 1 <= len(words) <= 2 or not all(map(_ADDRESS.fullmatch, words)):
        raise ImageBuildError(
            f"the setting `image_debian_mirror` is {mirror!r}, which is no address",
            hint="write https://…, and after a space the address of its security updates",
        )
    suites = ((suite, f"{suite}-updates"), (f"{suite}-security",))
    return Sources(suite, tuple(zip(words, suites, strict=False)))


def parse_indexes(printed: str, suite: str) -> Sources | None:
    """The sources of a suite among those that apt says it would ask; None when it has none.

    A mirror that has more of the suites than others is taken first: other publishers name suites
    of theirs like Debian's.
    """
    found: dict[str, list[str]] = {}
    for address, name in _INDEX.findall(printed):
        if name in (suite, f"{suite}-updates", f"{suite}-security"):
            found.setdefault(address, []).append(name)
    mains = [(address, names) for address, names in found.items() if suite in names]
    if not mains:
        return None
    main = max(mains, key=lambda entry: len(entry[1]))
    have = set(main[1])
    entries = [main]
    for address, names in found.items():
        if suite not in names and not have.intersection(names):
            entries.append((address, names))
            have.update(names)
    return Sources(suite, tuple((address, tuple(names)) for address, names in entries))


async def sources(mirror: str, suite: str) -> Sources:
    """Where images get Debian from on this machine.

    Args:
        mirror: the setting `image_debian_mirror`.
        suite: such as `trixie`; a mirror that has this machine's own has all of them.

    Raises:
        ImageBuildError: when neither the setting nor apt names a mirror, or apt is not here.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ImageBuildError(
            "Debian is put together by `apt-get` and `dpkg-deb`, which this machine does not have",
            hint="install apt and dpkg, or set `image_debian_reference` to an image of a registry "
            "to begin with instead",
        )
    if not os.path.exists(KEYRING):
        raise ImageBuildError(
            f"packages of Debian cannot be verified: there is no {KEYRING}",
            hint="install the package debian-archive-keyring on this machine",
        )
    if mirror:
        return chosen(suite, mirror)
    here = suite_here()
    found = parse_indexes(await output_of("apt-get", "update", "--print-uris"), here)
    if found is None:
        raise ImageBuildError(
            f"apt of this machine knows no mirror of Debian {here}", hint=MIRROR_HINT
        )
    return found.of(suite)


async def reaching() -> dict[str, str]:
    """How apt of this machine reaches mirrors: proxies and the like, by the option's name."""
    if shutil.which("apt-config") is None:
        return {}
    return dict(_REACHING.findall(await output_of("apt-config", "dump")))
