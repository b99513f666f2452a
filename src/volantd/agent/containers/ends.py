"""Why a container has ended, as the core wants to know it and as people are told."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from volantd.core import ExitCause
from volantd.runtime.wait_status import in_words

if TYPE_CHECKING:
    from volantd.agent.containers.running import Running
    from volantd.agent.zygotes import Child


def cause_of(running: Running, child: Child, status: int) -> tuple[ExitCause, str]:
    """The cause of a container's end, and the same in words.

    Args:
        running: the container.
        child: its process.
        status: with which that ended.
    """
    if running.stop_reason is not None:
        return ExitCause.STOPPED, running.stop_reason
    if running.killed_for is not None:
        return running.killed_for
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if killed and child.cgroup is not None and child.cgroup.oom_kill_count():
        return ExitCause.OOM, _memory_text(running, child)
    text = f"its process {in_words(status)}"
    if killed:
        return ExitCause.KILLED, text
    return ExitCause.CRASHED if status else ExitCause.CLEAN, text


def _memory_text(running: Running, child: Child) -> str:
    assert child.cgroup is not None
    peak_mib = child.cgroup.peak_memory_bytes() >> 20
    limit_mib = (running.memory_limit_bytes or running.agent.machine.memory_bytes) >> 20
    return f"it ran out of memory (limit {limit_mib} MiB, peak {peak_mib} MiB)"
