"""Copies the content of one open file into another, by the kernel alone, holes as holes.

Whoever wrote the source may be hostile: a file of a terabyte may be one hole, and would fill the
disk if that was written.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE_BYTES = 64 << 20


def copy(source: int, target: int) -> None:
    """Copy the content of a file to an empty one; where file systems can, they share it.

    Args:
        source: descriptor to read from.
        target: descriptor to write to.

    Raises:
        OSError: one cannot be read, or the other not written.
    """
    for _ in pieces(source, target):
        pass


def pieces(source: int, target: int) -> Iterator[None]:
    """`copy`, with a moment between any two pieces in which it can be broken off."""
    end = 0
    while True:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # there is nothing but a hole
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            count = _copy_piece(source, target, min(end - start, _PIECE_BYTES))
            if not count:  # it has been cut off meanwhile
                break
            start += count
            yield
    os.ftruncate(target, os.fstat(source).st_size)


def _copy_piece(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return os.sendfile(target, source, None, count)
