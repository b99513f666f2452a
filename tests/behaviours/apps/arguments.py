"""Entry points with parameters of every kind; each prints what it was given."""

from __future__ import annotations

import sys
import threading
from datetime import datetime  # noqa: TC003  # the command reads annotations
from typing import Literal, Optional, Union

import volant

app = volant.App("arguments")


@app.local_entrypoint()
def typed(
    count: int,
    name: str = "nobody",
    ratio: float = 0.5,
    flag: bool = False,
    on_by_default: bool = True,
) -> None:
    print(repr((count, name, ratio, flag, on_by_default)))


@app.local_entrypoint()
def optional(number: Optional[int] = None, text: str | None = None) -> None:  # noqa: UP045  # both
    print(repr((number, text)))


@app.local_entrypoint()
def when(day: datetime) -> None:
    print(day.isoformat())


@app.local_entrypoint()
def choose(size: Literal["small", "large"] = "small") -> None:
    print(size)


@app.local_entrypoint()
def either(value: Union[int, str]) -> None:  # noqa: UP007  # as users write it
    print(repr(value))


@app.local_entrypoint()
def rest(*args: str) -> None:
    print(repr(args))


@app.local_entrypoint()
def unannotated(  # type: ignore[no-untyped-def]  # that is the test
    plain, number=3, fraction=0.5, switch=False
) -> None:
    print(repr((plain, number, fraction, switch)))


@app.local_entrypoint()
async def awaited(value: int = 1) -> None:
    print(await double.remote.aio(value))


@app.local_entrypoint()
def where() -> None:
    print(threading.current_thread() is threading.main_thread(), sys.argv[1:])


@app.function()
def double(value: int) -> int:
    return 2 * value


@app.function()
def text(value: str = "text") -> str:
    return value


@app.function()
def data() -> bytes:
    return b"\0\1 bytes"


@app.function()
def generate(stop: int):  # type: ignore[no-untyped-def]  # a generator without annotation
    yield from range(stop)


@app.local_entrypoint()
def underscored_name(first_value: int) -> None:
    print(first_value)
