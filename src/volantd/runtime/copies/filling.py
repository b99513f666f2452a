"""Writes what one sandbox wrote to its files into those of another, in which nothing runs yet.

    upper directory of an overlay ──► the same changes, made through the other's overlay

Whatever lies in the source is hostile, and stands still: no link is followed, neither there nor in
the target, and depth has a limit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from volantd import file_content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

#: Directories within directories, each of which is held open.
DEPTH_MAX = 256
_ID_COUNT = 65536
_OPAQUE, _OVERLAYS_OWN = "user.overlay.opaque", "user.overlay."
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Filling:
    """The changes of one directory, made in another."""

    def __init__(self, target_fd: int, source_id: int, target_id: int) -> None:
        """Change a directory.

        Args:
            target_fd: the directory.
            source_id: what id 0 is in the sources.
            target_id: what it is here.
        """
        self._target_fd = target_fd
        self._source_id = source_id
        self._target_id = target_id
        #: files with several names -> the first of them, below the target
        self._names: dict[tuple[int, int], str] = {}

    def add(self, source_fd: int, leave_out: Collection[str] = ()) -> None:
        """Make the changes that lie in a directory; `leave_out` are paths below it.

        Raises:
            OSError: something cannot be read or written.
        """
        self._fill(source_fd, self._target_fd, "", leave_out, 0)

    def _fill(
        self, source_fd: int, target_fd: int, path: str, leave_out: Collection[str], depth: int
    ) -> None:
        if depth > DEPTH_MAX:
            raise OSError(errno.ELOOP, f"more than {DEPTH_MAX} directories within one another")
        for name in os.listdir(source_fd):
            where = f"{path}/{name}" if path else name
            if where in leave_out:
                continue
            info = os.lstat(name, dir_fd=source_fd)
            if stat.S_ISDIR(info.st_mode):
                inner_fd = os.open(name, _DIRECTORY, dir_fd=source_fd)
                try:
                    self._directory(inner_fd, target_fd, name, where, leave_out, depth)
                finally:
                    os.close(inner_fd)
                continue
            if not stat.S_ISSOCK(info.st_mode):  # which is bound anew by who listens there
                _remove(target_fd, name)
            if stat.S_ISREG(info.st_mode):
                self._file(source_fd, target_fd, name, where)
            elif stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
                self._own(target_fd, name, info)
            elif stat.S_ISFIFO(info.st_mode):
                os.mkfifo(name, stat.S_IMODE(info.st_mode), dir_fd=target_fd)
                self._own(target_fd, name, info)

    def _directory(
        self, inner_fd: int, target_fd: int, name: str, where: str, leave_out: Collection[str],
        depth: int,
    ) -> None:  # fmt: skip
        there = _kind(target_fd, name)
        if not stat.S_ISDIR(there) or _is_opaque(inner_fd):
            _remove(target_fd, name)
            os.mkdir(name, 0o700, dir_fd=target_fd)
        made_fd = os.open(name, _DIRECTORY, dir_fd=target_fd)
        try:
            self._fill(inner_fd, made_fd, where, leave_out, depth + 1)
            self._set_attributes(inner_fd, made_fd, os.fstat(inner_fd))
        finally:
            os.close(made_fd)

    def _file(self, source_fd: int, target_fd: int, name: str, where: str) -> None:
        fd = os.open(name, _READ, dir_fd=source_fd)
        try:
            info = os.fstat(fd)
            first = self._names.get((info.st_dev, info.st_ino))
            if first is not None:
                with contextlib.suppress(OSError):  # too long a path, or too many names
                    os.link(
                        first, name, src_dir_fd=self._target_fd, dst_dir_fd=target_fd,
                        follow_symlinks=False,
                    )  # fmt: skip
                    return
            made = os.open(name, _MAKE, 0o600, dir_fd=target_fd)
            try:
                file_content.copy(fd, made)
                self._set_attributes(fd, made, info)
            finally:
                os.close(made)
            if info.st_nlink > 1:
                self._names[info.st_dev, info.st_ino] = where
        finally:
            os.close(fd)

    def _set_attributes(self, source_fd: int, made_fd: int, info: os.stat_result) -> None:
        os.fchown(made_fd, self._id(info.st_uid), self._id(info.st_gid))
        for name in os.listxattr(source_fd):
            if name.startswith("user.") and not name.startswith(_OVERLAYS_OWN):
                os.setxattr(made_fd, name, os.getxattr(source_fd, name))
        os.fchmod(made_fd, stat.S_IMODE(info.st_mode))
        os.utime(made_fd, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _own(self, target_fd: int, name: str, info: os.stat_result) -> None:
        ids = self._id(info.st_uid), self._id(info.st_gid)
        os.chown(name, *ids, dir_fd=target_fd, follow_symlinks=False)
        times = info.st_atime_ns, info.st_mtime_ns
        os.utime(name, ns=times, dir_fd=target_fd, follow_symlinks=False)

    def _id(self, number: int) -> int:
        seen = number - self._source_id
        return self._target_id + (seen if 0 <= seen < _ID_COUNT else 0)


def _kind(target_fd: int, name: str) -> int:
    """The mode of what is there; 0 for nothing."""
    try:
        return os.lstat(name, dir_fd=target_fd).st_mode
    except FileNotFoundError:
        return 0


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError:
        return False


def _remove(target_fd: int, name: str, depth: int = 0) -> None:
    """Remove what is there, if anything is."""
    mode = _kind(target_fd, name)
    if not mode:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(name, dir_fd=target_fd)
        return
    if depth > DEPTH_MAX:
        raise OSError(errno.ELOOP, f"more than {DEPTH_MAX} directories within one another")
    fd = os.open(name, _DIRECTORY, dir_fd=target_fd)
    try:
        for inner in os.listdir(fd):
            _remove(fd, inner, depth + 1)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=target_fd)
