"""A reader's mappings of received files, used again, because page faults cost what copying does.

    file comes ──► map ──► grip (the arrays) ──► ended ──► kept ──► the file comes again ──► grip
                                                    └──► unmapped

A writer uses its files again (see `arena.py`). So does a reader with its mapping of one: the
kernel has entered all its pages by then, at 0.25 us each, and a mapping of 100 MB has 25,600. The
mapping is private: a page that the arrays' owner wrote to is a copy, and no more the file's. One
with such a page is not used again; the kernel tells which there are.

A mapping is kept from the second time on that its file comes, so what was read once is freed
with its last array.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from _thread import allocate_lock
from collections import deque
from functools import lru_cache
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of mappings that wait to be used again, and how many.
KEPT_BYTES_MAX = 512 << 20
KEPT_COUNT_MAX = 16
#: Mappings that nobody used for so long are undone when the next file comes.
KEPT_S_MAX = 10.0
#: Files that are remembered to find out whether one comes again.
_KNOWN_MAX = 64
#: Descriptors that a process has open, beyond which what arrives is copied rather than mapped.
FDS_OPEN_MAX = 256
_READ_BYTES_MAX = 1 << 30

_PAGEMAP = "/proc/self/pagemap"
_ENTRY_BYTES = 8
#: The top byte of the kernel's entry for a page that is the file's still: not entered here; or
#: present (128) and of a file (32), perhaps mapped nowhere else (1).
_CLEAN = bytes([0, 128 | 32, 128 | 32 | 1])


def map_private(fd: int, size: int) -> mmap.mmap | None:
    """Memory with the file's content that may be written to; None: copy it instead.

    Before Python 3.13 a mapping keeps a descriptor, and a program may keep many arrays.
    """
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    if sys.version_info >= (3, 13):  # pragma: no cover  # depends on who runs the tests
        return mmap.mmap(fd, size, mmap.MAP_PRIVATE, protection, trackfd=False)
    return mmap.mmap(fd, size, mmap.MAP_PRIVATE, protection) if fd < FDS_OPEN_MAX else None


def copy_of(fd: int, size: int) -> mmap.mmap:
    """The file's content in memory of its own."""
    copy = mmap.mmap(-1, size)
    at = 0
    while at < size:
        at += os.preadv(fd, [memoryview(copy)[at : at + _READ_BYTES_MAX]], at)
    return copy


class Mapping:
    """One private mapping of one file."""

    __slots__ = ("ended_at", "file_id", "is_worth_keeping", "memory", "size")

    def __init__(
        self, file_id: tuple[int, int], size: int, memory: mmap.mmap, *, is_worth_keeping: bool
    ) -> None:
        self.file_id = file_id
        self.size = size
        self.memory = memory
        self.is_worth_keeping = is_worth_keeping
        self.ended_at = 0.0

    def is_clean(self) -> bool:
        """Whether every page is the file's; False when the kernel does not tell."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        pages = -(-self.size // mmap.PAGESIZE)
        try:
            fd = os.open(_PAGEMAP, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            entries = os.pread(fd, pages * _ENTRY_BYTES, address // mmap.PAGESIZE * _ENTRY_BYTES)
        except OSError:
            return False
        finally:
            os.close(fd)
        tops = entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES]
        return len(tops) == pages and not tops.translate(None, _CLEAN)


class _Family:
    """What grips compare to find out whether a fork may have copied them."""

    __slots__ = ("forks",)

    def __init__(self) -> None:
        self.forks = 0


def _end_grip(grip: Any) -> None:
    # Any thread, in the middle of anything: nothing here waits.
    if getattr(grip, "family", None) is _family:
        # A child that was forked meanwhile has the memory still.
        alone = grip.forks == _family.forks
        if alone and grip.mapping.is_worth_keeping:
            _ended.append(grip.mapping)
            if _lock.acquire(False):
                try:
                    _keep_ended()
                finally:
                    _lock.release()
        grip.releases.append((grip.token, alone))


@lru_cache(maxsize=KEPT_COUNT_MAX)
def _grip_type(size: int) -> Any:
    """What arrays of a mapping of this size hold on to; its finalizer is the end of the last."""
    return type("Grip", (ctypes.c_char * size,), {"__del__": _end_grip})


_family = _Family()
_lock = allocate_lock()
_ended: deque[Mapping] = deque()
_kept: list[Mapping] = []  # the longest unused first
#: Files that have come before, and whether their mappings are worth keeping.
_known: dict[tuple[int, int], bool] = {}


def lend(fd: int, size: int, token: int, releases: deque[tuple[int, bool]]) -> Any:
    """Memory with the content of a file that its writer wants back.

    Args:
        fd: the file; stays the caller's.
        size: of the file, a multiple of the page size.
        token: the use of the file.
        releases: gets the token, and whether nobody else can have the memory, once the last
            view of what is returned is gone.

    Returns:
        An object with a writable buffer.

    Raises:
        OSError: when the file cannot be mapped.
    """
    status = os.fstat(fd)
    file_id = status.st_dev, status.st_ino  # nobody else's while a mapping of it is kept
    mapping = _take(file_id, size)
    if mapping is None:
        memory = map_private(fd, size)
        if memory is None:
            copy = copy_of(fd, size)
            releases.append((token, True))
            return copy
        mapping = Mapping(file_id, size, memory, is_worth_keeping=_note(file_id))
    grip = _grip_type(size).from_buffer(mapping.memory)
    grip.token, grip.releases, grip.mapping = token, releases, mapping
    grip.forks, grip.family = _family.forks, _family
    return grip


def holds() -> bool:
    """True while any mapping is kept."""
    return bool(_ended or _kept)


def clear() -> None:
    """Undo what is kept."""
    if _lock.acquire(False):  # else somebody is about to use them
        try:
            _ended.clear()
            _kept.clear()
        finally:
            _lock.release()


def _take(file_id: tuple[int, int], size: int) -> Mapping | None:
    """The kept mapping of a file, if there is one that nobody wrote to."""
    if not _lock.acquire(False):  # another thread, or we in a signal handler: do without
        return None
    try:
        _keep_ended()
        for index in range(len(_kept) - 1, -1, -1):
            if _kept[index].file_id == file_id:
                mapping = _kept.pop(index)
                break
        else:
            return None
    finally:
        _lock.release()
    if mapping.size == size and mapping.is_clean():
        return mapping
    _known[file_id] = False  # who writes to arrays does so again: why keep the copies of pages
    return None


def _note(file_id: tuple[int, int]) -> bool:
    """Whether to keep a mapping of this file: when it comes for the first time, not yet."""
    is_worth_keeping = _known.get(file_id, False)
    _known.setdefault(file_id, True)
    if len(_known) > _KNOWN_MAX:
        _known.pop(next(iter(_known)), None)
    return is_worth_keeping


def _keep_ended() -> None:
    now = monotonic()
    while _ended:
        mapping = _ended.popleft()
        mapping.ended_at = now
        _kept.append(mapping)
    kept_bytes = sum([mapping.size for mapping in _kept])
    while _kept and (
        now - _kept[0].ended_at > KEPT_S_MAX
        or kept_bytes > KEPT_BYTES_MAX
        or len(_kept) > KEPT_COUNT_MAX
    ):
        kept_bytes -= _kept.pop(0).size


def _before_fork() -> None:
    _family.forks += 1


def _after_fork() -> None:
    global _family, _lock
    _family, _lock = _Family(), allocate_lock()
    _ended.clear()  # the parent's: what remains here are the arrays that were there
    _kept.clear()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
