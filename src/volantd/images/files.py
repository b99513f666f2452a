"""Files that the daemon puts into layers, and moments that would make equal layers differ.

Only where no command has run yet: a link that one made would lead elsewhere on this machine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volantd.images.workbench import Blob

#: What is younger than its build gets this time (1 January 2020), so that equal content makes
#: equal layers. Not zero: archives of Python cannot hold what is older than 1980.
SETTLED_S = 1_577_836_800


def put(path: str, content: Blob, mode: int = 0o644) -> None:
    """Write a file, and make the directories that it lies in.

    Args:
        path: of it on this machine.
        mode: its permissions, whatever the daemon's own files get.
    """
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def settle(root: str, since_s: float = 0.0) -> None:
    """Give all that was changed at or after a moment the same time.

    Args:
        root: a directory, which gets it too.
        since_s: the moment, in seconds as files have it.
    """
    for place, names, files in os.walk(root, topdown=False):
        for name in (*names, *files):
            _settle(os.path.join(place, name), since_s)
    _settle(root, since_s)


def _settle(path: str, since_s: float) -> None:
    if os.lstat(path).st_mtime >= since_s:
        os.utime(path, (SETTLED_S, SETTLED_S), follow_symlinks=False)
