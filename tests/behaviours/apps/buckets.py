"""A function that gets its buckets with `with_options`, and what it does to files in them."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import volant

app = volant.App("buckets")


@app.function(max_containers=1)
def run(what: str, *given: Any) -> Any:
    try:
        return globals()[what](*given)
    except OSError as error:
        return type(error).__name__, error.errno


def write(path: str, text: str, mode: str = "w") -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, mode) as file:
        file.write(text)
    return "written"


def rewrite(path: str) -> str:
    """Go back to the beginning of what is being written."""
    with open(path, "w") as file:
        file.write("first")
        file.flush()
        file.seek(0)
        file.write("again")
    return "written"


def read(path: str, offset: int = 0, size: int = -1) -> str:
    with open(path) as file:
        file.seek(offset)
        return file.read(size)


def names(path: str) -> list[str]:
    return sorted(os.listdir(path))


def owners(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_uid, found.st_gid


def move(source: str, target: str) -> str:
    os.rename(source, target)
    return "moved"


def remove(path: str) -> str:
    os.unlink(path)
    return "removed"


def secrets() -> list[str]:
    """What of the secret of a mount can be found here."""
    seen = [*os.environ.values(), read("/proc/mounts")]
    for name in filter(str.isdigit, os.listdir("/proc")):
        for what in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                seen.append(read(f"/proc/{name}/{what}"))
    return seen
