"""How libraries that are loaded, or will be, hear of their number of threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy
del os.environ["OPENBLAS_NUM_THREADS"]
os.environ.update({mine!r})
import ctypes
from volant.runner.libraries import threads
threads.use(2)
[path] = threads._loaded(("openblas",))
library = ctypes.CDLL(path)
for name in threads.SETTERS:
    getter = getattr(library, name.replace("_set_", "_get_"), None)
    if getter is not None:
        print(getter(), os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"])
        break
"""


def _asked(**mine: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(mine=mine)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.parametrize(
    ("mine", "told"),
    [
        ({}, ["2", "2", "2"]),
        ({"OMP_NUM_THREADS": "5"}, ["2", "2", "5"]),
        ({"OPENBLAS_NUM_THREADS": "1"}, ["1", "1", "2"]),
    ],
    ids=["nothing", "another", "this"],
)
def test_a_library_that_is_loaded_is_told_unless_the_user_has(mine, told):
    pytest.importorskip("numpy", reason="numpy is not installed beside the tests")
    assert _asked(**mine) == told
