"""Lays trees out as real files: layers of overlayfs that containers read at the speed of the disk.

    nothing   -> tree     a layer with all of it
    tree      -> tree     a layer with what differs; what is gone has a whiteout

A large content is not copied: its file gets one more name, as long as all who use it give it the
same attributes. What is laid out here can be laid out again, so it need not survive a power cut.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from volant.wire import chunks
from volantd.core.volumes.entries import DIRECTORY, FILE, as_bytes
from volantd.core.volumes.trees import differences
from volantd.volumes.attributes import has_attributes, set_attributes
from volantd.volumes.nodes import LostContentError

if TYPE_CHECKING:
    from volantd.blobs.contents import Contents
    from volantd.core.volumes.entries import Entry, Nodes
    from volantd.volumes.attributes import Owners

_FICLONE = 0x40049409
_COPY_BYTES = 64 << 20
_MAKE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Layer:
    """One layer that is being laid out.

    Args:
        contents: where contents come from.
        nodes: where trees are.
        owners: what owners are on the disk.
        path: an empty directory of ours.
    """

    def __init__(self, contents: Contents, nodes: Nodes, owners: Owners, path: str) -> None:
        self._contents = contents
        self._nodes = nodes
        self._owners = owners
        self._path = path
        #: files with several names -> the first of them here
        self._groups: dict[str, str] = {}

    def lay(self, before: Entry | None, after: Entry) -> int:
        """Lay out what a tree has that the one before has not; how many entries that were.

        Raises:
            LostContentError: when a content is not there.
            OSError: when it cannot be written.
        """
        directories: list[tuple[str, Entry]] = []
        made: set[str] = set()
        count = 0
        for path, _, new in differences(self._nodes, before, after):
            count += 1
            target = self._path if not path else f"{self._path}/{path}"
            if new is None:
                if os.path.dirname(target) in made:  # else its directory is gone as well
                    os.mknod(as_bytes(target), stat.S_IFCHR, os.makedev(0, 0))
            elif new.kind == DIRECTORY:
                if path:
                    os.mkdir(as_bytes(target), 0o700)
                directories.append((target, new))
                made.add(target)
            else:
                self._make(target, new)
        for target, entry in reversed(directories):  # what is in one changes its time
            fd = os.open(as_bytes(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                set_attributes(fd, entry, self._owners, are_new=True)
            finally:
                os.close(fd)
        return count

    def _make(self, target: str, entry: Entry) -> None:
        if entry.kind != FILE:
            os.symlink(as_bytes(entry.content), as_bytes(target))
            if self._owners.are_kept:
                os.lchown(as_bytes(target), entry.uid, entry.gid)
            times = (entry.mtime_ns, entry.mtime_ns)
            os.utime(as_bytes(target), ns=times, follow_symlinks=False)
            return
        first = self._groups.get(entry.group) if entry.group else None
        if first is not None:
            os.link(as_bytes(first), as_bytes(target))
            return
        if entry.group:
            self._groups[entry.group] = target
        if entry.size > chunks.SMALL_BYTES:
            self._place_large(target, entry)
        else:
            self._write_small(target, entry)

    def _write_small(self, target: str, entry: Entry) -> None:
        data = self._contents.get(entry.content) if entry.content else b""
        if data is None:
            raise LostContentError(f"the content {entry.content} of a volume is lost")
        fd = os.open(as_bytes(target), os.O_WRONLY | _MAKE, 0o600)
        try:
            if data:
                os.write(fd, data)
            set_attributes(fd, entry, self._owners, are_new=True)
        finally:
            os.close(fd)

    def _place_large(self, target: str, entry: Entry) -> None:
        source = self._contents.path(entry.content)
        try:
            # With a group it is a file of its own: nothing else may be another name of it.
            if not entry.group and self._may_link(source, entry):
                os.link(source, as_bytes(target))
                return
        except FileNotFoundError:
            raise LostContentError(f"the content {entry.content} of a volume is lost") from None
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
        source_fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        fd = os.open(as_bytes(target), os.O_RDWR | _MAKE, 0o600)
        try:
            copy_sparse(source_fd, fd, entry.size)
            set_attributes(fd, entry, self._owners, are_new=True)
        finally:
            os.close(fd)
            os.close(source_fd)

    def _may_link(self, source: str, entry: Entry) -> bool:
        """Whether a content's own file has, or can be given, the attributes of an entry."""
        if has_attributes(source, entry, self._owners):
            return True
        if os.lstat(source).st_nlink > 1:
            return False
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_attributes(fd, entry, self._owners, are_new=False)
        finally:
            os.close(fd)
        return True


def copy_sparse(source_fd: int, target_fd: int, size: int) -> None:
    """Copy the content of a file with its holes, or share it where the file system can."""
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError:
        pass
    else:
        return
    os.ftruncate(target_fd, size)
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(source_fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # the rest is a hole
            raise
        end = os.lseek(source_fd, offset, os.SEEK_HOLE)
        while offset < end:
            count = min(_COPY_BYTES, end - offset)
            done = os.copy_file_range(source_fd, target_fd, count, offset, offset)
            if not done:
                return
            offset += done
