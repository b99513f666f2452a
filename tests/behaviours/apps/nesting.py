"""Functions that call functions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import volant

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("nesting")


class Refused(Exception):
    pass


@app.function()
def double(value: int) -> int:
    return 2 * value


@app.function()
def refuse(value: int) -> None:
    raise Refused(f"not {value}")


@app.function()
def count(stop: int) -> Iterator[int]:
    yield from range(stop)


@app.function()
def use_every_form(value: int) -> list[Any]:
    """What each form gives, seen from inside a container."""
    call = double.spawn(value)
    double.for_each([value])
    many = double.experimental_spawn_map([value, value + 1])
    return [
        double.remote(value),
        double.local(value),
        call.get(),
        volant.FunctionCall.from_id(call.object_id).get(),
        list(double.map(range(value))),
        list(double.starmap([(value,)])),
        list(count.remote_gen(value)),
        list(many.iter()),
    ]


@app.function()
def start_and_leave(value: int) -> volant.FunctionCall[int]:
    return double.spawn(value)


@app.function()
def pass_on(value: int) -> None:
    refuse.remote(value)


@app.function(max_containers=20)
def fibonacci(number: int) -> int:
    """Calls itself, and waits for both."""
    if number < 2:
        return number
    first, second = fibonacci.spawn(number - 1), fibonacci.spawn(number - 2)
    return first.get() + second.get()


@app.function()
def large_there_and_back(size: int) -> int:
    return len(echo.remote(bytes(size)))


@app.function()
def echo(value: Any) -> Any:
    return value


@app.function()
def ids() -> tuple[str | None, str | None, str, str | None]:
    """Its call and input, then those of a call that it makes."""
    return (
        volant.current_function_call_id(), volant.current_input_id(),
        os.environ["VOLANT_CONTAINER_ID"], other_id.remote(),
    )  # fmt: skip


@app.function()
def other_id() -> str | None:
    return volant.current_function_call_id()


@app.function()
def run_another_app() -> int:
    """`app.run()` inside a function."""
    inner = volant.App("inner")

    @inner.function(serialized=True)
    def triple(value: int) -> int:
        return 3 * value

    with inner.run():
        return triple.remote(5)


@app.function()
def in_threads() -> list[int]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(double.remote, range(20)))


@app.function()
def in_a_subprocess() -> str:
    """A child process has no part in its parent's calls."""
    import subprocess
    import sys

    program = "import volant; print(volant.is_local(), volant.current_input_id())"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout


@app.function()
def deploy_another_app() -> int:
    """`app.deploy()` inside a function; what it deploys is called from here."""
    inner = volant.App("deployed-inside")

    @inner.function(serialized=True)
    def triple(value: int) -> int:
        return 3 * value

    inner.deploy(tag="v1")
    return triple.remote(7)
