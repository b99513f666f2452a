"""What has to be there after a power cut: files, and the names of all directories above them.

A file whose bytes are on the disk is lost all the same when its name is not, or that of a directory
above it. Names are put there by a sync of the directory that they are in.
"""

from __future__ import annotations

import os
import secrets

_BOOT = "/proc/sys/kernel/random/boot_id"


def sync(path: str | os.PathLike[str]) -> None:
    """Put a file's bytes, or the names in a directory, onto the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_above(path: str | os.PathLike[str]) -> None:
    """Put the names of everything on the way to a path onto the disk, up to its mount point.

    What was there before may still be on its way, as from a daemon that was killed. A directory
    that may not be read is left out: it was not made by this user.
    """
    place = os.path.abspath(path)
    device = os.lstat(place).st_dev
    while (above := os.path.dirname(place)) != place and os.stat(above).st_dev == device:
        place = above
        try:
            sync(place)
        except PermissionError:
            continue


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory, 0700, with those above it; they stay."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    sync_above(path)


def sync_file_system(path: str) -> None:
    """Put all of the file system that a directory is on onto the disk. Takes a while.

    Raises:
        OSError: when it cannot be put there.
    """
    import ctypes  # for a call that `os` lacks; whoever needs it can wait

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)


def boot() -> str:
    """The id of this start of the machine: what was written in another and not synced may be lost.

    One that was never seen where nothing is known of it.
    """
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return secrets.token_hex(16)


def sync_database(path: str) -> None:
    """Put a database of SQLite and its log onto the disk, as far as they are there.

    To be called ahead of opening it: what a killed process has written last can be read, and is not
    on the disk before somebody writes again.
    """
    for one in (path, f"{path}-wal"):
        if os.path.exists(one):
            sync(one)


def replace(path: str, content: bytes) -> None:
    """Put a file, 0600, in the place of one that may be there: a power cut leaves one of the two.

    Raises:
        OSError: when it cannot be written; the one before is still there then.
    """
    unfinished = f"{path}.new"
    if os.path.lexists(unfinished):
        os.unlink(unfinished)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with open(os.open(unfinished, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    sync(os.path.dirname(path))
