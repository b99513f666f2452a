"""Attributes of files on the disk, and how the container that writes them sees them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from volantd.core.volumes.entries import XATTR_BYTES_MAX

if TYPE_CHECKING:
    from volantd.core.volumes.entries import Entry

#: What overlayfs keeps for itself among the attributes.
_OVERLAY = "user.overlay."
_USER = "user."


class Owners:
    """What owners in a volume are on the disk: the same for root, for others all are their own."""

    def __init__(self) -> None:
        self.are_kept = os.geteuid() == 0

    def seen(self, info: os.stat_result) -> tuple[int, int]:
        """The owner and group of a file, as containers see them."""
        if self.are_kept:
            return info.st_uid, info.st_gid
        uid = 0 if info.st_uid == os.geteuid() else info.st_uid
        return uid, 0 if info.st_gid == os.getegid() else info.st_gid


def user_xattrs(fd: int) -> tuple[tuple[str, str], ...]:
    """The user's extended attributes of what is open, their values with a byte a character."""
    found = []
    room = XATTR_BYTES_MAX
    try:
        names = os.listxattr(fd)
    except OSError:
        return ()
    for name in sorted(names):
        if not name.startswith(_USER) or name.startswith(_OVERLAY):
            continue
        try:
            value = os.getxattr(fd, name).decode("latin-1")
        except OSError:
            continue  # removed meanwhile
        room -= len(name) + len(value)
        if room < 0:
            break
        found.append((name, value))
    return tuple(found)


def set_attributes(fd: int, entry: Entry, owners: Owners, *, are_new: bool) -> None:
    """Give what is open the attributes of an entry; `are_new`: it has no extended ones yet."""
    if not are_new:
        for name in os.listxattr(fd):
            if name.startswith(_USER):
                os.removexattr(fd, name)
    if owners.are_kept and not (are_new and entry.uid == entry.gid == 0):
        os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)  # after the owner, whose change clears bits
    for name, value in entry.xattrs:
        os.setxattr(fd, name, value.encode("latin-1"))
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def has_attributes(path: str, entry: Entry, owners: Owners) -> bool:
    """Whether a file has the attributes of an entry."""
    info = os.lstat(path)
    owner = (entry.uid, entry.gid) if owners.are_kept else owners.seen(info)
    if (info.st_uid, info.st_gid) != owner and owners.are_kept:
        return False
    if stat.S_IMODE(info.st_mode) != entry.mode or info.st_mtime_ns != entry.mtime_ns:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return user_xattrs(fd) == entry.xattrs
    finally:
        os.close(fd)
