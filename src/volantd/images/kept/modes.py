"""Modes of the files of a layer that belongs to a normal user, whom they bind as they bind no root.

What a step left without permission for its owner could not be measured, packed or copied from; and
a program that runs with its owner's rights would run with those of the user, which nobody meant.
"""

from __future__ import annotations

import os
import stat

from volantd.usage import entries_below

_OPEN_DIRECTORY = stat.S_IRUSR | stat.S_IXUSR
_SET_ID = stat.S_ISUID | stat.S_ISGID


def settle_modes(diff: str) -> None:
    """Let its owner read all of a layer, and no file run with its owner's rights.

    Args:
        diff: its directory. A step may still change what lies there; no link of it is followed.
    """
    info = os.lstat(diff)
    if stat.S_ISDIR(info.st_mode):
        os.chmod(diff, _wanted(info.st_mode))
    for dir_fd, name, info in entries_below(diff):
        mode = _wanted(info.st_mode)
        if mode != stat.S_IMODE(info.st_mode):
            _change(dir_fd, name, mode)


def _wanted(mode: int) -> int:
    bits = stat.S_IMODE(mode)
    if stat.S_ISDIR(mode):
        return bits | _OPEN_DIRECTORY
    return (bits | stat.S_IRUSR) & ~_SET_ID if stat.S_ISREG(mode) else bits


def _change(dir_fd: int, name: str, mode: int) -> None:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        # Through the descriptor: the name may have become a link. One of a link changes nothing.
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)
