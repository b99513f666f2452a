"""A function that gets a fresh container for every input."""

from __future__ import annotations

import os

import volant

app = volant.App("cycles")


@app.function(single_use_containers=True, max_containers=4)
def once(_number: int) -> str:
    return os.environ["VOLANT_CONTAINER_ID"]
