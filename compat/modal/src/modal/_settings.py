"""The variables of a user's environment that are settings: `MODAL_ENVIRONMENT` is also Volant's."""

from __future__ import annotations

import os

#: What a container is told of itself begins alike, and is Volant's to say.
_IN_CONTAINERS = "VOLANT_IS_REMOTE"
#: Variables that mean the same under Volant's name.
SETTINGS = (
    "ENVIRONMENT", "FORCE_BUILD", "IGNORE_CACHE", "SERVE_TIMEOUT", "TRACEBACK",
)  # fmt: skip


def adopt() -> None:
    """Have Volant find them, where it is not told otherwise under its own name."""
    if _IN_CONTAINERS in os.environ:
        return
    for name in SETTINGS:
        value = os.environ.get(f"MODAL_{name}")
        if value:
            os.environ.setdefault(f"VOLANT_{name}", value)
