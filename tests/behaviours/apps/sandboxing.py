"""Functions that use sandboxes: of their own app alone."""

from __future__ import annotations

import volant
from volant.errors import Error

app = volant.App("sandboxing")


@app.function()
def compute(code: str) -> str:
    """Run code in a sandbox of the container's own app and image."""
    sandbox = volant.Sandbox.create(timeout=60)
    process = sandbox.exec("python3", "-c", code)
    out: str = process.stdout.read()
    assert process.wait() == 0
    assert sandbox.terminate(wait=True) == 137
    return out


@app.function()
def look_at(sandbox_id: str) -> str:
    """What a container is told of somebody else's sandbox."""
    if [one.object_id for one in volant.Sandbox.list()]:
        return "it sees others"
    try:
        volant.Sandbox.from_id(sandbox_id)
    except Error as error:
        return type(error).__name__
    return "found"


@app.function(block_network=True)
def network_of_its_sandbox() -> str:
    sandbox = volant.Sandbox.create()
    out: str = sandbox.exec("cat", "/proc/net/dev").stdout.read()
    return out


@app.function()
def build_and_keep(reference: str) -> list[str]:
    """What files are in a sandbox of an image that is built here, and in one of its snapshot."""
    image = volant.Image.from_registry(reference).run_commands("echo > /built")
    sandbox = volant.Sandbox.create(image=image)
    assert sandbox.exec("sh", "-c", "echo > /written").wait() == 0
    kept = volant.Sandbox.create("ls", "/", image=sandbox.snapshot_filesystem())
    found: list[str] = kept.stdout.read().split()
    return found


@app.function(block_network=True)
def build_without_network(reference: str) -> None:
    volant.Sandbox.create(image=volant.Image.from_registry(reference))


@app.function()
def build_with_secret(reference: str, name: str) -> None:
    secret = volant.Secret.from_name(name)
    image = volant.Image.from_registry(reference).run_commands("env > /seen", secrets=[secret])
    volant.Sandbox.create(image=image)


@app.function()
def fill(name: str) -> tuple[str, str]:
    """Run code in a sandbox of an app that is looked up: its id, and what the code printed."""
    found = volant.App.lookup(name, create_if_missing=True)
    sandbox = volant.Sandbox.create("echo", "here", app=found)
    assert sandbox.object_id in [one.object_id for one in volant.Sandbox.list(app_id=found.app_id)]
    return sandbox.object_id, sandbox.stdout.read()
