"""Functions that ask for processors in different ways, and that use up what the machine has."""

from __future__ import annotations

import os
import time
from pathlib import Path

import volant

app = volant.App("limiting")


@app.function()
def asks_for_nothing() -> None:
    pass


@app.function(cpu=0.5)
def asks_for_half() -> None:
    pass


@app.function(cpu=(2, 3))
def asks_for_two() -> None:
    pass


@app.function()
def write_files(directory: str, count: int) -> str:
    """Writes as many files of a MiB, slowly enough to be caught; says where it ran."""
    for index in range(count):
        Path(directory, f"{index}.bin").write_bytes(os.urandom(1 << 20))
        time.sleep(0.02)
    return os.environ["VOLANT_CONTAINER_ID"]


@app.function()
def write_little() -> str:
    """Likewise, in containers of its own."""
    Path("/tmp/little").write_bytes(bytes(1 << 20))
    return os.environ["VOLANT_CONTAINER_ID"]


@app.function(memory=64)
def use_memory(size_mib: int) -> int:
    """Books little, and has no limit of its own."""
    return len(bytearray(b"x") * (size_mib << 20))


@app.function(memory=512)
def books_much() -> None:
    pass
