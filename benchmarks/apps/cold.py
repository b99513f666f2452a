"""A function of a program that imports numpy; its containers leave at once."""

from __future__ import annotations

import time

import numpy as np

import volant

app = volant.App("cold")


@app.function(scaledown_window=0.05)
def first_line() -> tuple[int, int]:
    """CLOCK_MONOTONIC at the first line of user code; every process of a machine shares it."""
    now_ns = time.monotonic_ns()
    return now_ns, int(np.arange(8).sum())
