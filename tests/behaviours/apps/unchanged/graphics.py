"""Functions that want GPUs beside one that wants none, as a program for Modal has them."""

from __future__ import annotations

import modal

app = modal.App("graphics")


@app.function(gpu="h100")
def one() -> str:
    return "computed"


@app.function(gpu=["H100:4", "any"])
def several() -> str:
    return "computed"


@app.function()
def none() -> str:
    return "no GPU"
