"""A function that many call at once, and its containers."""

from __future__ import annotations

import os
import time

import volant

app = volant.App("steps")

SCALEDOWN_WINDOW_S = 1.0


@app.function(max_containers=50, scaledown_window=SCALEDOWN_WINDOW_S)
def stand(duration_s: float) -> tuple[int, str]:
    """CLOCK_MONOTONIC at its first line, and the container."""
    begun_ns = time.monotonic_ns()
    time.sleep(duration_s)
    return begun_ns, os.environ["VOLANT_CONTAINER_ID"]
