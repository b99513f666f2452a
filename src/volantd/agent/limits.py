"""What a container may use, as its function's options say: by its control group, or by rlimits."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING

from volantd.runtime.cgroup import Limits

if TYPE_CHECKING:
    from volantd.agent.bare import Machine
    from volantd.agent.zygotes import Child
    from volantd.hub.records import Function


async def limit(machine: Machine, function: Function, child: Child) -> None:
    """Hold a container to what its function's options say.

    Raises:
        OSError: when that cannot be done.
    """
    options = function.options
    memory_mib, cpu_limit = options["memory_limit_mib"], options["cpu_limit"]
    if memory_mib is None and cpu_limit is None and options["cpu"] is None:
        return
    if child.cgroup is None:
        limit_memory(machine, function, child.forked.pid)
        return
    limits = Limits(
        memory_bytes=_memory_limit(machine, function), cpu_count=cpu_limit,
        cpu_request=options["cpu"],
    )  # fmt: skip
    if child.alone is not None and (memory_mib or cpu_limit):
        await child.alone  # its zygote is not to be held to them
    await asyncio.to_thread(child.cgroup.limit, limits)


def limit_memory(machine: Machine, function: Function, pid: int) -> None:
    """Limit the memory of a process in a container of a function that has no cgroup."""
    memory_bytes = _memory_limit(machine, function)
    if memory_bytes is not None:
        limit_memory_of(pid, memory_bytes)


def _memory_limit(machine: Machine, function: Function) -> int | None:
    memory_mib = function.options["memory_limit_mib"]
    if memory_mib is None:
        return None
    return min(machine.memory_bytes, int(memory_mib * (1 << 20)))


def limit_memory_of(pid: int, memory_bytes: int) -> None:
    """Limit the memory of a process, and of what it starts one by one, without a cgroup.

    Only the address space can be limited then: a MemoryError, not a kill. A file may lie in memory
    too (/dev/shm, memfd_create), so none may be larger.
    """
    for which in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
        resource.prlimit(pid, which, (memory_bytes, memory_bytes))
