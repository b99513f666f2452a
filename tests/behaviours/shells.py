"""Scripts in sandboxes, as tests of several subjects run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import volant


def shell(sandbox: volant.Sandbox, script: str) -> str:
    """What a script prints, which has to end well."""
    process = sandbox.exec("sh", "-c", script)
    found: str = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    return found
