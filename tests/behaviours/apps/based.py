"""What Debian with a Python of some series is like, seen from a function in it.

python based.py 3.13
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import volant

if TYPE_CHECKING:
    from collections.abc import Iterator

SERIES = sys.argv[1] if len(sys.argv) > 1 else "3.12"
MODULES = (
    "ssl", "sqlite3", "ctypes", "lzma", "bz2", "zlib", "hashlib", "readline", "curses", "uuid",
    "venv",
)  # fmt: skip

app = volant.App("based", image=volant.Image.debian_slim(SERIES))


def is_importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


@app.function()
def look() -> dict[str, object]:
    pip = subprocess.run(["pip", "--version"], capture_output=True, text=True, check=True)
    return {
        "series": ".".join(map(str, sys.version_info[:2])),
        "python": sys.executable,
        "prefix": sys.prefix,
        "include": sysconfig.get_config_var("INCLUDEPY"),
        "missing": [name for name in MODULES if not is_importable(name)],
        "pip": pip.stdout,
        "compiled": os.path.exists(importlib.util.cache_from_source(json.__file__)),
    }


@app.function()
def count(upto: int) -> Iterator[int]:
    yield from range(upto)


@app.function()
async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@app.function()
def fail(number: int) -> None:
    raise ExampleError(number)


class ExampleError(Exception):
    """An error of this module's own."""


def failure() -> object:
    """What arrives of an exception in a container."""
    try:
        fail.remote(3)
    except ExampleError as error:
        return error.args
    return None


def main() -> None:
    here = [name for name in MODULES if not is_importable(name)]
    with app.run():
        forms = [list(count.remote_gen(3)), list(double.map([1, 2])), failure()]
        print(json.dumps({**look.remote(), "missing here": here, "forms": forms}))


if __name__ == "__main__":
    main()
