"""Functions that take their container down, in the ways there are."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

import volant

app = volant.App("failing")
STARTED = time.monotonic_ns()


@app.function(max_containers=2)
def sleep_then_tell(duration_s: float) -> str:
    """Where it ran to its end."""
    time.sleep(duration_s)
    return os.environ["VOLANT_CONTAINER_ID"]


@app.function()
def leave(status: int) -> None:
    print("last words", flush=True)
    os._exit(status)


@app.function()
def crash() -> None:
    ctypes.string_at(0)


@app.function()
def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.function(memory=(64, 100))
def use_memory(size_mib: int) -> int:
    return len(bytearray(b"x") * (size_mib << 20))


@app.function()
def fork_and_return() -> int:
    """A forked child that leaves this function must not answer in its parent's name."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return pid


@app.function()
def close_descriptors() -> str:
    os.closerange(3, 256)
    return "closed"


@app.function()
def fine(value: int) -> int:
    return value


@app.function(retries=0)
def recurse(depth: int = 0) -> int:
    return recurse.local(depth + 1)


@app.function()
def recursion_limit() -> int:
    return sys.getrecursionlimit()
