"""A function that gives an array back."""

from __future__ import annotations

import numpy as np

import volant

app = volant.App("arrays")


@app.function(min_containers=1, max_containers=1)
def echo(array: np.ndarray) -> np.ndarray:
    return array
