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

from volantd import file_content
from volantd.images.kept.tree import OPAQUE_XATTR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: Directories within directories, each of which is held open.
DEPTH_MAX = 256
#: On a directory: there may be whiteouts in it. Where nothing lies below, as that was in a layer
#: which has become one with this, the kernel would list their names otherwise.
#: Source: `ovl_get_inode` in fs/overlayfs/inode.c
_ORIGIN_XATTR = "user.overlay.origin"
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
        #: whether the target itself has its owner, mode and times
        self._is_settled = False
        #: files with several names -> the first of them, below the target
        self._names: dict[tuple[int, int], str] = {}

    def add(self, source: str, below: str = "", leave_out: Collection[str] = ()) -> None:
        """Copy what lies in a directory; what is there already stays, and hides what is not.

        Args:
            source: the directory.
            below: where in the target, whose directories are made; "" for the target itself. A
                path of several must come before what somebody hostile made may lie on the way.
            leave_out: paths below the source.

        Raises:
            BrokenOffError: it is wanted no more.
            OSError: something cannot be read or written.
        """
        source_fd = os.open(source, _DIRECTORY)
        try:
            self.add_open(source_fd, below, leave_out)
        finally:
            os.close(source_fd)

    def add_layer(self, layer: str) -> None:
        """`add` what lies in a layer, where owners are as in the target."""
        first_id = self._first_id
        self._first_id = None if first_id is None else 0
        try:
            self.add(layer)
        finally:
            self._first_id = first_id

    def add_open(self, source_fd: int, below: str = "", leave_out: Collection[str] = ()) -> None:
        """`add` from a directory that is open."""
        target = os.path.join(self._target, below)
        is_new = not os.path.lexists(target) if below else not self._is_settled
        self._is_settled |= not below
        os.makedirs(target, 0o755, exist_ok=True)
        target_fd = os.open(target, _DIRECTORY)
        try:
            self._fill(source_fd, target_fd, below, frozenset(leave_out), 0)
            if is_new:
                self._set_attributes(source_fd, target_fd, os.fstat(source_fd))
        finally:
            os.close(target_fd)

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
            except (FileNotFoundError, NotADirectoryError):
                continue  # it has just gone, or what is there comes first
            except FileExistsError:
                _make_opaque(name, target_fd)  # below this one nothing is seen of what is there

    def _directory(
        self, source_fd: int, target_fd: int, name: str, where: str, leave_out: frozenset[str],
        depth: int,
    ) -> None:  # fmt: skip
        with _opened(name, _DIRECTORY, source_fd) as (inner_fd, info):
            try:
                os.mkdir(name, 0o700, dir_fd=target_fd)
            except FileExistsError:
                self._merge(inner_fd, target_fd, name, where, leave_out, depth)
                return
            made_fd = os.open(name, _DIRECTORY, dir_fd=target_fd)
            try:
                self._fill(inner_fd, made_fd, where, leave_out, depth + 1)
                self._set_attributes(inner_fd, made_fd, info)
            finally:
                os.close(made_fd)

    def _merge(
        self, inner_fd: int, target_fd: int, name: str, where: str, leave_out: frozenset[str],
        depth: int,
    ) -> None:  # fmt: skip
        """Copy into a directory that is there, and stays what it is otherwise."""
        with _opened(name, _DIRECTORY, target_fd) as (made_fd, before):
            if OPAQUE_XATTR in os.listxattr(made_fd):
                return
            os.fchmod(made_fd, stat.S_IMODE(before.st_mode) | stat.S_IRWXU)
            self._fill(inner_fd, made_fd, where, leave_out, depth + 1)
            if OPAQUE_XATTR in os.listxattr(inner_fd):
                os.setxattr(made_fd, OPAQUE_XATTR, b"y")
            os.fchmod(made_fd, stat.S_IMODE(before.st_mode))
            os.utime(made_fd, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _file(self, source_fd: int, target_fd: int, name: str, where: str) -> None:
        with _opened(name, _READ, source_fd) as (fd, info):
            if not stat.S_ISREG(info.st_mode):
                return  # it was another one a moment ago
            first = self._names.get((info.st_dev, info.st_ino))
            if first is not None and _linked(self._target, first, name, target_fd):
                return
            made = os.open(name, _MAKE, 0o600, dir_fd=target_fd)
            try:
                for _ in file_content.pieces(fd, made):
                    if not self.is_wanted:
                        raise BrokenOffError
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
            os.setxattr(target_fd, _ORIGIN_XATTR, b"")
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
        os.fchmod(made_fd, _mode(info))
        os.utime(made_fd, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _id(self, number: int) -> int:
        """An id on the disk as the container saw it; what it could not have is root."""
        seen = number - (self._first_id or 0)
        return seen if 0 <= seen < 65536 else 0


def _make_opaque(name: str, dir_fd: int) -> None:
    """Have a directory hide what lies below it in other layers; other files do so anyway."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    except OSError:
        return
    try:
        os.setxattr(fd, OPAQUE_XATTR, b"y")
    finally:
        os.close(fd)


def _mode(info: os.stat_result) -> int:
    """Without what would lend a file's owner, who is this machine's root in a layer of root's."""
    mode = stat.S_IMODE(info.st_mode)
    return mode & ~(stat.S_ISUID | stat.S_ISGID) if stat.S_ISREG(info.st_mode) else mode


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
