"""Requests that look into volumes.

    volume_stat     what is at a path
    volume_list     what lies below one, page by page, all of one moment
    volume_read     a piece of the content of a file
    volume_history  the states that it has had

What is read is named by its hash, so that a file that is read in pieces is that of one moment.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from volant.wire import chunks
from volantd.core.volumes import trees
from volantd.core.volumes.entries import DIRECTORY, FILE, Entry, is_digest, parts_of
from volantd.hub import checks
from volantd.hub.volumes.answering import answer_later, volume_of, volumes_of
from volantd.volumes.nodes import LostContentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.hub.session import Session
    from volantd.volumes.nodes import StoredNodes
    from volantd.volumes.service import Volumes

#: Entries in one answer of `volume_list`, bytes in one of `volume_read`, states in one of
#: `volume_history`.
PAGE_ENTRIES = 4000
READ_BYTES_MAX = 4 << 20
HISTORY_MAX = 1000


def volume_stat(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """What is at a path, behind links."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume, parts = volume_of(session, message), parts_of(checks.text(message, "path"))
    is_client = session.container_app is None
    answer_later(session, message, _stat(volumes, volume.object_id, parts, is_client=is_client))
    return None


async def _stat(
    volumes: Volumes, volume_id: str, parts: tuple[str, ...], *, is_client: bool
) -> dict[str, Any]:
    state = await volumes.states.latest(volume_id)
    path, found = await volumes.states.on_thread(
        lambda nodes: trees.followed(nodes, state.root, parts)
    )
    if found is None:
        raise trees.NoSuchPathError("/".join(parts))
    is_large = found.kind == FILE and found.size > chunks.SMALL_BYTES
    # The user of this machine may read it there; it is never written to.
    local = volumes.contents.path(found.content) if is_large and is_client else ""
    return {
        "entry": row_of("/".join(path), found), "content": found.content, "local": local,
    }  # fmt: skip


def row_of(path: str, entry: Entry) -> list[Any]:
    """An entry as clients are told of it: path, kind, mode, uid, gid, mtime, size, link target."""
    target = "" if entry.kind in (FILE, DIRECTORY) else entry.content
    name = path.encode("utf-8", "surrogateescape")
    return [
        name, entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.size,
        target.encode("utf-8", "surrogateescape"),
    ]  # fmt: skip


def volume_list(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """What lies below a path: a page of it, and how to ask for the next one."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume, parts = volume_of(session, message), parts_of(checks.text(message, "path"))
    recursive, skip = checks.switch(message, "recursive"), checks.whole(message, "skip")
    at = checks.text(message, "at")
    if at and not is_digest(at):
        raise ValueError("`at` is no moment of a volume")
    answer_later(session, message, _list(volumes, volume.object_id, parts, recursive, skip, at))
    return None


async def _list(
    volumes: Volumes, volume_id: str, parts: tuple[str, ...], recursive: bool, skip: int, at: str
) -> dict[str, Any]:
    state = await volumes.states.latest(volume_id)

    def look(nodes: StoredNodes) -> dict[str, Any]:
        above: Sequence[str] = parts
        top: Entry | None = state.root._replace(content=at)
        if not at:
            above, top = trees.followed(nodes, state.root, parts)
        if top is None:
            raise trees.NoSuchPathError("/".join(parts))
        if top.kind != DIRECTORY:
            return {"at": "", "above": "", "rows": [row_of("/".join(above), top)], "more": False}
        rows: list[list[Any]] = []
        more = False
        for path, entry in trees.walk(nodes, top, recursive=recursive, skip=skip):
            if len(rows) == PAGE_ENTRIES:
                more = True
                break
            rows.append(row_of(path, entry))
        return {"at": top.content, "above": "/".join(above), "rows": rows, "more": more}

    return await volumes.states.on_thread(look)


def volume_read(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """A piece of a content."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume_of(session, message)
    digest, size = checks.text(message, "content"), checks.whole(message, "size", 1)
    offset = checks.whole(message, "offset", 0, size)
    count = checks.whole(message, "count", 0, READ_BYTES_MAX)
    if not is_digest(digest):
        raise ValueError("`content` is no hash")
    answer_later(session, message, _read(volumes, digest, size, offset, count))
    return None


async def _read(
    volumes: Volumes, digest: str, size: int, offset: int, count: int
) -> dict[str, Any]:
    def read(_: StoredNodes) -> bytes:
        if size <= chunks.SMALL_BYTES:
            data = volumes.contents.get(digest)
            if data is None:
                raise LostContentError(f"the content {digest} of a volume is lost")
            return data[offset : offset + count]
        try:
            fd = os.open(volumes.contents.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise LostContentError(f"the content {digest} of a volume is lost") from None
        try:
            return chunks.read_at(fd, count, offset)
        finally:
            os.close(fd)

    return {"data": await volumes.states.on_thread(read)}


def volume_history(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """The states of a volume, the latest first."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume = volume_of(session, message)
    checks.optional(checks.whole, message, "max", 0)
    most = HISTORY_MAX if message["max"] is None else min(message["max"], HISTORY_MAX)
    answer_later(session, message, _history(volumes, volume.object_id, most))
    return None


async def _history(volumes: Volumes, volume_id: str, most: int) -> dict[str, Any]:
    rows = await volumes.states.history(volume_id, most)
    return {"states": [
        {
            "number": row.number, "created_at": row.created_at, "made_by": row.made_by,
            "action": row.action, "entries": trees.decode_root(row.root).size,
        }
        for row in rows
    ]}  # fmt: skip


HANDLERS = (volume_stat, volume_list, volume_read, volume_history)
