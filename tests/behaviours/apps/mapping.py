"""Functions that are mapped and spawned."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import volant

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("mapping")


class Odd(Exception):
    pass


@app.function(max_containers=4)
def double(value: int, offset: int = 0) -> int:
    return 2 * value + offset


@app.function(max_containers=4)
async def double_async(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


@app.function()
def add(first: int, second: int) -> int:
    return first + second


@app.function(max_containers=1)
def counter(key: str, add: int = 0) -> int:
    """What was added under a key; containers share nothing else."""
    counts[key] = counts.get(key, 0) + add
    return counts[key]


@app.function(max_containers=2)
def gated(key: str) -> None:
    """Runs until something is added under `key open`."""
    counter.remote(f"{key} begun", 1)
    while not counter.remote(f"{key} open"):
        time.sleep(0.01)
    counter.remote(f"{key} ended", 1)


@app.function(max_containers=1)
def pass_gate(port: int) -> int:
    """Waits at a port of the machine, if there is one."""
    if port:
        wait_at_gate(port)
    return port


@app.function(max_containers=2)
def count_even(key: str, value: int) -> int:
    counter.remote(key, 1)
    return double_even.local(value)


@app.function()
def never_needed(value: int) -> int:
    return value


@app.function()
def constant() -> str:
    return "called"


@app.function()
def nothing(value: object) -> None:
    assert value is not None


@app.function(max_containers=4)
def double_even(value: int) -> int:
    if value % 2:
        raise Odd(f"{value} is odd")
    return 2 * value


@app.function(max_containers=2, min_containers=2)
def wait(duration_s: float) -> float:
    time.sleep(duration_s)
    return duration_s


@app.function()
async def wait_async(duration_s: float) -> float:
    await asyncio.sleep(duration_s)
    return duration_s


@app.function(max_containers=1)
def notice_cancellation(duration_s: float) -> str:
    """Sleeps; what interrupts it is known to the next input in this container."""
    if not duration_s:
        return ", ".join(interruptions)
    print("begun to notice", flush=True)
    try:
        time.sleep(duration_s)
    except BaseException as error:
        interruptions.append(type(error).__name__)
        raise
    return "slept"


def wait_at_gate(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.recv(1)


class SlowToArrive:
    """An argument that is not unpickled before somebody lets it go."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __reduce__(self) -> tuple[object, ...]:
        return wait_at_gate, (self.port,)


class SlowToLeave(SlowToArrive):
    """A value that is not pickled before."""

    def __reduce__(self) -> tuple[object, ...]:
        wait_at_gate(self.port)
        return int, (1,)


@app.function(max_containers=1)
def wait_for_ever(_argument: object) -> None:
    threading.Event().wait()


@app.function(max_containers=1)
def yield_and_wait_for_ever(port: int) -> Iterator[object]:
    yield 0
    yield SlowToLeave(port)
    threading.Event().wait()


@app.function(max_containers=1)
def ignore_cancellation(duration_s: float) -> None:
    """Goes on until its time is over, whatever happens."""
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        with contextlib.suppress(BaseException):
            time.sleep(0.01)


@app.function(max_containers=2)
def echo(value: bytes) -> bytes:
    return value


@app.function()
def count_up(stop: int) -> Iterator[int]:
    yield from range(stop)


@app.function()
def current_ids(_value: int) -> tuple[str | None, str | None]:
    return volant.current_function_call_id(), volant.current_input_id()


interruptions: list[str] = []
counts: dict[str, int] = {}
