"""Removes a directory and what is below it, without following a link and without recursion.

One directory is open at a time, so depth costs nothing but the names of those above.
"""

from __future__ import annotations

import errno
import os
import stat

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Level:
    """A directory on the way down: which one it is, and which of its directories are left."""

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        info = os.fstat(fd)
        self.identity = info.st_dev, info.st_ino
        self.left: list[str] = []
        for entry in os.listdir(fd):
            try:
                if stat.S_ISDIR(os.lstat(entry, dir_fd=fd).st_mode):
                    self.left.append(entry)
                else:
                    os.unlink(entry, dir_fd=fd)
            except FileNotFoundError:
                continue  # somebody else removes it too


def remove_tree(path: str) -> None:
    """Remove a directory with all it holds.

    Raises:
        OSError: something cannot be removed, or directories are moved about meanwhile.
    """
    fd = os.open(path, _FLAGS)
    try:
        levels = [_Level(fd, path)]
        while True:
            if levels[-1].left:
                name = levels[-1].left.pop()
                fd = _go(fd, name)
                levels.append(_Level(fd, name))
                continue
            done = levels.pop()
            if not levels:
                break
            fd = _go(fd, "..")
            info = os.fstat(fd)
            if (info.st_dev, info.st_ino) != levels[-1].identity:
                raise OSError(errno.EBUSY, "")
            os.rmdir(done.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(path)


def _go(fd: int, name: str) -> int:
    """Open a neighbour of an open directory in its place."""
    found = os.open(name, _FLAGS, dir_fd=fd)
    os.close(fd)
    return found
