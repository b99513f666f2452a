"""Functions whose containers stay for a while, to be looked into."""

from __future__ import annotations

import os
import time
from pathlib import Path

import volant

app = volant.App("staying")


@app.function(env={"COLOUR": "blue"}, max_containers=1)
def look() -> dict[str, str]:
    """What the container's own process may do, field by field."""
    text = Path("/proc/self/status").read_text()
    fields = dict(line.split(":\t", 1) for line in text.splitlines())
    return {**fields, "pid": str(os.getpid()), "colour": os.environ["COLOUR"]}


@app.function(max_containers=1, scaledown_window=2)
def leave() -> None:
    """Its container goes soon."""


@app.function(max_containers=1, scaledown_window=2)
def leave_later() -> None:
    """Its container goes soon, too."""


@app.function(max_containers=1, memory=(64, 256))
def stay() -> None:
    print("here", flush=True)
    time.sleep(600)
