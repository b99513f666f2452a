"""The instance of a class that a zygote has prepared for all its containers."""

from __future__ import annotations

from volant.runner import linux, loading
from volant.runner.template import pages, unforkable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


def take(snapshot: dict[str, Any]) -> list[str]:
    """Make an instance and run its hooks of `enter(snap=True)`.

    Its containers find it again, because it is kept where `loading.resolve` leads.

    Args:
        snapshot: `function` as in START, and `parameters`.

    Returns:
        What forbids forking now, in words; empty for nothing.
    """
    before, children = unforkable.descriptors(), set(linux.children())
    found: Any = loading.resolve(snapshot["function"])
    loading.kept[snapshot["function"]["name"]] = found
    found.serve(snapshot["parameters"]).enter_snapshot(_complete)
    culprits = unforkable.culprits(before, children)
    if not culprits:
        pages.collapse()
    return culprits


def _complete(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run an async hook on a loop that is closed after it: an open one cannot be forked."""
    import asyncio

    return asyncio.run(coroutine)
