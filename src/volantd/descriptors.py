"""What descriptors that strangers send may be."""

from __future__ import annotations

import os
import stat

#: The device that the leading end of every terminal is.
_LEADER_DEVICE = os.makedev(5, 2)


def is_leader(fd: int) -> bool:
    """Whether this is the leading end of a terminal.

    Whatever else it might be could make whoever uses it wait.
    """
    found = os.fstat(fd)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == _LEADER_DEVICE
