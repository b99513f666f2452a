"""Functions of every form, for the behaviours of calling."""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from typing import TYPE_CHECKING

import volant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

app = volant.App("calling")


class Unlucky(ValueError):
    """An exception with something of its own."""

    def __init__(self, message: str, amount: int) -> None:
        super().__init__(message)
        self.amount = amount


class Unsendable(Exception):
    """An exception that no pickle can hold."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


@app.function()
def place(first: int, second: int = 2, *, third: int = 3) -> tuple[int, int, int, str, bool]:
    """Its arguments, and where it ran."""
    return first, second, third, os.environ.get("VOLANT_CONTAINER_ID", ""), volant.is_local()


@app.function()
async def place_async(value: int) -> tuple[int, bool]:
    return value, volant.is_local()


def fail_together() -> None:
    errors: list[Exception] = []
    for kind in ("unlucky", "unsendable"):
        try:
            fail.local(kind)
        except Exception as error:  # noqa: BLE001  # collected
            errors.append(error)
    raise ExceptionGroup("together", errors)


@app.function()
def fail(kind: str) -> None:
    if kind == "unlucky":
        raise Unlucky("bad luck", 13)
    if kind == "unsendable":
        raise Unsendable("text of its own")
    if kind == "group":
        fail_together()
    if kind == "exit":
        sys.exit(7)
    if kind == "interrupt":
        raise KeyboardInterrupt
    raise AssertionError(kind)


@app.function()
def fail_as_only_here() -> None:
    """Raises an exception of a module that no other process can import."""
    module = types.ModuleType("only_here")
    stranger = type("Stranger", (Exception,), {"__module__": module.__name__})
    vars(module)["Stranger"] = stranger
    sys.modules[module.__name__] = module
    raise stranger("text of its own")


@app.function()
async def fail_async(message: str) -> None:
    raise Unlucky(message, 1)


@app.function(timeout=0.3)
def sleep_too_long() -> None:
    time.sleep(30)


@app.function(timeout=1.5)
def sleep_within_its_time(duration_s: float) -> str:
    time.sleep(duration_s)
    return "done"


@app.function()
def count_up(stop: int, fail_at: int | None = None, delay_s: float = 0.0) -> Iterator[int]:
    for number in range(stop):
        if number == fail_at:
            raise Unlucky(f"at {number}", number)
        yield number
        time.sleep(delay_s)


@app.function()
async def count_up_async(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number


@app.function(is_generator=True)
def declared_generator(stop: int) -> Iterator[int]:
    return iter(range(stop))


@app.function()
def returns_generator(stop: int) -> Iterator[int]:
    return (number for number in range(stop))


@app.function()
def name_public_type(value: object) -> str:
    """Which of the public classes an argument is of."""
    kinds = (
        volant.Function, volant.FunctionCall, volant.Cls, volant.App, volant.Dict, volant.Queue,
        volant.Volume, volant.Secret, volant.Image, volant.Retries, volant.Cron,
    )  # fmt: skip
    return next(kind.__name__ for kind in kinds if isinstance(value, kind))


@app.function()
def call_handle(function: volant.Function, value: int) -> object:
    """Use a function that came as an argument."""
    return function.remote(value)


@app.function()
def get_handle(call: volant.FunctionCall) -> object:
    """Use a call that came as an argument."""
    return call.get()


@app.function()
def make_handles() -> tuple[object, object]:
    """A function and a call as results."""
    return place, place.spawn(5)


@app.function()
def take_names(self: int, /, args: int = 1, kwargs: int = 2, **more: int) -> tuple[object, ...]:
    """Parameters called as those of any method are."""
    return self, args, kwargs, more


@app.function()
def echo(value: object) -> object:
    return value
