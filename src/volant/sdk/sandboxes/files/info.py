"""What is told of files in sandboxes: entries, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime, timezone
from enum import Enum

from volant.wire.exchange import ExchangeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class FileType(Enum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One entry of a directory in a sandbox, as the sandbox tells it.

    Attributes:
        name: the last part of `path`.
        path: absolute.
        type: what it is; of a link, that it is one.
        size: bytes.
        mode: permission bits, such as `0o644`.
        permissions: the same for people, such as `rw-r--r--`.
        owner, group: names, or numbers where the sandbox has no name for them.
        modified_time: when its content was last changed.
        symlink_target: what a link says; None of everything else.
    """

    name: str
    path: str
    type: FileType
    size: int
    mode: int
    permissions: str
    owner: str
    group: str
    modified_time: datetime
    symlink_target: str | None

    def is_file(self) -> bool:
        """Whether it is a file itself, and no link to one."""
        return self.type is FileType.FILE

    def is_dir(self) -> bool:
        """Whether it is a directory itself, and no link to one."""
        return self.type is FileType.DIRECTORY

    def is_symlink(self) -> bool:
        """Whether it is a link, wherever that leads."""
        return self.type is FileType.SYMLINK


class FileWatchEventType(Enum):
    """What has happened to a path; `Unknown` when events were lost."""

    Unknown = "Unknown"
    Access = "Access"
    Create = "Create"
    Modify = "Modify"
    Remove = "Remove"


@dataclass(frozen=True, slots=True)
class FileWatchEvent:
    """Something that has happened in a sandbox."""

    paths: list[str]
    type: FileWatchEventType


#: Of what a sandbox says of an entry.
_KINDS: tuple[tuple[type, ...], ...] = (
    (str,), (str,), (int,), (int,), (int, float), (str,), (str,), (str, type(None)),
)  # fmt: skip


def entry_of(path: str, told: Any, *, is_listed: bool) -> FileInfo:
    """An entry, from what a sandbox says of it, which may be anything.

    Args:
        path: of the entry, or of the directory that it is in.
        told: as in `volant.runner.sandboxes.files.serving`.
        is_listed: whether it is one of several of a directory.

    Raises:
        ExchangeError: for what is no entry.
    """
    if not isinstance(told, list) or len(told) != len(_KINDS):
        raise ExchangeError("no entry")
    if not all(isinstance(one, kind) for one, kind in zip(told, _KINDS, strict=True)):
        raise ExchangeError("no entry")
    name, kind, size, mode, modified, owner, group, target = told
    if is_listed:
        if not name or "/" in name or "\0" in name or name in {".", ".."}:
            raise ExchangeError("an entry with a name that cannot be")
        path = f"{path.rstrip('/')}/{name}"
    known = {one.value for one in FileType}
    return FileInfo(
        name=path.rstrip("/").rsplit("/", 1)[-1] or "/", path=path,
        type=FileType(kind if kind in known else "unknown"), size=size, mode=mode & 0o7777,
        permissions=_shown(mode), owner=owner, group=group, modified_time=_moment(modified),
        symlink_target=target,
    )  # fmt: skip


def _shown(mode: int) -> str:
    letters = "rwxrwxrwx"
    return "".join(
        letter if mode & (0o400 >> at) else "-" for at, letter in enumerate(letters)
    )  # fmt: skip


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):  # set to a time that no calendar has
        year = MAXYEAR if seconds > 0 else MINYEAR
        return datetime(year, 1, 1, tzinfo=timezone.utc)


def events_of(told: Any) -> list[FileWatchEvent]:
    """What has happened, from what a sandbox says, which may be anything.

    Raises:
        ExchangeError: for what are no events.
    """
    known = {one.value: one for one in FileWatchEventType}
    found = []
    for one in told if isinstance(told, list) else [None]:
        if not isinstance(one, list) or len(one) != 2 or not isinstance(one[1], str):
            raise ExchangeError("no event")
        kind = one[0] if isinstance(one[0], str) else ""
        found.append(FileWatchEvent([one[1]], known.get(kind, FileWatchEventType.Unknown)))
    return found
