"""An OCI layout, a directory of blobs with an index, as a source of one image.

    <directory>/oci-layout    {"imageLayoutVersion": "1.0.0"}
    <directory>/index.json    names what there is
    <directory>/blobs/sha256/<digits>

It only reads, and follows no link inside: a layout may come out of somebody's archive.

Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from volantd.images.oci.documents import (
    DOCUMENT_BYTES_MAX,
    OCI_INDEX,
    Index,
    Manifest,
    parse_json,
    parse_manifest,
)
from volantd.images.oci.errors import OciError, shown

if TYPE_CHECKING:
    from pathlib import Path

    from volantd.images.oci.blobs import Sink
    from volantd.images.oci.documents import Descriptor

_CHUNK_BYTES = 1 << 20


class LayoutSource:
    """One image in a layout."""

    def __init__(self, directory: Path, *, tag: str = "") -> None:
        """Nothing is read yet.

        Args:
            directory: holds `oci-layout`.
            tag: which image; empty when there is but one.
        """
        self._directory = directory
        self._tag = tag

    def read_root(self) -> Manifest | Index:
        """The index of what the tag names."""
        version = parse_json(self._read("oci-layout"), f"`oci-layout` in {self._shown()}")
        if not version.text("imageLayoutVersion").startswith("1."):
            raise OciError(f"{self._shown()} is a layout of an unknown version")
        index = parse_manifest(self._read("index.json"), OCI_INDEX, f"of {self._shown()}")
        assert isinstance(index, Index), "its media type says so, and was checked"
        names = {item.name for item in index.manifests}
        fitting = [item for item in index.manifests if self._tag in ("", item.name)]
        if not fitting or (not self._tag and len(names) > 1):
            there = ", ".join(shown(name) for name in sorted(names)[:20] if name) or "none"
            problem = f"has no image {shown(self._tag)}" if self._tag else "is not of one image"
            hint = f"name one of the tags that it has: {there}"
            raise OciError(f"{self._shown()} {problem}", hint=hint)
        return Index(manifests=tuple(fitting))

    def read_manifest(self, descriptor: Descriptor) -> Manifest | Index:
        """What an entry of the index leads to."""
        algorithm, _, digits = descriptor.digest.partition(":")
        content = self._read(f"blobs/{algorithm}/{digits}")
        if hashlib.new(algorithm, content).hexdigest() != digits:
            raise OciError(f"{self._shown()} has another content for {descriptor.digest}")
        return parse_manifest(content, descriptor.media_type, descriptor.digest)

    def copy_blob(self, descriptor: Descriptor, sink: Sink) -> None:
        """Write a blob."""
        fd = self._open("blobs/" + descriptor.digest.replace(":", "/"))
        with os.fdopen(fd, "rb") as file:
            while data := file.read(_CHUNK_BYTES):
                sink.write(data)

    def _read(self, name: str) -> bytes:
        try:
            with os.fdopen(self._open(name), "rb") as file:
                return file.read(DOCUMENT_BYTES_MAX + 1)
        except OSError as error:
            raise OciError(f"`{name}` in {self._shown()} cannot be read") from error

    def _open(self, name: str) -> int:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        *parents, last = name.split("/")
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for parent in parents:
                fd = _step(fd, parent, flags | os.O_DIRECTORY)
            fd = _step(fd, last, flags)
        except OSError as error:
            hint = "an OCI layout is a directory with `oci-layout`, `index.json` and `blobs`"
            raise OciError(f"{self._shown()} has no `{name}` to read", hint=hint) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OciError(f"`{name}` in {self._shown()} is not a file")
        return fd

    def _shown(self) -> str:
        return f"the layout {shown(str(self._directory))}"


def _step(fd: int, name: str, flags: int) -> int:
    """Open `name` in the directory `fd`, which is closed."""
    try:
        return os.open(name, flags, dir_fd=fd)
    finally:
        os.close(fd)
