"""A function that reads a file of a volume, and the same file beside it."""

from __future__ import annotations

import os
import shutil
from time import perf_counter

import volant

app = volant.App("volumes")
volume = volant.Volume.from_name("benchmark", create_if_missing=True)
_PIECE_BYTES = 4 << 20


def _read(path: str) -> float:
    """Bytes a second."""
    buffer = bytearray(_PIECE_BYTES)
    begun, size = perf_counter(), 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            size += count
    return size / (perf_counter() - begun)


@app.function(volumes={"/data": volume}, timeout=600)
def read(turns: int) -> list[tuple[float, float]]:
    """Of a volume, and of the container's own disk, in turns; the first of each is not counted."""
    if not os.path.exists("/root/plain"):
        shutil.copyfile("/data/large", "/root/plain")
    return [(_read("/data/large"), _read("/root/plain")) for _ in range(turns + 1)][1:]


@app.function(volumes={"/data": volume}, timeout=600)
def commit(count: int) -> list[float]:
    """Milliseconds of commits of one small file each."""
    taken = []
    for number in range(count):
        with open("/data/small", "w") as file:
            file.write(str(number))
        begun = perf_counter()
        volume.commit()
        taken.append((perf_counter() - begun) * 1e3)
    return taken
