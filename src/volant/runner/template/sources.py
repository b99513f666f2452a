"""Writes the sources of a program to where its containers see them."""

from __future__ import annotations

import errno
import os

from volant.errors import ResourceExhaustedError


def write_files(root: str, files: list[tuple[str, int, bytes]]) -> None:
    """Write sources below `root`.

    Args:
        root: an existing directory.
        files: (path relative to root, mode, content) each.

    Raises:
        ResourceExhaustedError: when there is no room for them.
        ValueError: for a path that leads out of `root`.
    """
    try:
        _write(root, files)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ResourceExhaustedError(
            "the disk is full: there is no room for the sources of the program",
            hint="make room where the daemon's home is; `volant image prune` removes images that "
            "nothing uses",
        ) from None


def _write(root: str, files: list[tuple[str, int, bytes]]) -> None:
    made = {root}
    for relative, mode, content in files:
        if relative.startswith("/") or ".." in relative.split("/"):
            raise ValueError(f"source path {relative!r} leads out of the sources")
        path = os.path.join(root, relative)
        directory = os.path.dirname(path)
        if directory not in made:
            os.makedirs(directory, exist_ok=True)
            made.add(directory)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode & 0o777)
        with os.fdopen(fd, "wb", buffering=0) as target:
            view = memoryview(content)
            while view:
                view = view[target.write(view) :]
