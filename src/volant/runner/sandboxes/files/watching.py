"""What happens to files in a sandbox, told by the kernel to a process of that sandbox.

Source: https://man7.org/linux/man-pages/man7/inotify.7.html
"""

from __future__ import annotations

import errno
import os
import select
from _struct import Struct

from volant.runner import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: Directories that one watch looks at.
DIRECTORIES_MAX = 8192
#: Events that are told in one go.
BATCH_EVENTS = 500
_READ_BYTES = 64 << 10
_ACCESS, _MODIFY, _ATTRIBUTES, _MOVED_FROM, _MOVED_TO = 0x1, 0x2, 0x4, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_WANTED = (
    _ACCESS | _MODIFY | _ATTRIBUTES | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
    | _DELETE_SELF | _MOVE_SELF
)  # fmt: skip
_OVERFLOW, _IGNORED, _IS_DIRECTORY = 0x4000, 0x8000, 0x40000000
_DONT_FOLLOW, _ONLY_DIRECTORIES = 0x2000000, 0x1000000
_MEANINGS = (
    (_CREATE | _MOVED_TO, "Create"), (_DELETE | _MOVED_FROM | _DELETE_SELF | _MOVE_SELF, "Remove"),
    (_MODIFY | _ATTRIBUTES, "Modify"), (_ACCESS, "Access"),
)  # fmt: skip
_HEAD = Struct("iIII")


class Watch:
    """A path that is watched, with all directories below it if that is wanted."""

    def __init__(self, path: str, *, recursive: bool) -> None:
        """Begin to watch.

        Raises:
            OSError: when there is no such path, or too many directories are below it.
        """
        self._path = path
        self._recursive = recursive
        self._fd = linux.inotify_init(os.O_NONBLOCK | os.O_CLOEXEC)
        self._paths: dict[int, str] = {}
        self._add(path, 0)
        if recursive:
            self._add_below(path)

    def _add(self, path: str, flags: int) -> None:
        if len(self._paths) >= DIRECTORIES_MAX:
            raise OSError(errno.ENOSPC, "")
        self._paths[linux.inotify_add_watch(self._fd, path, _WANTED | flags)] = path

    def _add_below(self, path: str) -> list[str]:
        """Watch the directories below one; what was found in them, for it may be new."""
        found: list[str] = []
        waiting = [path]
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    for one in entries:
                        found.append(one.path)
                        if one.is_dir(follow_symlinks=False):
                            self._add(one.path, _DONT_FOLLOW | _ONLY_DIRECTORIES)
                            waiting.append(one.path)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue  # it has just gone, or is not for this user
        return found

    def events(self, client_fd: int) -> Iterator[list[list[str]]]:
        """What happens, as kinds and paths, until the client is gone or the path is."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(client_fd, select.POLLIN)
        while self._paths:
            ready = [fd for fd, _ in poll.poll()]
            if client_fd in ready:
                return
            found = self._read()
            for at in range(0, len(found), BATCH_EVENTS):
                yield found[at : at + BATCH_EVENTS]
        yield []

    def _read(self) -> list[list[str]]:
        data = os.read(self._fd, _READ_BYTES)
        found: list[list[str]] = []
        at = 0
        while at < len(data):
            watch, mask, _, size = _HEAD.unpack_from(data, at)
            name = data[at + _HEAD.size : at + _HEAD.size + size].rstrip(b"\0")
            at += _HEAD.size + size
            if mask & _OVERFLOW:
                found.append(["Unknown", self._path])
            directory = self._paths.get(watch)
            if directory is None:
                continue
            if mask & _IGNORED:
                del self._paths[watch]
                continue
            path = os.path.join(directory, os.fsdecode(name)) if name else directory
            if mask & (_DELETE_SELF | _MOVE_SELF) and directory != self._path:
                continue  # the directory above it tells the same
            if not (mask & _ACCESS and mask & _IS_DIRECTORY):  # which listing it is, also by us
                found += [[word, path] for bits, word in _MEANINGS if mask & bits]
            if self._recursive and mask & _IS_DIRECTORY and mask & (_CREATE | _MOVED_TO):
                found += self._take_in(path)
        return found

    def _take_in(self, path: str) -> list[list[str]]:
        """Watch a directory that is new; what is in it already was made before it was watched."""
        try:
            self._add(path, _DONT_FOLLOW | _ONLY_DIRECTORIES)
            return [["Create", below] for below in self._add_below(path)]
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []
        except OSError:  # more than may be watched: what happens there is not known
            return [["Unknown", path]]
