"""What a container has made of a volume: the layer that it writes to, on top of what it was given.

    upper layer (overlayfs)  +  base tree  ─►  tree as the container sees it, contents kept

The layer is a hostile container's, which may change it meanwhile: no link is followed, each step is
taken from an open directory, nothing but files, directories and links is read. A directory in which
nothing was written costs nothing, and a file is read again only when it has changed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from volant.wire import chunks
from volantd.core.volumes.entries import (
    DEPTH_MAX,
    DIRECTORY,
    ENTRIES_MAX,
    FILE,
    FILE_BYTES_MAX,
    LINK,
    NAMES_MAX,
    Entry,
    directory,
    node_of,
    parts_of,
)
from volantd.core.volumes.trees import depth as depth_of, find
from volantd.volumes.attributes import user_xattrs

if TYPE_CHECKING:
    from volantd.blobs.contents import Contents
    from volantd.core.volumes.entries import Node
    from volantd.volumes.attributes import Owners
    from volantd.volumes.nodes import StoredNodes

#: How often a file is read that changes meanwhile.
READS_MAX = 3
#: Small contents that are kept in one transaction.
BATCH_BYTES = 16 << 20
#: Of what is passed over, how many names are told.
TOLD_MAX = 5
#: Where overlayfs notes what it did to a directory, as root and for others.
_PREFIXES = {True: "trusted.overlay.", False: "user.overlay."}
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_Stamp = tuple[int, int, int, int]


class TooMuchError(Exception):
    """A container has put more into a volume than it may hold."""


class Seen:
    """What the last scan of one layer has read: so the next one reads only what has changed."""

    def __init__(self, token: str) -> None:
        """`token`: tells files with several names of this layer from those of others."""
        self.token = token
        self.files: dict[int, tuple[_Stamp, str]] = {}


class Scan:
    """One look at a layer.

    Args:
        contents: where what is new is kept.
        nodes: of the trees; the caller flushes them.
        owners: what owners are on the disk.
        seen: changed by `run`.
        is_still: nothing writes to it any more, so files may be taken as they are, without a copy.
        waits: leave files alone that change meanwhile, for the next scan.
    """

    def __init__(
        self, contents: Contents, nodes: StoredNodes, owners: Owners, seen: Seen,
        *, is_still: bool, waits: bool,
    ) -> None:  # fmt: skip
        self._contents = contents
        self._nodes = nodes
        self._owners = owners
        self._seen = seen
        self._is_still = is_still
        self._waits = waits
        self._prefix = _PREFIXES[owners.are_kept]
        self._files: dict[int, tuple[_Stamp, str]] = {}
        self._batch: list[tuple[str, bytes]] = []
        self._batch_bytes = 0
        self._count = 0
        self._root: Entry
        self._before: Entry | None
        #: Names of what is neither file, directory nor link, or lies too deep.
        self.passed_over: list[str] = []
        self.passed_over_count = 0

    def run(self, upper: str, base: Entry, before: Entry | None = None, depth: int = 0) -> Entry:
        """The tree as the container sees it; all its contents are on the disk, its nodes not yet.

        Args:
            upper: the directory of the layer.
            base: the tree below it.
            before: the tree of the last scan, for files that are left alone.
            depth: of what is scanned in its volume.

        Raises:
            TooMuchError: beyond a limit of volumes.
            OSError: when the contents cannot be kept.
        """
        self._root, self._before = base, before
        fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
        try:
            root = self._directory(fd, base, before, "", depth)
        finally:
            os.close(fd)
        self._write_batch()
        self._seen.files = self._files
        return root

    def _directory(
        self, fd: int, base: Entry | None, before: Entry | None, path: str, depth: int
    ) -> Entry:
        info = os.fstat(fd)
        base_node = node_of(self._nodes, base)
        before_node = node_of(self._nodes, before)
        node = dict(base_node)
        with os.scandir(fd) as entries:
            for item in entries:
                self._count += 1
                if self._count > ENTRIES_MAX:
                    raise TooMuchError(f"more than {ENTRIES_MAX} entries were written")
                name = item.name
                try:
                    found = self._entry(fd, name, base_node, before_node.get(name), path, depth)
                except FileNotFoundError:
                    found = None  # removed meanwhile
                except PermissionError:  # a normal user's daemon may read no more than that user
                    self._pass_over(path + name)
                    found = before_node.get(name)
                if found is None:
                    node.pop(name, None)
                else:
                    node[name] = found
        if len(node) > NAMES_MAX:
            raise TooMuchError(f"{len(node)} names in {path or '/'}, at most {NAMES_MAX}")
        uid, gid = self._owners.seen(info)
        own = Entry(
            DIRECTORY, stat.S_IMODE(info.st_mode), uid, gid, info.st_mtime_ns, 0, "",
            user_xattrs(fd),
        )  # fmt: skip
        if base is not None and base.kind == DIRECTORY and node == base_node:
            same = (base.mode, base.uid, base.gid, base.xattrs)
            if same == (own.mode, own.uid, own.gid, own.xattrs):
                return base
            return own._replace(size=base.size, content=base.content)
        return directory(self._nodes, node, own)

    def _entry(
        self, fd: int, name: str, base_node: Node, before: Entry | None, path: str, depth: int
    ) -> Entry | None:
        """What a name of the layer stands for; None for nothing any more."""
        info = os.lstat(name, dir_fd=fd)
        if stat.S_ISREG(info.st_mode):
            return self._file(fd, name, before)
        if stat.S_ISDIR(info.st_mode):
            if depth >= DEPTH_MAX:
                self._pass_over(path + name)
                return None
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _OPEN, dir_fd=fd)
            try:
                below = self._below(inner, name, base_node, depth)
                return self._directory(inner, below, before, f"{path}{name}/", depth + 1)
            finally:
                os.close(inner)
        if stat.S_ISLNK(info.st_mode):
            uid, gid = self._owners.seen(info)
            target = os.readlink(name, dir_fd=fd)
            return Entry(LINK, 0o777, uid, gid, info.st_mtime_ns, 0, target)
        if not (stat.S_ISCHR(info.st_mode) and info.st_rdev == 0):  # else: removed
            self._pass_over(path + name)
        return None

    def _below(self, fd: int, name: str, base_node: Node, depth: int) -> Entry | None:
        """What a directory of the layer lies on top of: its name, or what was renamed to it."""
        if _xattr(fd, self._prefix + "opaque") == b"y":
            return None
        moved = _xattr(fd, self._prefix + "redirect")
        if not moved:
            return base_node.get(name)
        origin = os.fsdecode(moved)
        found = base_node.get(origin)
        if origin.startswith("/"):
            found = find(self._nodes, self._root, parts_of(origin))
        if found is not None and depth + depth_of(self._nodes, found) > DEPTH_MAX:
            raise TooMuchError(f"more than {DEPTH_MAX} directories above one another")
        return found

    def _pass_over(self, path: str) -> None:
        self.passed_over_count += 1
        if len(self.passed_over) < TOLD_MAX:
            self.passed_over.append(path)

    # -- files

    def _file(self, directory_fd: int, name: str, before: Entry | None) -> Entry | None:
        try:
            fd = os.open(name, os.O_RDONLY | _OPEN, dir_fd=directory_fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                return before  # it is something else by now: the next scan sees it
            raise
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                return before
            known = self._seen.files.get(info.st_ino)
            stamp = _stamp(info)
            if known is None or known[0] != stamp:
                if info.st_size > FILE_BYTES_MAX:
                    raise TooMuchError(f"a file of {info.st_size} bytes, at most {FILE_BYTES_MAX}")
                settled = self._settled(directory_fd, name, fd, info)
                if settled is None:
                    return before
                info, known = settled
            self._files[info.st_ino] = known
            uid, gid = self._owners.seen(info)
            group = f"{self._seen.token}.{info.st_ino:x}" if info.st_nlink > 1 else ""
            # Nothing in a volume runs with its owner's rights, who is root on this machine's disk.
            mode = stat.S_IMODE(info.st_mode) & ~(stat.S_ISUID | stat.S_ISGID)
            return Entry(
                FILE, mode, uid, gid, info.st_mtime_ns, known[0][0],
                known[1], user_xattrs(fd), group,
            )  # fmt: skip
        finally:
            os.close(fd)

    def _settled(
        self, directory_fd: int, name: str, fd: int, info: os.stat_result
    ) -> tuple[os.stat_result, tuple[_Stamp, str]] | None:
        """Read a file until it has not changed meanwhile; None: it is left for the next scan."""
        for count in range(1, READS_MAX + 1):
            size, digest = self._content(directory_fd, name, fd, info)
            after = os.fstat(fd)
            if _stamp(after) == _stamp(info):
                return info, (_stamp(info), digest)
            if count == READS_MAX:
                if self._waits:
                    return None
                # What was read is a state that it had, or nearly; it is read again next time.
                return info, ((size, -1, -1, -1), digest)
            info = after
        return None

    def _content(
        self, directory_fd: int, name: str, fd: int, info: os.stat_result
    ) -> tuple[int, str]:
        """Keep what a file has now: how much that is, and what it is known by."""
        if info.st_size <= chunks.SMALL_BYTES:
            data = chunks.read_at(fd, info.st_size, 0)
            if not data:
                return 0, ""
            digest = chunks.digest_of(data)
            self._batch.append((digest, data))
            self._batch_bytes += len(data)
            if self._batch_bytes > BATCH_BYTES:
                self._write_batch()
            return len(data), digest
        if self._is_still:
            return info.st_size, self._take_over(directory_fd, name, fd, info)
        return self._copy(fd, info)

    def _take_over(self, directory_fd: int, name: str, fd: int, info: os.stat_result) -> str:
        """Keep a large file that nobody writes to any more, by another name of it."""
        digest, listed = chunks.digest_of_file(fd, info.st_size)
        if not self._contents.claim([digest], is_large=True):
            unfinished_fd, path = self._contents.unfinished()
            os.close(unfinished_fd)
            os.unlink(path)
            os.link(name, path, src_dir_fd=directory_fd, follow_symlinks=False)
            self._contents.finish(path, digest)
        self._keep_list(listed)
        return digest

    def _copy(self, fd: int, info: os.stat_result) -> tuple[int, str]:
        """Keep a copy of a large file, with its holes."""
        target_fd, path = self._contents.unfinished()
        try:
            digests = []
            size, first = 0, b""
            for offset, data in chunks.pieces(fd, info.st_size):
                if data is None:
                    digests.append(chunks.ZERO_DIGEST)
                    size = offset + chunks.CHUNK_BYTES
                    continue
                digests.append(chunks.digest_of(data))
                write_at(target_fd, data, offset)
                size, first = offset + len(data), first or data
                if len(data) < min(chunks.CHUNK_BYTES, info.st_size - offset):
                    break  # it has become shorter
            os.ftruncate(target_fd, size)
            if size <= chunks.SMALL_BYTES:
                digest = chunks.digest_of(first[:size]) if size else ""
                self._batch += [(digest, first[:size])] if size else []
                self._contents.discard(path)
                return size, digest
            is_list = size > chunks.CHUNK_BYTES
            digest = chunks.digest_of(chunks.list_of(digests)) if is_list else digests[0]
            if self._contents.claim([digest], is_large=True):
                self._contents.discard(path)
            else:
                self._contents.finish(path, digest)
            self._keep_list(digests if is_list else [])
            return size, digest
        except BaseException:
            self._contents.discard(path)
            raise
        finally:
            os.close(target_fd)

    def _keep_list(self, digests: list[str]) -> None:
        if digests:
            data = chunks.list_of(digests)
            self._batch.append((chunks.digest_of(data), data))

    def _write_batch(self) -> None:
        self._contents.put(self._batch)
        self._batch, self._batch_bytes = [], 0


def _stamp(info: os.stat_result) -> _Stamp:
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


def _xattr(fd: int, name: str) -> bytes:
    try:
        return os.getxattr(fd, name)
    except OSError:
        return b""


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write bytes into a file, all of them."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
