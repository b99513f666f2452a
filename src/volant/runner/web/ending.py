"""The end of the programs that a server's enter hooks have started.

    requests finish ─► SIGTERM ─► exit hooks ─► the programs have ended ─► the container ends

Who takes longer than the container may is killed with it.
"""

from __future__ import annotations

import os
import signal


def terminate_descendants() -> None:
    """Ask every program that this process has started, or that one of these has, to end."""
    parents = _parents()
    for pid in list(parents):
        ancestor = parents[pid]
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        if ancestor == os.getpid():
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass  # it has ended, or has become somebody whom we may not end


def wait_for_children() -> None:
    """Wait until all programs that this process has started have ended."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def _parents() -> dict[int, int]:
    """The parent of each process that can be seen."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    # The name of a program is in parentheses, and may hold some itself.
                    found[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
    return found
