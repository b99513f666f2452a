"""What lies below a directory, and what it takes up on the disk.

Somebody hostile may have made it, and change it meanwhile.

No link is followed, no depth is too deep, and what has vanished counts nothing. It may take a
while, so it is called on a thread.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Paths from a directory that is held open, beyond which the next one is held open too.
_PATH_BYTES_MAX = 3000
_BLOCK_BYTES = 512


class _Directory:
    """A directory held open for as long as something below it is still to be looked at."""

    __slots__ = ("fd",)

    def __init__(self, path: str, parent_fd: int | None) -> None:
        self.fd = -1
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(path, flags, dir_fd=parent_fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def entries_below(
    top: str, others: frozenset[str] = frozenset()
) -> Iterator[tuple[int, str, os.stat_result]]:
    """Everything below a directory, but for what lies at `others`; nothing for a link.

    Returns:
        Of each the descriptor of its directory, which is open until the next one; its name there,
        and what it is.
    """
    waiting: list[tuple[_Directory | None, str, str]] = [(None, top, top)]
    while waiting:
        held, path, whole = waiting.pop()
        try:
            directory = _Directory(path, None if held is None else held.fd)
            entries = os.scandir(directory.fd)
        except OSError:
            continue  # gone, or no directory any more
        if held is None or len(os.fsencode(path)) > _PATH_BYTES_MAX:
            held, path = directory, "."
        with entries:
            for entry in entries:
                name = f"{whole}/{entry.name}" if others else ""
                if name in others:
                    continue
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(info.st_mode):
                    waiting.append((held, f"{path}/{entry.name}", name))
                yield directory.fd, entry.name, info


def bytes_below(top: str, others: frozenset[str] = frozenset(), *, is_alone: bool = False) -> int:
    """Bytes on disk of everything below a directory, but for what lies at `others`; 0 for a link.

    Files with several names count once; if `is_alone`, only those that have all of them below.
    """
    total = 0
    names: Counter[tuple[int, int]] = Counter()
    for _, _, info in entries_below(top, others):
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            names[info.st_dev, info.st_ino] += 1
            if names[info.st_dev, info.st_ino] != (info.st_nlink if is_alone else 1):
                continue
        total += info.st_blocks * _BLOCK_BYTES
    return total
