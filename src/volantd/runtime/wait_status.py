"""Puts wait statuses into words for people."""

from __future__ import annotations

import os
import signal


def in_words(status: int) -> str:
    """How a process ended, such as "ended by itself with status 3"."""
    if not os.WIFSIGNALED(status):
        return f"ended by itself with status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    return f"was killed by signal {number} ({name})"
