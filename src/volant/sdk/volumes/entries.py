"""What a program gets to know of what is in a volume."""

from __future__ import annotations

import os
from enum import IntEnum

from volant.errors import InvalidError
from volant.sdk.calls.autoscaler import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any


class FileEntryType(IntEnum):
    """What a name in a volume stands for. Volumes here hold the first three."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    UNSPECIFIED = 0
    FIFO = 4
    SOCKET = 5


_TYPES = {"f": FileEntryType.FILE, "d": FileEntryType.DIRECTORY, "l": FileEntryType.SYMLINK}


class FileEntry(Record):
    """A file, directory or link in a volume."""

    __slots__ = ("gid", "mode", "mtime", "path", "size", "target", "type", "uid")

    def __init__(self, above: str, row: list[Any]) -> None:
        name = row[0].decode("utf-8", "surrogateescape")
        #: From the top of the volume, without a slash in front.
        self.path: str = f"{above}/{name}" if above and row[0] else name or above
        self.type: FileEntryType = _TYPES[row[1]]
        #: Seconds since 1970.
        self.mtime: int = row[5] // 1_000_000_000
        #: Bytes of a file; of a directory, entries below it.
        self.size: int = row[6]
        self.mode: int = row[2]
        self.uid: int = row[3]
        self.gid: int = row[4]
        #: Where a link leads; "" for others.
        self.target: str = row[7].decode("utf-8", "surrogateescape")


class State(Record):
    """One state that a volume has had."""

    __slots__ = ("action", "created_at", "entries", "made_by", "number")

    def __init__(self, row: dict[str, Any]) -> None:
        from datetime import datetime, timezone

        self.number: int = row["number"]
        self.created_at: datetime = datetime.fromtimestamp(row["created_at"], timezone.utc)
        #: The user, or the container (`ta-…`).
        self.made_by: str = row["made_by"]
        #: What was done.
        self.action: str = row["action"]
        #: How many entries it has.
        self.entries: int = row["entries"]


class Content:
    """The content of one file at one moment, to be read in pieces.

    Args:
        digest: what it is known by.
        size: bytes.
        local: where this machine has it as a file of its own; "" if it has not.
    """

    def __init__(self, digest: str, size: int, local: str) -> None:
        self.digest = digest
        self.size = size
        self._fd = -1
        if local:
            try:
                self._fd = os.open(local, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                pass  # not to be seen from here: the hub reads it

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, offset: int, count: int) -> bytes | None:
        """A piece, None if the hub has to be asked."""
        return None if self._fd < 0 else os.pread(self._fd, count, offset)


def checked_path(path: object) -> str:
    """A path in a volume, without what means nothing.

    Raises:
        InvalidError: for what is none, or leads out of the volume.
    """
    if not isinstance(path, str) and hasattr(path, "__fspath__"):
        path = path.__fspath__()
    if not isinstance(path, str):
        raise InvalidError(f"a path in a volume must be a string, got {path!r}")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path or any(len(part.encode("utf-8", "surrogateescape")) > 255
                                           for part in parts):  # fmt: skip
        raise InvalidError(
            f"{path!r} cannot be a path in a volume",
            hint="paths begin at the top of the volume, and `..` leads nowhere",
        )
    return "/".join(parts)


def raise_problem(reply: dict[str, Any], *, is_directory: bool = False) -> None:
    """Raise what the hub found wrong with a path, as Python does for files.

    Raises:
        FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError: as it says.
    """
    problem = reply.get("problem")
    if problem is None:
        return
    path = "/" + reply["path"]
    if problem == "missing":
        raise FileNotFoundError(2, "there is nothing at this path of the volume", path)
    if problem == "taken":
        raise FileExistsError(17, "there is something at this path of the volume already", path)
    if is_directory:
        raise IsADirectoryError(
            21, "this is a directory of the volume, and not to be taken whole", path
        )
    raise NotADirectoryError(20, "something of another kind is at this path of the volume", path)
