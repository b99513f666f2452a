"""Autoscalers that are changed while they work, from here and from containers."""

from __future__ import annotations

import os
from typing import Any

import volant

app = volant.App("scaling")


@app.function(max_containers=4)
def where() -> str:
    return os.environ["VOLANT_CONTAINER_ID"]


@app.function(max_containers=1)
def worn_out(size: int) -> str:
    """Which container this is, that wants to be no more after an input of some size."""
    if size > 1:
        volant.experimental.stop_fetching_inputs()
    return os.environ["VOLANT_CONTAINER_ID"]


@app.cls(max_containers=1)
@volant.concurrent(max_inputs=2)
class WornOut:
    @volant.exit()
    def leave(self) -> None:
        print("left", flush=True)

    @volant.method()
    async def where(self, size: int) -> str:
        if size > 1:
            volant.experimental.stop_fetching_inputs()
        return os.environ["VOLANT_CONTAINER_ID"]


@app.function(max_containers=2)
def other() -> int:
    return 1


@app.cls()
class Model:
    size: int = volant.parameter(default=1)

    @volant.method()
    def where(self) -> str:
        return os.environ["VOLANT_CONTAINER_ID"]

    @volant.method()
    def keep(self, count: int) -> Any:
        handle: Any = Model(size=self.size)
        return handle.update_autoscaler(min_containers=count)


@app.cls()
class Named:
    """A class with an attribute of a name that objects have, too."""

    autoscaler = "mine"

    @volant.method()
    def answer(self) -> int:
        return 42


@app.function()
def keep_other(count: int) -> tuple[Any, Any, Any]:
    changed = other.update_autoscaler(min_containers=count)
    return changed, other.autoscaler.settings(), other.get_current_stats()


@app.function()
async def keep_other_async(count: int) -> tuple[Any, Any, Any]:
    changed = await other.update_autoscaler.aio(min_containers=count)
    return changed, await other.autoscaler.settings.aio(), await other.get_current_stats.aio()
