"""A layer as a directory for overlayfs.

    tar entry                     in the directory
    .wh.x                         x, a character device 0:0: hides the lower x
    .wh..wh..opq                  xattr user.overlay.opaque=y of its directory: hides all below it
    .wh..wh.<anything else>       nothing (notes of aufs)
    x and .wh.x                   x; a directory is opaque, as the lower one was removed first
    devices below dev/            nothing (a container has a /dev of its own); refused elsewhere
    files, links, pipes           as they are: mode, and as root owner, setuid and setgid
    extended attributes           nothing: security.* would grant rights on the host, *.overlay.*
                                  would steer overlayfs, and no image needs the others

Owns what a layer may do: make names inside its own directory, and nothing else.
Invariants: no link is ever followed, as each directory is opened by its name in the one above
it; a directory stays a directory; and there is a whole layer, or none.
Its caller sees to it that other users of the host cannot reach the directory: files may be setuid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.images.oci.archive import Archive, Entry, Kind
from volantd.images.oci.errors import OciError, shown
from volantd.images.oci.reference import is_digest
from volantd.images.oci.stream import LayerLimits, LayerStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Bytes of a path, and directories in it; removal by others may be recursive.
PATH_BYTES_MAX, DEPTH_MAX = 4095, 200
_NAME_BYTES_MAX = 255
_OPAQUE_XATTR = "user.overlay.opaque"
_WHITEOUT, _NOTE, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedLayer:
    """What came out of a layer.

    Attributes:
        entries: in its archive, and directories that only others imply.
        size: bytes of its files.
    """

    entries: int
    size: int


def unpack_layer(
    blob: Path,
    target: Path,
    *,
    diff_id: str,
    limits: LayerLimits | None = None,
    progress: Callable[[int], None] | None = None,
) -> UnpackedLayer:
    """Unpack a layer into a new directory.

    Args:
        blob: the layer as it was fetched.
        target: made here, in a directory that exists; the caller moves it to its place.
        diff_id: the digest of the layer before compression.
        limits: the usual ones by default.
        progress: told of each so many bytes of the blob; what it raises ends the work.

    Raises:
        OciError: when the layer is broken, hostile or another one, or the disk is full. As with
            any other exception, `target` does not exist then.
    """
    limits = limits or LayerLimits()
    if not is_digest(diff_id):
        raise OciError(f"{shown(diff_id)} is no digest that can be verified")
    try:
        target.mkdir(0o700)
    except OSError as error:
        raise OciError(f"{shown(str(target))} cannot be made: {error.strerror}") from error
    try:
        with blob.open("rb", buffering=0) as file:
            algorithm = diff_id.partition(":")[0]
            stream = LayerStream(file, algorithm=algorithm, limits=limits, progress=progress)
            return _Unpacking(target, limits).run(stream, diff_id)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError):
            raise OciError(f"the layer cannot be read: {error.strerror or error}") from error
        raise


class _Tree:
    """Directories below a root, each opened by its name in the one above it."""

    def __init__(self, root: Path) -> None:
        self._names: list[bytes] = []
        self._fds = [os.open(root, _DIRECTORY_FLAGS)]

    def enter(self, names: list[bytes], make: Callable[[int, bytes, bytes], None]) -> int:
        """A descriptor of the directory that `names` lead to, good until the next call.

        `make` is called before one is opened, with the descriptor of the directory above, the name
        and the path.
        """
        depth = 0
        while depth < min(len(names), len(self._names)) and names[depth] == self._names[depth]:
            depth += 1
        self._leave(depth)
        for name in names[depth:]:
            make(self._fds[-1], name, b"/".join([*self._names, name]))
            self._fds.append(os.open(name, _DIRECTORY_FLAGS, dir_fd=self._fds[-1]))
            self._names.append(name)
        return self._fds[-1]

    def close(self) -> None:
        self._leave(0)
        os.close(self._fds.pop())

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            os.close(self._fds.pop())


class _Unpacking:
    """One layer on its way into one directory."""

    def __init__(self, root: Path, limits: LayerLimits) -> None:
        self._root = root
        self._entries_max = limits.entries_max
        self._is_root = os.geteuid() == 0
        #: path -> what it shall be in the end; None where other entries only imply it
        self._directories: dict[bytes, Entry | None] = {b"": None}
        #: paths that are whiteouts now
        self._whiteouts: set[bytes] = set()
        self._entries = self._size = 0

    def run(self, stream: LayerStream, diff_id: str) -> UnpackedLayer:
        archive = Archive(stream)
        self._tree = _Tree(self._root)
        try:
            for entry in archive.entries():
                self._count()
                try:
                    self._add(entry, archive)
                except OSError as error:
                    problem = error.strerror or str(error)
                    raise _refusal(entry, f"cannot be made: {problem}") from error
            if (found := stream.finish()) != diff_id:
                raise OciError(f"the layer is {found}; the image's config says {diff_id}")
            self._finish_directories()
        finally:
            self._tree.close()
        return UnpackedLayer(entries=self._entries, size=self._size)

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._entries_max:
            raise OciError(f"the layer holds more than the {self._entries_max} entries allowed")

    def _add(self, entry: Entry, archive: Archive) -> None:
        names = _split(entry, entry.name)
        if entry.kind is Kind.DEVICE:
            if names[:1] == [b"dev"]:
                return
            raise _refusal(entry, "is a device; those of containers are their own, in /dev")
        if not names:
            if entry.kind is not Kind.DIRECTORY:
                raise _refusal(entry, "has no name")
            self._directories[b""] = entry
            return
        *parents, name = names
        is_note = name.startswith(_NOTE) and name != _OPAQUE
        if is_note or any(parent.startswith(_NOTE) for parent in parents):
            return
        if any(parent.startswith(_WHITEOUT) for parent in parents):
            raise _refusal(entry, "lies in a whiteout, which is no directory")
        dir_fd = self._tree.enter(parents, self._imply)
        if name == _OPAQUE:
            os.setxattr(dir_fd, _OPAQUE_XATTR, b"y")
        elif name.startswith(_WHITEOUT):
            self._hide(entry, dir_fd, parents, name.removeprefix(_WHITEOUT))
        elif entry.kind is Kind.DIRECTORY:
            path = b"/".join(names)
            if path not in self._directories:
                self._make_directory(dir_fd, name, path)
            self._directories[path] = entry
        else:
            self._make_plain(entry, archive, dir_fd, names)

    def _imply(self, dir_fd: int, name: bytes, path: bytes) -> None:
        """Make a directory that only the path of an entry says."""
        if path not in self._directories:
            self._count()
            self._make_directory(dir_fd, name, path)

    def _make_directory(self, dir_fd: int, name: bytes, path: bytes) -> None:
        """Only its maker may use it until all are finished."""
        was_hidden = path in self._whiteouts
        if was_hidden:
            os.unlink(name, dir_fd=dir_fd)
            self._whiteouts.discard(path)
        try:
            os.mkdir(name, 0o700, dir_fd=dir_fd)
        except FileExistsError:
            problem = f"{shown(path)} in the layer is used as a directory, which it is not"
            raise OciError(problem, hint="the layer is hostile or broken") from None
        self._directories[path] = None
        if was_hidden:
            _make_opaque(dir_fd, name)

    def _hide(self, entry: Entry, dir_fd: int, parents: list[bytes], name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise _refusal(entry, "hides nothing that can be named")
        path = b"/".join([*parents, name])
        if path in self._directories:
            _make_opaque(dir_fd, name)
        elif path not in self._whiteouts:
            with contextlib.suppress(FileExistsError):  # the layer's own entry stays
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dir_fd)
                self._whiteouts.add(path)

    def _make_plain(self, entry: Entry, archive: Archive, dir_fd: int, names: list[bytes]) -> None:
        """What is no directory; it takes the place of an earlier one of its name."""
        name, path = names[-1], b"/".join(names)
        if path in self._directories:
            raise _refusal(entry, "would replace a directory")
        if entry.kind is Kind.HARDLINK:
            self._make_hardlink(entry, dir_fd, names)
            return
        self._make_room(dir_fd, name, path)
        if entry.kind is Kind.FILE:
            self._make_file(entry, archive, dir_fd, name)
            return
        if entry.kind is Kind.SYMLINK:
            if not 0 < len(entry.link) <= PATH_BYTES_MAX:
                raise _refusal(entry, f"is a link to {len(entry.link)} characters")
            os.symlink(entry.link, name, dir_fd=dir_fd)
        else:
            assert entry.kind is Kind.FIFO, "all others were dealt with"
            os.mkfifo(name, 0o600, dir_fd=dir_fd)
            os.chmod(name, entry.mode & 0o777, dir_fd=dir_fd)  # nobody else can have changed it
        if self._is_root:
            os.chown(name, entry.uid, entry.gid, dir_fd=dir_fd, follow_symlinks=False)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=dir_fd, follow_symlinks=False)

    def _make_room(self, dir_fd: int, name: bytes, path: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=dir_fd)
        self._whiteouts.discard(path)

    def _make_file(self, entry: Entry, archive: Archive, dir_fd: int, name: bytes) -> None:
        fd = os.open(name, _FILE_FLAGS, 0o600, dir_fd=dir_fd)
        try:
            for data in archive.content():
                self._size += len(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            self._settle(fd, entry)
        finally:
            os.close(fd)

    def _make_hardlink(self, entry: Entry, dir_fd: int, names: list[bytes]) -> None:
        """A further name of what this layer has made already."""
        link = _split(entry, entry.link)
        source = b"/".join(link)
        is_outside = b"/".join(link[:-1]) not in self._directories or link == names
        if not link or is_outside or source in self._directories or source in self._whiteouts:
            raise _refusal(entry, f"is a hard link to {shown(entry.link)}, no file of this layer")
        own_fd = os.dup(dir_fd)
        try:
            self._make_room(own_fd, names[-1], b"/".join(names))
            from_fd = self._tree.enter(link[:-1], self._imply)
            os.link(
                link[-1], names[-1], src_dir_fd=from_fd, dst_dir_fd=own_fd, follow_symlinks=False
            )
        except FileNotFoundError as error:
            problem = f"is a hard link to {shown(entry.link)}, which is not in this layer"
            raise _refusal(entry, problem) from error
        finally:
            os.close(own_fd)

    def _settle(self, fd: int, entry: Entry) -> None:
        """Owner first: a change of it takes setuid away."""
        mode = entry.mode
        if self._is_root:
            os.fchown(fd, entry.uid, entry.gid)
        else:
            mode &= ~(stat.S_ISUID | stat.S_ISGID)  # these would be ours, which nobody meant
        os.fchmod(fd, mode)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _finish_directories(self) -> None:
        """Those within another before it, so that what they may not be matters no more."""
        for path in sorted(self._directories, reverse=True):
            fd = self._tree.enter(path.split(b"/") if path else [], self._imply)
            entry = self._directories[path]
            if entry is not None:
                self._settle(fd, entry)
            else:
                os.fchmod(fd, 0o755)
                os.utime(fd, ns=(0, 0))


def _make_opaque(dir_fd: int, name: bytes) -> None:
    fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=dir_fd)
    try:
        os.setxattr(fd, _OPAQUE_XATTR, b"y")
    finally:
        os.close(fd)


def _split(entry: Entry, path: bytes) -> list[bytes]:
    """The names of a path from the layer's root; none for the root itself."""
    if path.startswith(b"/"):
        raise _refusal(entry, "has an absolute path")
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    if b".." in names:
        raise _refusal(entry, "has a path with `..`")
    is_long = len(path) > PATH_BYTES_MAX or len(names) > DEPTH_MAX
    if is_long or any(len(name) > _NAME_BYTES_MAX for name in names):
        raise _refusal(entry, "has a path that is too long")
    return names


def _refusal(entry: Entry, problem: str) -> OciError:
    return OciError(f"{shown(entry.name)} in the layer {problem}")
