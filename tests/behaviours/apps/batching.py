"""Functions that take the inputs of several callers together."""

from __future__ import annotations

import threading

import volant

app = volant.App("batching")

#: Longer than any test waits, so that only a full batch goes.
LONG_MS = 60_000


@app.function(max_containers=1)
@volant.batched(max_batch_size=4, wait_ms=LONG_MS)
def whole(values: list[int]) -> list[tuple[int, int]]:
    """Each value, and how many came with it."""
    assert threading.current_thread() is threading.main_thread()
    return [(value, len(values)) for value in values]


@app.function(max_containers=1)
@volant.batched(max_batch_size=100, wait_ms=50)
def partial(values: list[int]) -> list[tuple[int, int]]:
    return [(value, len(values)) for value in values]


@app.function(max_containers=1)
@volant.batched(max_batch_size=2, wait_ms=LONG_MS)
async def join(left: list[str], right: list[str]) -> list[str]:
    return [a + b for a, b in zip(left, right, strict=True)]


@app.function(max_containers=1)
@volant.batched(max_batch_size=2, wait_ms=LONG_MS)
def odd(values: list[str]) -> object:
    if "raise" in values:
        raise LookupError("for all of them")
    return {"short": [1], "text": "ab"}.get(values[0], values)


@app.cls(max_containers=1)
class Model:
    factor: int = volant.parameter(default=2)

    @volant.batched(max_batch_size=3, wait_ms=LONG_MS)
    def times(self, values: list[int]) -> list[int]:
        assert len(values) == 3
        return [self.factor * value for value in values]


@app.function(max_containers=1)
@volant.batched(max_batch_size=2, wait_ms=LONG_MS)
def stuck(values: list[int]) -> list[int]:
    print("stuck", flush=True)
    threading.Event().wait()
    return values
