"""A class whose model is loaded in the template of its containers, or in each of them.

The model is many arrays of a megabyte, as the layers of a network are: numpy asks for huge pages
itself where an array is larger. It is unpickled from a file, which is the fastest way to load it.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import volant

app = volant.App("snapshots")

#: In a directory that the host image shows to containers.
MODEL_FILE = Path(sys.prefix, "share/volant-benchmarks/model.pickle")
LAYERS, LAYER_BYTES = 256, 1 << 20


def write_model() -> None:
    """Write the file that containers load."""
    MODEL_FILE.parent.mkdir(parents=True, exist_ok=True)
    layers = [np.full(LAYER_BYTES // 8, number, dtype=np.float64) for number in range(LAYERS)]
    with MODEL_FILE.open("wb") as file:
        pickle.dump((layers, pd.Series(range(LAYERS))), file, protocol=5)


class Loading:
    """What both classes do."""

    def load(self) -> None:
        with MODEL_FILE.open("rb") as file:
            self.layers, self.labels = pickle.load(file)

    @volant.method()
    def first_line(self) -> tuple[int, int]:
        """CLOCK_MONOTONIC at the first line of user code, and a word of the model."""
        now_ns = time.monotonic_ns()
        return now_ns, int(self.layers[-1][0])

    @volant.method()
    def read(self, stand_s: float) -> tuple[str, float]:
        """Read all of the model, and stand so long, so that others need other containers."""
        total = sum(float(layer.sum()) for layer in self.layers)
        time.sleep(stand_s)
        return os.environ["VOLANT_CONTAINER_ID"], total


@app.cls(scaledown_window=0.05, enable_memory_snapshot=True)
class Snapped(Loading):
    @volant.enter(snap=True)
    def enter(self) -> None:
        self.load()


@app.cls(scaledown_window=0.05)
class Plain(Loading):
    @volant.enter()
    def enter(self) -> None:
        self.load()
