"""A layer as one file, for the way to another machine: a tar archive, compressed with zstd.

    directory of the layer            in the archive, sorted by path
    device 0:0, opaque directory      .wh.x, .wh..wh..opq, as registries have them
    owners, modes, hard links         as they are, owners as numbers
    what was written by the build     with one and the same time, in the byte code of Python, too,
                                      if it has none yet (as layers that are kept have)
    what came with a time of its own  with that time
    sockets, extended attributes      nothing

The same layer gives the same archive on every machine, so its digest says whether two have made the
same of one key. What comes from elsewhere is unpacked as the layers of registries are: verified
before it is used, and not trusted.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.images.oci import OciError, unpack_layer
from volantd.images.oci.errors import shown
from volantd.images.oci.stream import zstd_module

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO, Protocol

    class Target(Protocol):
        """What can be written to."""

        def write(self, data: bytes, /) -> object:
            """Take the next bytes."""


#: The time of what a build has written, in seconds since 1970; its files are copied with it, too.
TIME_S = 1
#: Directories within each other, as many as are unpacked again.
DEPTH_MAX = 200
_OPAQUE_XATTRS = ("user.overlay.opaque", "trusted.overlay.opaque")
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Byte code begins with a mark, flags, the time of its source and that one's size.
_CODE_HEAD_BYTES, _CODE_TIME = 16, slice(8, 12)


@dataclass(frozen=True, slots=True)
class Packed:
    """What is known of a packed layer.

    Attributes:
        digest: of the file.
        diff_id: of the archive in it, the same on all machines.
        size_bytes: of the file.
    """

    digest: str
    diff_id: str
    size_bytes: int


class _Hashing:
    """Counts and hashes what passes through."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        self._target.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def pack(source: str, target: Path, *, written_from: float) -> Packed:
    """Write a layer into a new file.

    Args:
        source: its directory, which does not change.
        target: the file.
        written_from: what has this time (since 1970) or a later one was written by the build.

    Raises:
        OciError: for what has no form in an archive; no file is left then.
    """
    zstd = zstd_module()
    try:
        with target.open("xb") as file:
            outer = _Hashing(file)
            with zstd.ZstdFile(_Writer(outer), "wb") as compressed:
                inner = _Hashing(compressed)
                with tarfile.open(
                    fileobj=_Writer(inner), mode="w|", format=tarfile.PAX_FORMAT,
                    encoding="utf-8", errors="surrogateescape",
                ) as archive:  # fmt: skip
                    _Packing(archive, int(written_from)).run(source)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return Packed(outer.digest, inner.digest, outer.size_bytes)


class _Writer(io.RawIOBase):
    """A sink in the form that archives and compressors write to."""

    def __init__(self, sink: _Hashing) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # more than this comes never
        return self._sink.write(bytes(data))


class _Packing:
    """One layer on its way into one archive."""

    def __init__(self, archive: tarfile.TarFile, written_from_s: int) -> None:
        self._archive = archive
        self._written_from_s = written_from_s
        #: device and inode of files with several names -> the first of these
        self._names: dict[tuple[int, int], str] = {}

    def run(self, source: str) -> None:
        fd = os.open(source, _DIRECTORY_FLAGS)
        try:
            self._directory(fd, "", os.fstat(fd), 0)
        finally:
            os.close(fd)

    def _directory(self, fd: int, path: str, info: os.stat_result, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise OciError(f"{shown(path)} in the layer lies too deep to be packed")
        if path:
            self._archive.addfile(self._entry(path, tarfile.DIRTYPE, info))
        if any(_has_attribute(fd, name) for name in _OPAQUE_XATTRS):
            self._archive.addfile(self._mark(f"{path}/.wh..wh..opq".lstrip("/")))
        for name in sorted(os.listdir(fd), key=os.fsencode):
            self._one(fd, name, f"{path}/{name}".lstrip("/"), depth)

    def _one(self, parent: int, name: str, path: str, depth: int) -> None:
        if name.startswith(".wh."):
            raise OciError(f"{shown(path)} in the layer would be taken for a whiteout")
        info = os.lstat(name, dir_fd=parent)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)
            try:
                self._directory(fd, path, info, depth + 1)
            finally:
                os.close(fd)
        elif kind == stat.S_IFLNK:
            entry = self._entry(path, tarfile.SYMTYPE, info)
            entry.linkname = os.readlink(name, dir_fd=parent)
            self._archive.addfile(entry)
        elif kind == stat.S_IFCHR and not info.st_rdev:
            self._archive.addfile(self._mark(path[: -len(name)] + f".wh.{name}"))
        elif kind == stat.S_IFREG:
            self._file(parent, name, path, info)
        elif kind == stat.S_IFIFO:
            self._archive.addfile(self._entry(path, tarfile.FIFOTYPE, info))

    def _file(self, parent: int, name: str, path: str, info: os.stat_result) -> None:
        known = self._names.setdefault((info.st_dev, info.st_ino), path)
        if known != path and info.st_nlink > 1:
            entry = self._entry(path, tarfile.LNKTYPE, info)
            entry.linkname = known
            self._archive.addfile(entry)
            return
        entry = self._entry(path, tarfile.REGTYPE, info)
        entry.size = info.st_size
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        with os.fdopen(fd, "rb") as file:
            content: BinaryIO = file
            if path.endswith(".pyc"):
                content = io.BytesIO(self._byte_code(file.read()))
            self._archive.addfile(entry, content)

    def _byte_code(self, data: bytes) -> bytes:
        """Byte code that names its source by the time that this one has in the archive."""
        head = bytearray(data[:_CODE_HEAD_BYTES])
        by_time = len(head) == _CODE_HEAD_BYTES and not any(head[4:8])
        if by_time and int.from_bytes(head[_CODE_TIME], "little") >= self._written_from_s:
            head[_CODE_TIME] = TIME_S.to_bytes(4, "little")
        return bytes(head) + data[_CODE_HEAD_BYTES:]

    def _entry(self, path: str, kind: bytes, info: os.stat_result) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(path)
        entry.type = kind
        entry.mode = stat.S_IMODE(info.st_mode)
        entry.uid, entry.gid = info.st_uid, info.st_gid
        seconds = int(info.st_mtime)
        entry.mtime = seconds if 0 <= seconds < self._written_from_s else TIME_S
        return entry

    @staticmethod
    def _mark(path: str) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(path)
        entry.mtime = TIME_S
        return entry


def _has_attribute(fd: int, name: str) -> bool:
    try:
        return os.getxattr(fd, name) == b"y"
    except OSError:
        return False


def unpack(blob: Path, target: Path, packed: Packed) -> None:
    """Unpack a layer into a new directory.

    Args:
        blob: the file.
        target: made here, in a directory that exists.
        packed: what it has to be.

    Raises:
        OciError: when it is another one, broken or hostile; `target` does not exist then.
    """
    with blob.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if f"sha256:{found}" != packed.digest:
        raise OciError(f"the packed layer is not {packed.digest}: it was changed on its way")
    unpack_layer(blob, target, diff_id=packed.diff_id)
