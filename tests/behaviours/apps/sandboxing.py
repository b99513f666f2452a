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
