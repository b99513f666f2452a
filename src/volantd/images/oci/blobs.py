"""Blobs on disk, named by their digests: `<directory>/sha256/<digits>`.

Owns the check that a blob is what its name says: while it arrives, and again each time it is used.
When to remove blobs is the caller's business; so are files `.partial-*` that a killed process left.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from volantd.images.oci.errors import OciError

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.images.oci.documents import Descriptor, Index, Manifest

_CHUNK_BYTES = 1 << 20


class Source(Protocol):
    """Where the parts of one image come from."""

    def read_root(self) -> Manifest | Index:
        """What the image's name leads to."""

    def read_manifest(self, descriptor: Descriptor) -> Manifest | Index:
        """What an entry of an index leads to, its digest verified."""

    def copy_blob(self, descriptor: Descriptor, sink: Sink) -> None:
        """Write a blob; the sink sees to it that it is the right one."""


class Sink:
    """The file that a blob arrives in: counted, hashed, never longer than was announced."""

    __slots__ = ("_descriptor", "_file", "_hash", "_progress", "size")

    def __init__(
        self, file: BinaryIO, descriptor: Descriptor, progress: Callable[[int], None] | None
    ) -> None:
        self._file = file
        self._descriptor = descriptor
        self._progress = progress
        self.restart()

    def restart(self) -> None:
        """Forget what has come so far."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.new(self._descriptor.digest.partition(":")[0])
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            OciError: when these are more than there should be.
        """
        self.size += len(data)
        if self.size > self._descriptor.size:
            raise OciError(
                f"the blob {self._descriptor.digest} is larger than the "
                f"{self._descriptor.size} bytes that its manifest says"
            )
        self._hash.update(data)
        self._file.write(data)
        if self._progress is not None:
            self._progress(len(data))

    def finish(self) -> None:
        """Make sure that this was all, and the right thing."""
        if self.size != self._descriptor.size:
            raise OciError(
                f"the blob {self._descriptor.digest} has {self.size} bytes; "
                f"its manifest says {self._descriptor.size}"
            )
        if self._hash.hexdigest() != self._descriptor.digest.partition(":")[2]:
            raise OciError(
                f"the blob {self._descriptor.digest} arrived with another content",
                hint="somebody between here and the registry changes or breaks what is sent",
            )


class BlobDirectory:
    """The blobs that were fetched. Any number of threads may use it."""

    def __init__(self, directory: Path) -> None:
        """`directory` is made when the first blob comes."""
        self._directory = directory

    def obtain(
        self,
        descriptor: Descriptor,
        source: Source,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Path:
        """The file of a blob, verified now; it is fetched if it is not there or not right.

        Args:
            descriptor: which blob.
            source: where it comes from.
            progress: told of each so many bytes that arrive; what it raises ends the transfer.

        Raises:
            OciError: when it cannot be had; nothing of it is kept then.
        """
        algorithm, _, digits = descriptor.digest.partition(":")
        path = self._directory / algorithm / digits
        try:
            if _is_intact(path, descriptor):
                return path
            path.parent.mkdir(parents=True, exist_ok=True)
            fd, partial = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
        except OSError as error:
            raise _disk_problem(descriptor, error) from error
        try:
            with os.fdopen(fd, "wb") as file:
                sink = Sink(file, descriptor, progress)
                source.copy_blob(descriptor, sink)
                sink.finish()
            Path(partial).replace(path)
        except OSError as error:
            raise _disk_problem(descriptor, error) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(partial).unlink()
        return path


def _is_intact(path: Path, descriptor: Descriptor) -> bool:
    """Whether a file is there and still is what its name says."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError:
        return False
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size != descriptor.size:
            return False
        found = hashlib.new(descriptor.digest.partition(":")[0])
        while data := file.read(_CHUNK_BYTES):
            found.update(data)
    return found.hexdigest() == descriptor.digest.partition(":")[2]


def _disk_problem(descriptor: Descriptor, error: OSError) -> OciError:
    return OciError(f"the blob {descriptor.digest} cannot be kept: {error.strerror or error}")
