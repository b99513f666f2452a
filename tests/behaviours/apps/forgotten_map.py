"""Makes a map and never asks for its results."""

from __future__ import annotations

import volant

app = volant.App("forgotten-map")


@app.function()
def double(value: int) -> int:
    return 2 * value


if __name__ == "__main__":
    with app.run():
        results = double.map([1, 2, 3])
