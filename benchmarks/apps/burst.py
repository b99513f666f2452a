"""A function that stands for a while, so that many containers are seen to run at once."""

from __future__ import annotations

import os
import time

import volant

app = volant.App("burst")


@app.function(max_containers=50, scaledown_window=0.05)
def stand(duration_s: float) -> tuple[int, int, str]:
    begun_ns = time.monotonic_ns()
    time.sleep(duration_s)
    return begun_ns, time.monotonic_ns(), os.environ["VOLANT_CONTAINER_ID"]
