"""Functions that take and return large and odd things."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import volant

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("carrying")


class Opaque:
    """Holds what no pickle can."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@app.function(max_containers=2)
def echo(value: Any) -> Any:
    return value


@app.function(max_containers=2)
def digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


@app.function(max_containers=1)
def size_of(value: bytes, keyword: bytes = b"") -> int:
    return len(value) + len(keyword)


@app.function(max_containers=1)
def make_array(size: int) -> Any:
    import numpy as np

    return np.zeros(size, dtype=np.uint8)


@app.function(max_containers=1)
def yield_large(size: int, count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number]) * size


@app.function(max_containers=1)
def describe_array(array: Any) -> tuple[str, tuple[int, ...], bool, bool, bool, float]:
    """What arrived: dtype, shape, C order, Fortran order, whether writable, sum."""
    flags = array.flags
    total = float(array.sum()) if array.size and array.dtype != object else 0.0
    return (
        str(array.dtype), array.shape, flags.c_contiguous, flags.f_contiguous, flags.writeable,
        total,
    )  # fmt: skip


@app.function(max_containers=1)
def write_to(array: Any) -> Any:
    array[0] = 99
    return array


@app.function(max_containers=1)
def return_opaque() -> Opaque:
    return Opaque()


@app.function(max_containers=1)
def raise_large(size: int) -> None:
    raise ValueError("x" * size)
