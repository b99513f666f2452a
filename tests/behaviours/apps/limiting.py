"""Functions that ask for processors in different ways."""

from __future__ import annotations

import volant

app = volant.App("limiting")


@app.function()
def asks_for_nothing() -> None:
    pass


@app.function(cpu=0.5)
def asks_for_half() -> None:
    pass


@app.function(cpu=(2, 3))
def asks_for_two() -> None:
    pass
