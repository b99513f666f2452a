"""Copies what a container wrote into a layer, while nobody can follow what it does to the names.

    upper directory of an overlay ──► layer: files, links, whiteouts and opaque directories alike

Somebody hostile made what is copied, and may change it meanwhile where nothing can be frozen: no
link is followed, a file is what it is when it is open, and depth has a limit. Owners become those
that the container saw. It takes a while, so it is called on a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from volantd.images.kept.tree import OPAQUE_XATTR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: Directories within directories, each of which is held open.
DEPTH_MAX = 256
_COPY_BYTES = 64 << 20
_OVERLAYS_OWN, _USERS = "user.overlay.", "user."
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class BrokenOffError(Exception):
    """Nobody waits for the copy any more."""


class Copy:
    """One copy. `is_wanted` becomes False to have it broken off."""

    def __init__(self, target: str, first_id: int | None) -> None:
        """Copy into an empty directory of ours.

        Args:
            target: the directory.
            first_id: what id 0 of the container is on the disk; None where all is this user's.
        """
        self.is_wanted = True
        self._target = target
        self._first_id = first_id
        #: files with several names -> the first of them, below the target
        self._names: dict[tuple[int, int], str] = {}

    def add(self, source: str, below: str = "", leave_out: Collection[str] = ()) -> None:
        """Copy what lies in a directory; what is there already stays, and hides what is not.

        Args:
            source: the directory.
            below: where in the target, whose directories are made; "" for the target itself.
            leave_out: paths below the source.

        Raises:
            BrokenOffError: it is wanted no more.
            OSError: something cannot be read or written.
        """
        target = os.path.join(self._target, below)
        os.makedirs(target, 0o755, exist_ok=True)
        source_fd = os.open(source, _DIRECTORY)
        try:
            target_fd = os.open(target, _DIRECTORY)
            try:
                self._fill(source_fd, target_fd, below, frozenset(leave_out), 0)
                if not below:
                    self._set_attributes(source_fd, target_fd, os.fstat(source_fd))
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd)

    def _fill(
        self, source_fd: int, target_fd: int, path: str, leave_out: frozenset[str], depth: int
    ) -> None:
        if depth > DEPTH_MAX:
            raise OSError(errno.ELOOP, f"more than {DEPTH_MAX} directories within one another")
        for name in os.listdir(source_fd):
            if not self.is_wanted:
                raise BrokenOffError
            where = f"{path}/{name}" if path else name
            if where in leave_out:
                continue
            try:
                info = os.lstat(name, dir_fd=source_fd)
                if stat.S_ISDIR(info.st_mode):
                    self._directory(source_fd, target_fd, name, where, leave_out, depth)
                elif stat.S_ISREG(info.st_mode):
                    self._file(source_fd, target_fd, name, where)
                else:
                    self._other(source_fd, target_fd, name, info)
            except (FileNotFoundError, FileExistsError, NotADirectoryError):
                continue  # it has just gone, or what is there comes first

    def _directory(
        self, source_fd: int, target_fd: int, name: str, where: str, leave_out: frozenset[str],
        depth: int,
    ) -> None:  # fmt: skip
        with _opened(name, _DIRECTORY, source_fd) as (inner_fd, info):
            is_new = True
            try:
                os.mkdir(name, 0o700, dir_fd=target_fd)
            except FileExistsError:
                is_new = False
            made_fd = os.open(name, _DIRECTORY, dir_fd=target_fd)
            try:
                if is_new or OPAQUE_XATTR not in os.listxattr(made_fd):
                    self._fill(inner_fd, made_fd, where, leave_out, depth + 1)
                if is_new:
                    self._set_attributes(inner_fd, made_fd, info)
            finally:
                os.close(made_fd)

    def _file(self, source_fd: int, target_fd: int, name: str, where: str) -> None:
        with _opened(name, _READ, source_fd) as (fd, info):
            if not stat.S_ISREG(info.st_mode):
                return  # it was another one a moment ago
            first = self._names.get((info.st_dev, info.st_ino))
            if first is not None and _linked(self._target, first, name, target_fd):
                return
            made = os.open(name, _MAKE, 0o600, dir_fd=target_fd)
            try:
                _copy_content(fd, made)
                self._set_attributes(fd, made, info)
            finally:
                os.close(made)
            if info.st_nlink > 1:
                self._names[info.st_dev, info.st_ino] = where

    def _other(self, source_fd: int, target_fd: int, name: str, info: os.stat_result) -> None:
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
        elif stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:  # a whiteout
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=target_fd)
        elif stat.S_ISFIFO(info.st_mode):
            os.mkfifo(name, stat.S_IMODE(info.st_mode), dir_fd=target_fd)
        else:
            return  # a socket, which means nothing without who listens
        if self._first_id is not None:
            ids = self._id(info.st_uid), self._id(info.st_gid)
            os.chown(name, *ids, dir_fd=target_fd, follow_symlinks=False)
        times = info.st_atime_ns, info.st_mtime_ns
        os.utime(name, ns=times, dir_fd=target_fd, follow_symlinks=False)

    def _set_attributes(self, source_fd: int, made_fd: int, info: os.stat_result) -> None:
        if self._first_id is not None:
            os.fchown(made_fd, self._id(info.st_uid), self._id(info.st_gid))
        for name in os.listxattr(source_fd):
            own = name.startswith(_OVERLAYS_OWN) and name != OPAQUE_XATTR
            if name.startswith(_USERS) and not own:
                os.setxattr(made_fd, name, os.getxattr(source_fd, name))
        os.fchmod(made_fd, stat.S_IMODE(info.st_mode))
        os.utime(made_fd, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _id(self, number: int) -> int:
        """An id on the disk as the container saw it; what it could not have is root."""
        seen = number - (self._first_id or 0)
        return seen if 0 <= seen < 65536 else 0


@contextlib.contextmanager
def _opened(name: str, flags: int, dir_fd: int) -> Iterator[tuple[int, os.stat_result]]:
    """A file or directory, open, and what it is; one that its mode closes is opened for a moment.

    Modes close nothing to root; to any other user they close what is his own.
    """
    closed = -1
    try:
        fd = os.open(name, flags, dir_fd=dir_fd)
        info = os.fstat(fd)
    except PermissionError:
        closed = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        info = os.fstat(closed)
        try:
            if stat.S_ISLNK(info.st_mode):
                raise
            os.chmod(f"/proc/self/fd/{closed}", stat.S_IMODE(info.st_mode) | stat.S_IRWXU)
            fd = os.open(f"/proc/self/fd/{closed}", flags & ~os.O_NOFOLLOW)
        except OSError:
            os.close(closed)
            raise
    try:
        yield fd, info
    finally:
        os.close(fd)
        if closed >= 0:
            os.chmod(f"/proc/self/fd/{closed}", stat.S_IMODE(info.st_mode))
            os.close(closed)


def _linked(target: str, first: str, name: str, target_fd: int) -> bool:
    try:
        os.link(os.path.join(target, first), name, dst_dir_fd=target_fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # too long a path, or too many names
        return False
    return True


def _copy_content(source: int, target: int) -> None:
    try:
        while os.copy_file_range(source, target, _COPY_BYTES):
            pass
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
            raise
        while os.sendfile(target, source, None, _COPY_BYTES):
            pass
