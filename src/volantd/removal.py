"""Removes directory trees that somebody hostile has filled.

Owns one algorithm: never follow a link, never recurse, never hold more than two descriptors.
A directory found inside is first moved up beside the others, so depth costs nothing.

And keeps what was removed from slowing down what is made next: `spread`.
"""

from __future__ import annotations

import fcntl
import os
import stat
from _struct import pack, unpack

#: Flags of inodes, and one of ext4: directories in there have nothing to do with each other.
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x20000


def move(path: str, target: str) -> None:
    """Give a file, link or directory another place on its file system, whatever its mode.

    Raises:
        OSError: when that is not possible; `FileNotFoundError` when there is nothing.
    """
    try:
        os.rename(path, target)
    except PermissionError:  # a directory has to be writable, because its `..` changes
        parent_fd = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _make_accessible(os.path.basename(path), parent_fd)
        finally:
            os.close(parent_fd)
        os.rename(path, target)


def remove_tree(path: str, trash_dir: str) -> None:
    """Make `path` vanish at once, then delete what it held.

    Args:
        path: a file, link or directory; nothing happens if it does not exist.
        trash_dir: an existing directory of ours on the same file system.

    Raises:
        OSError: when something cannot be deleted; the rest has been.
    """
    doomed = os.path.join(trash_dir, f"{os.getpid()}-{os.path.basename(path)}")
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        move(path, doomed)
    except FileNotFoundError:
        return
    trash_fd = os.open(trash_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _empty(trash_fd, os.path.basename(doomed))
    finally:
        os.close(trash_fd)


def _empty(trash_fd: int, first: str) -> None:
    waiting = [first]
    count = 0
    problem: OSError | None = None
    while waiting:
        name = waiting.pop()
        try:
            _make_accessible(name, trash_fd)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=trash_fd)
            try:
                for entry in os.listdir(fd):
                    if not stat.S_ISDIR(os.lstat(entry, dir_fd=fd).st_mode):
                        os.unlink(entry, dir_fd=fd)
                        continue
                    if _removed_at_once(entry, fd):
                        continue
                    count += 1
                    _make_accessible(entry, fd)
                    os.rename(entry, f"{first}.{count}", src_dir_fd=fd, dst_dir_fd=trash_fd)
                    waiting.append(f"{first}.{count}")
            finally:
                os.close(fd)
            os.rmdir(name, dir_fd=trash_fd)
        except FileNotFoundError:
            continue
        except OSError as error:
            problem = error
    if problem is not None:
        raise problem


def _removed_at_once(entry: str, fd: int) -> bool:
    try:
        os.rmdir(entry, dir_fd=fd)
    except OSError:
        return False
    return True


def _make_accessible(name: str, dir_fd: int) -> None:
    """Let its owner into a directory: overlays leave some of mode 0, containers do as they like.

    Root needs no permission. For others the mode is changed through a descriptor, because the
    name may have become a link by now.
    """
    if os.geteuid() == 0:
        return
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=dir_fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
    finally:
        os.close(fd)


def remove_run_dir(run_dir: str) -> None:
    """Remove the directory of a run, with its own `trash` as the place to take it apart."""
    trash_dir = os.path.join(run_dir, "trash")
    try:
        os.makedirs(trash_dir, 0o700, exist_ok=True)
        for name in os.listdir(run_dir):
            if name != "trash":
                remove_tree(os.path.join(run_dir, name), trash_dir)
        for name in os.listdir(trash_dir):  # of a removal that was cut off
            remove_tree(os.path.join(trash_dir, name), trash_dir)
        os.rmdir(trash_dir)
        os.rmdir(run_dir)
    except FileNotFoundError:
        return


def spread(path: str) -> None:
    """Have each directory made in a directory lie apart from the others, where that can be said.

    An ext4 without a journal does not use an inode again within a minute, and looks for a free one
    from the first of a group on: where directories come and go in one group, each new file costs a
    walk along all that were removed lately, up to 0.7 ms. Where one in here lies apart goes by its
    name, so names of what comes and goes should not come again.

    Source: `recently_deleted` and `find_group_orlov` in fs/ext4/ialloc.c
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        [flags] = unpack("L", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8)))
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, pack("L", flags | _TOPDIR))
    except OSError:
        pass  # of another kind, which need not be told
    finally:
        os.close(fd)
