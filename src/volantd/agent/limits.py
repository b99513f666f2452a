"""What a container may use, as its function's options say: by its control group, or by rlimits."""

from __future__ import annotations

import asyncio
import resource
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import TYPE_CHECKING

from volant.runner import linux
from volantd.runtime.cgroup import Limits

if TYPE_CHECKING:
    from volantd.agent.bare import Machine
    from volantd.agent.zygotes import Child
    from volantd.hub.records import Function


async def limit(function: Function, child: Child, memory_bytes: int | None) -> None:
    """Hold a container to what its function's options say.

    Args:
        function: whose options they are.
        child: the container.
        memory_bytes: see `memory_limit`; more where its pool has grown.

    Raises:
        OSError: when that cannot be done.
    """
    options = function.options
    cpu_limit = options["cpu_limit"]
    if memory_bytes is None and cpu_limit is None and options["cpu"] is None:
        return
    if child.cgroup is None:
        limit_memory(child.forked.pid, memory_bytes)
        return
    limits = Limits(memory_bytes=memory_bytes, cpu_count=cpu_limit, cpu_request=options["cpu"])
    if child.alone is not None and (memory_bytes or cpu_limit):
        await child.alone  # its zygote is not to be held to them
    await asyncio.to_thread(child.cgroup.limit, limits)


def memory_limit(machine: Machine, memory_bytes: int | None) -> int | None:
    """The most that a container may use when so much was asked for; None: no limit of its own."""
    return None if memory_bytes is None else min(machine.memory_bytes, memory_bytes)


def memory_asked_for(function: Function) -> int | None:
    """The limit of memory among a function's options, in bytes."""
    memory_mib = function.options["memory_limit_mib"]
    return None if memory_mib is None else int(memory_mib * (1 << 20))


def thread_count(function: Function) -> int | None:
    """Threads that math libraries shall use: as many as cores were asked for; None: their own."""
    cores = function.options["cpu_limit"] or function.options["cpu"]
    return None if cores is None else max(1, ceil(cores))


def limit_memory(pid: int, memory_bytes: int | None) -> None:
    """Limit the memory of a process, and of what it starts one by one, without a cgroup.

    Only the address space can be limited then: a MemoryError, not a kill. A file may lie in memory
    too (/dev/shm, memfd_create), so none may be larger. None is no limit.
    """
    if memory_bytes is None:
        return
    try:
        _limit_memory(pid, memory_bytes)
    except PermissionError:  # root without CAP_SYS_RESOURCE; who owns the user namespace may
        with ThreadPoolExecutor(1) as threads:
            threads.submit(_limit_memory_as_owner, pid, memory_bytes).result()


def _limit_memory_as_owner(pid: int, memory_bytes: int) -> None:
    """On a thread that ends then, which has the first user of the container."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as source:
        user_id = next(int(line.split()[1]) for line in source if line.startswith("Uid:"))
    linux.take_effective_user(user_id)
    _limit_memory(pid, memory_bytes)


def _limit_memory(pid: int, memory_bytes: int) -> None:
    for which in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
        resource.prlimit(pid, which, (memory_bytes, memory_bytes))
