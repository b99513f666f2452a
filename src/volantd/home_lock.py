"""The lock that says who has a home: its daemon, or what puts a backup into it."""

from __future__ import annotations

import fcntl
import os
from time import monotonic, sleep

_NAME = "daemon.lock"
_POLL_S = 0.01


def take(home: str, patience_s: float) -> bool:
    """Take the lock of a home, which is held until this process ends; False if somebody has it."""
    lock = os.open(os.path.join(home, _NAME), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    deadline = monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
            sleep(_POLL_S)
        else:
            return True
