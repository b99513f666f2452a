"""The host image: the caller's own Python and packages, as the directories they live in.

The default of every app, so this module stands on the path of each start and imports next to
nothing. Home directories, keys and `VOLANT_HOME` are not part of the image.
"""

from __future__ import annotations

import os
import sys

from volant.version import SERIES

#: What a Python installation calls the directories that packages are installed into.
PACKAGE_DIRECTORIES = ("site-packages", "dist-packages")
#: Part of every host image already.
_SYSTEM_TREE = "/usr"


def host_wire() -> dict[str, object]:
    """The host image as a control message carries it."""
    return {
        "kind": "host",
        "python": straight(sys.executable),
        "prefix": straight(sys.prefix),
        "base_prefix": straight(sys.base_prefix),
        "trees": host_trees(),
        "series": SERIES,
    }


def host_trees() -> list[str]:
    """Directories outside /usr that this interpreter and its packages live in, outermost only."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    found.update(
        entry
        for entry in sys.path
        if os.path.basename(entry.rstrip("/")) in PACKAGE_DIRECTORIES and os.path.isdir(entry)
    )
    found.update([os.path.realpath(entry) for entry in found])
    trees: list[str] = []
    for tree in sorted({straight(entry) for entry in found}):
        if not any(is_below(tree, other) for other in (_SYSTEM_TREE, *trees)):
            trees.append(tree)
    return trees


def straight(path: str) -> str:
    """The same path without `..`: what is passed on the way there is not in a container.

    Links behind the last `..` stay, for a virtual environment's Python is one.
    """
    before, dots, rest = path.rpartition("/../")
    return os.path.abspath(os.path.join(os.path.realpath(before + "/.."), rest) if dots else path)


def is_below(path: str, directory: str) -> bool:
    """True if `path` is `directory` or inside it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
