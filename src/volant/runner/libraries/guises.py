"""Where guises lie: packages that give out Volant's names as those of another package.

An image may have that package as well, so they are found ahead of it; Volant itself comes last.
"""

from __future__ import annotations

import os
import sys

#: What their directory is called in that of what is lent.
NAME = "guises"


def directories(sdk_dir: str) -> list[str]:
    """The directory of guises, if there are any.

    Args:
        sdk_dir: where this package lies, beside what is lent.
    """
    path = os.path.join(os.path.dirname(sdk_dir), "lent", NAME)
    try:
        return [path] if os.listdir(path) else []
    except OSError:
        return []


def arrange() -> None:
    """Put this package, which is the first on `sys.path`, behind all others, and guises first."""
    sdk_dir = sys.path.pop(0)
    sys.path[:] = [*directories(sdk_dir), *sys.path, sdk_dir]
