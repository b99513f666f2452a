"""An app that is asked what it is, and containers that end because they ask for it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import volant
import volant.experimental
from volant.sdk.inputs.retiring import simulate_preemption

if TYPE_CHECKING:
    from typing import Any

app = volant.App("known")
kept = volant.Volume.from_name("known-kept", create_if_missing=True)


@app.function(
    cpu=(0.5, 1.0), memory=256, timeout=60, retries=2, single_use_containers=True,
    volumes={"/kept": kept.with_mount_options(read_only=True)},
    secrets=[volant.Secret.from_name("known-secret")], env={"HIDDEN": "value"},
)  # fmt: skip
def described() -> None: ...


@app.function()
@volant.concurrent(max_inputs=7, target_inputs=3)
def shared() -> int:
    return volant.experimental.get_local_input_concurrency()


@app.function()
def alone() -> int:
    return volant.experimental.get_local_input_concurrency()


@app.function()
@volant.asgi_app(requires_proxy_auth=True)
def page() -> Any:
    raise NotImplementedError


@app.cls()
class Model:
    @volant.method()
    def ask(self) -> None: ...

    @volant.fastapi_endpoint(method="POST")
    def answer(self) -> None: ...


@app.server(port=9000, unauthenticated=True)
class Door:
    @volant.enter()
    def start(self) -> None: ...


@app.function()
def say(words: str) -> None:
    print(words)


@app.function(restrict_modal_access=True)
def restricted() -> list[str]:
    """What each thing that a container may otherwise do says."""
    kept = volant.Dict.from_name("known-dict")
    said = []
    for ask in (
        alone.remote, alone.spawn, lambda: list(alone.map([1])), lambda: kept.get(1),
        lambda: volant.Sandbox.create("true"), lambda: volant.Dict.ephemeral().__enter__(),
        lambda: volant.forward(8000).__enter__(),
    ):  # fmt: skip
        try:
            said.append(repr(ask()))
        except volant.Error as error:
            said.append(type(error).__name__)
    return said


@app.function()
def who() -> Any:
    """What a container is told of its own app and function."""
    found = volant.App()
    return found.info().description, who.info().name


@app.function()
def leave(seen: Any) -> str:
    """Ask for its own end, and wait for it; the next container finds that it has been asked."""
    own = os.environ["VOLANT_TASK_ID"]
    if not seen.put("first", own, skip_if_exists=True):
        return own
    simulate_preemption(0.01, jitter_seconds=0.01)
    try:
        threading.Event().wait()
    except BaseException:
        seen.put("told", True)
        raise
    return own
