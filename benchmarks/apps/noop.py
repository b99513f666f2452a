"""A function that does nothing, in two warm containers."""

from __future__ import annotations

import volant

app = volant.App("noop")


@app.function(min_containers=2, max_containers=2)
def noop(value: object = None) -> None:
    pass
