"""Functions whose containers run several inputs at once, and inputs that wait for one another.

What shares a container shares its globals, so one input opens the gate that another waits at.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from typing import Any, NamedTuple

import volant

app = volant.App("together")

MEETING = 4
REPEATS = 60
#: Longer than this nobody waits for those who do not come.
PATIENCE_S = 20.0
barrier = threading.Barrier(MEETING)
gates: dict[str, threading.Event] = {}
async_gates: dict[str, asyncio.Event] = {}
#: When each waiting input began, and which ended early.
began: dict[str, float] = {}
cancelled: list[str] = []
own: contextvars.ContextVar[int] = contextvars.ContextVar("own", default=-1)


class Refused(Exception):
    pass


class Place(NamedTuple):
    """Where an input ran, as seen after all others had begun."""

    value: int
    container_id: str
    thread: int
    is_main: bool
    input_id: str | None
    call_id: str | None
    own: int


def here(value: int) -> Place:
    return Place(
        value, os.environ["VOLANT_CONTAINER_ID"], threading.get_ident(),
        threading.current_thread() is threading.main_thread(), volant.current_input_id(),
        volant.current_function_call_id(), own.get(),
    )  # fmt: skip


@app.function()
def double(value: int) -> int:
    return 2 * value


@app.function(max_containers=1)
@volant.concurrent(max_inputs=MEETING)
def meet(value: int) -> Place:
    """Nobody leaves before all are there."""
    assert own.get() == -1, "this is the context of another input"
    own.set(value)
    barrier.wait(PATIENCE_S)
    return here(value)


@app.function(max_containers=1)
@volant.concurrent(max_inputs=MEETING)
async def meet_async(value: int) -> Place:
    """The same on an event loop."""
    assert own.get() == -1, "this is the context of another input"
    own.set(value)
    began[f"meet {value}"] = time.monotonic()
    gate = async_gates.setdefault("meet", asyncio.Event())
    if len(began) == MEETING:
        gate.set()
    await asyncio.wait_for(gate.wait(), PATIENCE_S)
    return here(value)


@app.function(max_containers=1)
@volant.concurrent(max_inputs=MEETING)
def meet_and_fail(value: int) -> str:
    """All are there; then some fail, each in its way."""
    barrier.wait(PATIENCE_S)
    if value == 1:
        raise Refused("not 1")
    if value == 2:
        raise SystemExit(2)
    return os.environ["VOLANT_CONTAINER_ID"]


def act_in_thread(what: str, key: str) -> Any:
    """One step of a test: "wait" at a gate, "open" it, or say how long who has "waited"."""
    gate = gates.setdefault(key, threading.Event())
    if what == "wait":
        began[key] = time.monotonic()
        gate.wait()
    elif what == "open":
        gate.set()
    elif what == "waited":
        return {name: time.monotonic() - since for name, since in began.items()}
    return os.environ["VOLANT_CONTAINER_ID"]


@app.function(max_containers=1)
@volant.concurrent(max_inputs=8)
def act(what: str, key: str = "") -> Any:
    return act_in_thread(what, key)


@app.function(max_containers=1, timeout=3.0)
@volant.concurrent(max_inputs=8)
def act_in_time(what: str, key: str = "") -> Any:
    return act_in_thread(what, key)


async def act_in_task(what: str, key: str) -> Any:
    """As `act_in_thread`; one that is cancelled at its gate is noted."""
    gate = async_gates.setdefault(key, asyncio.Event())
    if what == "wait":
        began[key] = time.monotonic()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(key)
            raise
    elif what == "open":
        gate.set()
    elif what == "waited":
        return {name: time.monotonic() - since for name, since in began.items()}
    elif what == "cancelled":
        return cancelled
    return os.environ["VOLANT_CONTAINER_ID"]


@app.function(max_containers=1)
@volant.concurrent(max_inputs=8)
async def act_async(what: str, key: str = "") -> Any:
    return await act_in_task(what, key)


@app.function(max_containers=1, timeout=0.5)
@volant.concurrent(max_inputs=8)
async def act_async_in_time(what: str, key: str = "") -> Any:
    return await act_in_task(what, key)


@app.function(max_containers=1)
@volant.concurrent(max_inputs=8)
async def fail_in_a_task_of_its_own(value: int) -> int:
    """A task that user code made ends the event loop, which goes on."""

    async def leave() -> None:
        raise SystemExit(3)

    task = asyncio.ensure_future(leave())
    await asyncio.wait([task])
    return value if isinstance(task.exception(), SystemExit) else -1


@app.function(max_containers=1)
@volant.concurrent(max_inputs=8)
def call_others(value: int) -> list[int]:
    """All threads of a container share one connection."""
    return [double.remote(value + number) for number in range(5)]


@app.function(max_containers=1)
@volant.concurrent(max_inputs=8)
async def call_others_async(value: int) -> list[int]:
    calls = [double.remote.aio(value + number) for number in range(5)]
    return list(await asyncio.gather(*calls))


@app.function(max_containers=1)
@volant.concurrent(max_inputs=4)
def repeat(letter: bytes, size: int) -> bytes:
    return letter * size


@app.function()
@volant.concurrent(max_inputs=1)
def alone() -> bool:
    return threading.current_thread() is threading.main_thread()


@app.function(max_containers=1)
@volant.concurrent(max_inputs=200)
async def repeat_at_once(letter: bytes, size: int) -> bytes:
    """All are there; then all are done at the same time."""
    began[f"repeat {letter!r}"] = time.monotonic()
    gate = async_gates.setdefault("repeat", asyncio.Event())
    if sum(key.startswith("repeat ") for key in began) == REPEATS:
        gate.set()
    await asyncio.wait_for(gate.wait(), PATIENCE_S)
    if size < 0:
        raise Refused(letter.decode())
    return letter * size
