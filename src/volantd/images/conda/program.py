"""Where micromamba comes from: this machine, or the channel that a setting names.

A channel is trusted as far as its address is: the digest of what it sends is compared with that in
its own index.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from volant.errors import ImageBuildError
from volantd.images.files import put
from volantd.patience import on_thread

if TYPE_CHECKING:
    from volantd.images.workbench import Workbench

NAME = "micromamba"
#: What channels call machines like this one.
PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
#: Where it lies in images.
PROGRAM = "/usr/local/bin/micromamba"
#: Lists of what a channel has, the shorter one first.
_INDEXES = ("current_repodata.json", "repodata.json")
_INDEX_BYTES_MAX = 512 << 20
_PACKAGE_BYTES_MAX = 256 << 20
_SILENCE_S_MAX = 60.0
_MEMBER = "bin/micromamba"
_ADDRESS = re.compile(r"https?://[^\s'\"]+")
_ARCHIVE = re.compile(r"micromamba-[\w.+-]+\.tar\.bz2")


async def program_layer(bench: Workbench) -> str:
    """The id of a layer with micromamba, made if it is not here.

    Raises:
        ImageBuildError: when it is neither on this machine nor in a channel.
    """
    here = shutil.which(NAME)
    if here is not None:
        content = await on_thread(_read, here)
    else:
        content = await on_thread(_fetch, bench.choice("image_conda_channel"))
    layer_id = f"{NAME}-{hashlib.sha256(content).hexdigest()[:16]}"
    if not bench.store.has_layer(layer_id):
        await bench.once(layer_id, partial(_make, layer_id, content))
    return layer_id


async def _make(layer_id: str, content: bytes, bench: Workbench) -> str:
    async with bench.new_layer(layer_id) as place:
        await on_thread(put, f"{place}/diff{PROGRAM}", content, 0o755)
    return layer_id


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_PACKAGE_BYTES_MAX)


def _fetch(channel: str) -> bytes:
    """The program as the newest package of a channel has it."""
    platform = PLATFORMS.get(os.uname().machine)
    if platform is None or not _ADDRESS.fullmatch(channel):
        raise ImageBuildError(
            f"there is no {NAME} on this machine, which installs packages of conda",
            hint=f"install {NAME}, or set `image_conda_channel` to the address of a channel that "
            "has it",
        )
    place = f"{channel.rstrip('/')}/{platform}"
    try:
        name, digest = _newest(place)
        package = _get(f"{place}/{name}", _PACKAGE_BYTES_MAX)
        if hashlib.sha256(package).hexdigest() != digest:
            raise ImageBuildError(f"{place}/{name} is not what its channel says it is")
        with tarfile.open(fileobj=io.BytesIO(package), mode="r:bz2") as archive:
            member = archive.extractfile(_MEMBER)
            if member is None:
                raise KeyError(_MEMBER)
            return member.read(_PACKAGE_BYTES_MAX)
    except (OSError, tarfile.TarError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ImageBuildError(
            f"{NAME} cannot be had from {channel}: {error}",
            hint=f"install {NAME} on this machine, or see to `image_conda_channel`",
        ) from error


def _newest(place: str) -> tuple[str, str]:
    """The file of the newest micromamba of a channel, and its sha256."""
    for index in _INDEXES:
        try:
            listed: dict[str, Any] = json.loads(_get(f"{place}/{index}", _INDEX_BYTES_MAX))
        except URLError:
            if index == _INDEXES[-1]:
                raise
            continue
        found = [
            (_version(entry["version"]), entry["build_number"], name, entry["sha256"])
            for name, entry in listed["packages"].items()
            if entry["name"] == NAME and _ARCHIVE.fullmatch(name)
        ]
        if found:
            return max(found)[2:]
    raise ValueError(f"it has no {NAME}")


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def _get(address: str, bytes_max: int) -> bytes:
    try:
        with urlopen(address, timeout=_SILENCE_S_MAX) as answer:  # noqa: S310  # checked: http(s)
            content: bytes = answer.read(bytes_max + 1)
    except HTTPError as error:
        error.close()
        raise
    if len(content) > bytes_max:
        raise ValueError(f"{address} is larger than {bytes_max >> 20} MiB")
    return content
