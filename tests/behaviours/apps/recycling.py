"""Functions that keep, share and outlive the arrays they are given."""

from __future__ import annotations

import os
import time
from typing import Any

import volant

app = volant.App("recycling")

_kept: list[Any] = []


@app.function(max_containers=1)
def echo(array: Any) -> Any:
    return array


@app.function(max_containers=1)
def fill(size: int, value: int) -> Any:
    import numpy as np

    return np.full(size, value, dtype=np.uint8)


@app.function(max_containers=1)
def keep(array: Any) -> None:
    _kept.append(array)


@app.function(max_containers=1)
def keep_and_show(array: Any) -> list[tuple[int, int]]:
    """Smallest and largest of each array kept so far, this one included."""
    _kept.append(array)
    return [(int(each.min()), int(each.max())) for each in _kept]


@app.function(max_containers=2, retries=1)
def keep_and_fail_first(array: Any, marker: str) -> list[tuple[int, int]]:
    """Keeps what it is given in both attempts; the first one fails."""
    _kept.append(array)
    if array[0] == 0 and not os.path.exists(marker):
        with open(marker, "w"):
            raise ValueError("the first attempt")
    return [(int(each.min()), int(each.max())) for each in _kept]


@app.function(max_containers=1)
def die(array: Any) -> None:
    os._exit(int(array[0]))


@app.function(max_containers=1)
def fork_and_look_later(array: Any, path: str, wait_s: float) -> int:
    """A child looks at the array after the call has returned and others have come."""
    if os.fork() == 0:
        time.sleep(wait_s)
        seen = f"{int(array.min())} {int(array.max())}"
        with open(path + ".part", "w") as file:
            file.write(seen)
        os.rename(path + ".part", path)
        os._exit(0)
    return 0


@app.function(max_containers=1)
def read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


@app.function(max_containers=1)
def fork_echo(array: Any, path: str = "", wait_s: float = 0.0) -> Any:
    """`fork_and_look_later`, `read` and `echo` in one container."""
    if wait_s:
        return fork_and_look_later.local(array, path, wait_s)
    if path:
        return read.local(path)
    return array


@app.function(max_containers=1)
def total(array: Any) -> int:
    return int(array.sum())


@app.function(max_containers=1)
def nest(size: int, rounds: int) -> list[int]:
    """Calls another function with arrays, from a container."""
    import numpy as np

    return [total.remote(np.full(size, value, dtype=np.uint8)) for value in range(rounds)]
