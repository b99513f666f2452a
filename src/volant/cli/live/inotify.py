"""What changes in directories, told by the kernel: one descriptor, no thread, nothing to wait for.

A program that watches may fork, so it must have no other threads; and directories come and go
while it watches, which must not lose a change. So this is `inotify` itself.

Source: https://man7.org/linux/man-pages/man7/inotify.7.html
"""

from __future__ import annotations

import ctypes
import os
from struct import Struct

#: Events that are asked for: a file is complete, is there or is gone; the directory is gone.
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_WANTED = (
    _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
)  # fmt: skip
#: Nothing but directories; events that were lost; a directory that is watched no more.
_ONLYDIR, _OVERFLOW, _IGNORED = 0x1000000, 0x4000, 0x8000
_HEAD = Struct("iIII")
_READ_BYTES = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Directories that are watched, without those below them."""

    def __init__(self) -> None:
        """Watch none yet.

        Raises:
            OSError: when the user has too many watches already.
        """
        self.fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _error("inotify_init1")
        self._directories: dict[int, str] = {}

    def add(self, directory: str) -> bool:
        """Watch a directory, also if it is watched already; False if there is none.

        Raises:
            OSError: when the user may watch no more.
        """
        watch = _libc.inotify_add_watch(self.fd, os.fsencode(directory), _WANTED | _ONLYDIR)
        if watch < 0:
            error = _error(directory)
            if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
                return False
            raise error
        self._directories[watch] = directory
        return True

    def read(self) -> set[str] | None:
        """Paths that changed since the last time; None when events were lost."""
        changed: set[str] = set()
        lost = False
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return None if lost else changed
            at = 0
            while at < len(data):
                watch, mask, _, size = _HEAD.unpack_from(data, at)
                name = data[at + _HEAD.size : at + _HEAD.size + size].rstrip(b"\0")
                at += _HEAD.size + size
                lost = lost or bool(mask & _OVERFLOW)
                directory = self._directories.get(watch)
                if directory is None:
                    continue
                changed.add(os.path.join(directory, os.fsdecode(name)) if name else directory)
                if mask & _IGNORED:
                    del self._directories[watch]

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self.fd)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
