"""Functions that import packages when they are called; their containers serve one input each."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import volant

if TYPE_CHECKING:
    from fastapi import FastAPI

app = volant.App("late")
print("imported", os.getpid(), flush=True)


def there(*names: str) -> list[str]:
    """Which of some modules have been imported."""
    return [name for name in names if name in sys.modules]


@app.function(single_use_containers=True)
def crunch() -> list[str]:
    """What was there before it imported anything."""
    found = there("numpy", "fastapi")
    import numpy as np

    assert np.arange(3).sum() == 3
    return found


@app.function(single_use_containers=True)
def plain() -> list[str]:
    return there("numpy", "fastapi")


@app.function(single_use_containers=True)
def set_before() -> list[str]:
    """Changes what the import might heed."""
    found = there("httpx")
    os.environ["MADE_UP"] = "1"
    import httpx

    assert httpx.URL("http://a").host == "a"
    return found


@app.function(single_use_containers=True)
def set_by_another() -> list[str]:
    """Likewise, and the function that imports seems harmless."""
    os.environ["MADE_UP"] = "1"
    return crunch.local()


@app.function(scaledown_window=0.05)
@volant.asgi_app()
def site() -> FastAPI:
    """Tells what was there before."""
    found = there("fastapi")
    from fastapi import FastAPI

    web = FastAPI()
    web.get("/")(lambda: found)
    return web


@app.cls(single_use_containers=True)
class Model:
    @volant.enter()
    def load(self) -> None:
        self.found = there("numpy")
        import numpy as np

        self.weights = np.arange(3)

    @volant.method()
    def ask(self) -> list[str]:
        return self.found


@app.function(scaledown_window=0.05)
@volant.concurrent(max_inputs=4)
def shared() -> list[str]:
    found = there("numpy")
    import numpy as np

    assert np.arange(3).sum() == 3
    return found


@app.function(scaledown_window=0.05)
@volant.batched(max_batch_size=2, wait_ms=1)
def grouped(numbers: list[int]) -> list[list[str]]:
    found = there("numpy")
    import numpy as np

    assert np.arange(3).sum() == 3
    return [found for _ in numbers]


if __name__ == "__main__":
    with volant.enable_output(), app.run():
        calls = 1
        while crunch.remote() != ["numpy"]:
            calls += 1
    print("calls", calls)
