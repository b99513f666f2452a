"""Files that the daemon puts into layers, and moments that would make equal layers differ.

Only where no command has run yet: a link that one made would lead elsewhere on this machine.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from volantd.usage import entries_below

if TYPE_CHECKING:
    from volantd.images.workbench import Blob

#: What is younger than its build gets this time (1 January 2020), so that equal content makes
#: equal layers. Not zero: archives of Python cannot hold what is older than 1980.
SETTLED_S = 1_577_836_800
#: Byte code begins with a mark, flags, the time of its source and that one's size.
_CODE_HEAD_BYTES, _CODE_TIME = 16, slice(8, 12)


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
    """Give all that was changed at or after a moment the same time, in byte code of Python as well.

    Nobody may change the files meanwhile, but they may be those of somebody hostile.

    Args:
        root: a directory, which gets it too.
        since_s: the moment, in seconds as files have it.
    """
    for fd, name, info in entries_below(root):
        if info.st_mtime >= since_s:
            if name.endswith(".pyc") and stat.S_ISREG(info.st_mode):
                _settle_code(fd, name, int(since_s))
            os.utime(name, (SETTLED_S, SETTLED_S), dir_fd=fd, follow_symlinks=False)
    if os.lstat(root).st_mtime >= since_s:
        os.utime(root, (SETTLED_S, SETTLED_S), follow_symlinks=False)


def _settle_code(dir_fd: int, name: str, since_s: int) -> None:
    """Let byte code name its source by the time that this one gets."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        head = os.pread(fd, _CODE_HEAD_BYTES, 0)
        is_by_time = len(head) == _CODE_HEAD_BYTES and not any(head[4:8])
        if is_by_time and int.from_bytes(head[_CODE_TIME], "little") >= since_s:
            _write(fd, SETTLED_S.to_bytes(4, "little"), _CODE_TIME.start)
    finally:
        os.close(fd)


def _write(fd: int, data: bytes, at: int) -> None:
    """Write into a file that is open for reading; a normal user may have to be let in."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    os.fchmod(fd, mode | stat.S_IWUSR)
    target = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(target, data, at)
    finally:
        os.close(target)
        os.fchmod(fd, mode)
