"""What a sandbox uses at this moment: processors, memory, processes, room on the disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from volantd.agent.memory import private_bytes
from volantd.agent.written import Processes, Writer, measure

if TYPE_CHECKING:
    from volantd.runtime.containers.forked import ForkedContainer

#: Of `/proc/PID/stat`, behind the name: time in user code and in the kernel, then the same of
#: children that have ended and were waited for.
_TIMES = slice(11, 15)


def of(forked: ForkedContainer) -> dict[str, Any]:
    """The usage of a sandbox; to be called on a thread.

    Returns:
        `cpu_s` of what runs and of the commands that have ended, `memory_bytes` that its processes
        have for themselves, how many `processes` there are, `disk_bytes` that it has written.
    """
    pids = Processes().of(forked.pid)
    [disk_bytes] = measure([Writer(path=forked.scratch_path, pid=forked.pid)])
    return {
        "cpu_s": sum(map(_cpu_s, pids)), "memory_bytes": sum(map(private_bytes, pids)),
        "processes": len(pids), "disk_bytes": disk_bytes,
    }  # fmt: skip


def _cpu_s(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as source:
            fields = source.read().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has just ended
    return sum(map(int, fields[_TIMES])) / os.sysconf("SC_CLK_TCK")
