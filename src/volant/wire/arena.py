"""Memory files that are used again, because new pages cost several times what copying does.

    take ──► copy in ──► lend (out) ──► reader let go AND writer needs it no more ──► idle ──► take

A file stays mapped here while it is out. Its seals are SHRINK, GROW, FUTURE_WRITE and SEAL: its
size never changes, so nobody who maps it can fault, and nobody can write to it but through the
mapping that was here before the seals. What a reader has mapped therefore changes only if this
process writes to a file that it should not, and it writes only to files that came back:
every use has a fresh token, which the reader releases when the last of its arrays is gone.
Files come back to the pool (one function, one session) they were used for, so that nobody reads
what was meant for others. A file whose release never comes is closed and not used again.

Whatever arrives from finalizers and signal handlers is appended to a deque; nothing waits.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from _thread import allocate_lock, start_new_thread
from collections import deque
from itertools import count
from time import monotonic

from volant.wire.memory import memory_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Largest file that is kept.
FILE_BYTES_MAX = 512 << 20
#: Bytes of files that wait to be used again, and how many files.
IDLE_BYTES_MAX = 512 << 20
IDLE_COUNT_MAX = 16
#: Files that are out, beyond which the oldest is given up.
OUT_BYTES_MAX = 2 << 30
OUT_COUNT_MAX = 64
#: Files that nobody used for so long are closed when the next one is asked for.
IDLE_S_MAX = 10.0
#: From this size on two threads copy.
PARALLEL_BYTES_MIN = 8 << 20
#: Longest wait for another thread's books; after that a payload gets a file of its own.
_LOCK_WAIT_S = 0.05

SEALS = (
    getattr(fcntl, "F_SEAL_SHRINK", 2) | getattr(fcntl, "F_SEAL_GROW", 4)
    | getattr(fcntl, "F_SEAL_FUTURE_WRITE", 16) | getattr(fcntl, "F_SEAL_SEAL", 1)
)  # fmt: skip
_F_ADD_SEALS = getattr(fcntl, "F_ADD_SEALS", 1033)
_WRITE_BYTES_MAX = 1 << 30

#: What is heard of a file that is out.
RELEASED, LOST, SETTLED = 1, 2, 3


class SentFd(int):
    """A descriptor of a file of the arena, which knows its use."""

    token: int


class File:
    """One memory file."""

    __slots__ = ("address", "fd", "idle_since", "mapping", "pool", "released", "settled", "size")

    def __init__(self, pool: str, size: int) -> None:
        self.pool = pool
        self.size = size
        self.released = self.settled = False
        self.idle_since = 0.0
        self.fd = memory_file()
        os.ftruncate(self.fd, size)
        self.mapping = mmap.mmap(self.fd, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.mapping))

    def write_first(self, pieces: Iterable[tuple[int, memoryview]]) -> None:
        """Fill a new file (a system call makes pages faster than faults do), and seal it."""
        for offset, piece in pieces:
            at, size = 0, piece.nbytes
            while at < size:
                at += os.pwrite(self.fd, piece[at : at + _WRITE_BYTES_MAX], offset + at)
        fcntl.fcntl(self.fd, _F_ADD_SEALS, SEALS)

    def write_again(self, pieces: Iterable[tuple[int, memoryview]]) -> None:
        """Fill a file that came back."""
        for offset, piece in pieces:
            _copy(self, offset, piece)

    def __del__(self) -> None:
        if getattr(self, "fd", None) is not None:
            os.close(self.fd)


class Arena:
    """The files of this process that are out, and those that wait to be used again."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = allocate_lock()
        self._news: deque[tuple[int, int]] = deque()
        self._out: dict[int, File] = {}
        self._out_bytes = 0
        self._idle: list[File] = []  # the longest idle first
        self._idle_bytes = 0
        # Never the same token twice, whoever chose it: a late release must find nothing.
        self._tokens = count(int.from_bytes(os.urandom(7), "little") << 6 | 1)

    @property
    def holds(self) -> bool:
        """True while any file is kept."""
        return bool(self._out or self._idle)

    def lend(self, pieces: list[tuple[int, memoryview]], size: int, pool: str) -> SentFd | None:
        """Write a payload into a file and count that as out.

        Returns:
            A descriptor which the caller owns, or None when there is no file to be had.
        """
        size = _rounded(size)
        if not self._lock.acquire(True, _LOCK_WAIT_S):
            return None
        try:
            self._settle_news()
            file = self._take(pool, size)
        finally:
            self._lock.release()
        try:
            if file is None:
                file = File(pool, size)
                file.write_first(pieces)
            else:
                file.write_again(pieces)
            sent = SentFd(os.dup(file.fd))
        except (OSError, ValueError):
            return None  # too many files, no memory, an old kernel: a payload without us
        file.released = file.settled = False
        sent.token = next(self._tokens)
        with_lock = self._lock.acquire(True, _LOCK_WAIT_S)
        if with_lock:  # else the file is not counted, and so never comes back
            self._out[sent.token] = file
            self._out_bytes += size
            while self._out_bytes > OUT_BYTES_MAX or len(self._out) > OUT_COUNT_MAX:
                self._give_up(next(iter(self._out)))
            self._lock.release()
        return sent

    def post(self, token: int, news: int) -> None:
        """Note what happened to a use; from any thread, from signal handlers too."""
        self._news.append((token, news))
        if self._lock.acquire(False):
            try:
                self._settle_news()
            finally:
                self._lock.release()

    def forget_out(self) -> None:
        """Never use again what is out: nobody can tell any more who reads it."""
        for token in list(self._out):
            self.post(token, LOST)

    def clear(self) -> None:
        """Close everything; what is out stays with its readers."""
        if self._lock.acquire(True, _LOCK_WAIT_S):
            try:
                self._settle_news()
                self._out.clear()
                self._idle.clear()
                self._out_bytes = self._idle_bytes = 0
            finally:
                self._lock.release()

    # -- under the lock

    def _take(self, pool: str, size: int) -> File | None:
        now = monotonic()
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].size == size and self._idle[index].pool == pool:
                file = self._idle.pop(index)
                self._idle_bytes -= file.size
                return file
        # A new one will need memory: what has waited for long, or is too much beside it, goes.
        while self._idle and (
            now - self._idle[0].idle_since > IDLE_S_MAX or self._idle_bytes + size > IDLE_BYTES_MAX
        ):
            self._idle_bytes -= self._idle.pop(0).size
        return None

    def _settle_news(self) -> None:
        while self._news:
            token, news = self._news.popleft()
            file = self._out.get(token)
            if file is None:
                continue
            if news == LOST:
                self._give_up(token)
                continue
            if news == RELEASED:
                file.released = True
            else:
                file.settled = True
            if file.released and file.settled:
                self._give_up(token)
                self._keep(file)

    def _give_up(self, token: int) -> None:
        self._out_bytes -= self._out.pop(token).size

    def _keep(self, file: File) -> None:
        file.idle_since = monotonic()
        self._idle.append(file)
        self._idle_bytes += file.size
        while self._idle_bytes > IDLE_BYTES_MAX or len(self._idle) > IDLE_COUNT_MAX:
            self._idle_bytes -= self._idle.pop(0).size


_arena: Arena | None = None


def current() -> Arena:
    """The arena of this process."""
    global _arena
    if _arena is None or _arena.pid != os.getpid():
        _arena = Arena()
    return _arena


def holds() -> bool:
    """True while this process keeps any file."""
    return _arena is not None and _arena.holds


def _after_fork() -> None:
    global _arena
    _arena = None  # the parent's: its files are closed here, and written to by it alone


os.register_at_fork(after_in_child=_after_fork)


# -- copying


class _Buffer(ctypes.Structure):
    """`Py_buffer`, as in the interpreter's stable interface."""

    _fields_ = [
        ("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p),
    ]  # fmt: skip


def _address_of(view: memoryview) -> int:
    """Where the bytes of a contiguous view lie; good as long as the view lives."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


def _copy(file: File, offset: int, piece: memoryview) -> None:
    size = piece.nbytes
    if not 0 <= offset <= offset + size <= file.size:
        raise ValueError("a payload that is larger than its file")
    if not size:
        return
    source, target = _address_of(piece), file.address + offset
    half = 0
    if size >= PARALLEL_BYTES_MIN and len(os.sched_getaffinity(0)) > 1:
        half = size // 2 & ~4095
        finished = allocate_lock()
        finished.acquire()

        def copy_half(*_keeps_alive: object) -> None:
            ctypes.memmove(target, source, half)
            finished.release()

        try:
            start_new_thread(copy_half, (file, piece))
        except RuntimeError:  # no more threads to be had
            half = 0
    ctypes.memmove(target + half, source + half, size - half)  # without the interpreter's lock
    if half:
        finished.acquire()


def _rounded(size: int) -> int:
    """Up to a multiple of an eighth of its power of two, so that similar sizes share files."""
    step = max(4096, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
