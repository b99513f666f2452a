"""The lock that says who has a home: its daemon, or what puts a backup into it."""

from __future__ import annotations

import fcntl
import os
from time import monotonic, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "daemon.lock"
_POLL_S = 0.01


def take(home: str, patience_s: float) -> bool:
    """Take the lock of a home, which is held until this process ends; False if somebody has it."""
    lock = os.open(os.path.join(home, _NAME), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    return wait_for(lock, patience_s)


def wait_for(lock: int, patience_s: float, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Lock an open file, for as long as it is open here or in who inherits it.

    Args:
        lock: a descriptor of it.
        patience_s: for how long others may have it.
        meanwhile: called each time that others have it.

    Returns:
        Whether it is locked; if not, others had it all that time.
    """
    deadline = monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
            meanwhile()
            sleep(_POLL_S)
        else:
            return True
