"""A function that gives an array back."""

from __future__ import annotations

import numpy as np  # noqa: TC002  # imported by the template, so that no call pays for it

import volant

app = volant.App("arrays")


@app.function(min_containers=1, max_containers=1)
def echo(array: np.ndarray) -> np.ndarray:
    return array
