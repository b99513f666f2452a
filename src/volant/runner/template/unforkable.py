"""What a process may not have when it is forked: threads, connections, devices, children.

A forked thread does not exist, and the lock that it held stays locked; a connection would be spoken
on by every container at once; a device's driver knows the process that opened it.
"""

from __future__ import annotations

import os
import sys

from volant.runner import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def thread_names() -> list[str]:
    """The names of all threads but the main one (empty is what a zygote should be)."""
    extra = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]
    if not extra:
        return []
    threading = sys.modules.get("threading")
    known = {}
    if threading is not None:
        known = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    names = []
    for task in extra:
        try:
            with open(f"/proc/self/task/{task}/comm") as comm:
                names.append(known.get(task) or comm.read().strip())
        except OSError:
            continue  # it ended while we looked
    return names


def descriptors() -> set[int]:
    """Descriptors that are open."""
    return {int(name) for name in os.listdir("/proc/self/fd")}


def culprits(before: set[int], children: set[int]) -> list[str]:
    """What hooks have left that forbids forking, in words; empty is what a template should be.

    Args:
        before: descriptors that were open before they ran.
        children: processes that were there before.
    """
    found = [f"thread `{name}`" for name in thread_names()]
    for fd in sorted(descriptors() - before):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the one that listed them
        if target.startswith("socket:"):
            found.append(f"{_connection(fd)} (descriptor {fd})")
        elif target.startswith("/dev/nvidia"):
            found.append(f"the GPU device {target}: CUDA is in use")
    found += [f"child process {pid}" for pid in linux.children() if pid not in children]
    return list(dict.fromkeys(found))


def _connection(fd: int) -> str:
    import socket

    with socket.socket(fileno=os.dup(fd)) as sock:
        try:
            peer: Any = sock.getpeername()
        except OSError:
            return f"a socket bound to {_address(sock.getsockname())}"
        return f"a connection to {_address(peer)}"


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    return repr(address) if address else "a socket of this process"
