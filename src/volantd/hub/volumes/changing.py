"""Requests that change volumes.

    volume_missing  which contents the hub has not
    volume_store    small contents, together
    volume_begin    a large content: which of its chunks are lacking
    volume_chunk    one of them; or all, from a file: volume_take
    volume_write    files, links and directories at their paths, by their contents: a commit
    volume_remove, volume_copy, volume_restore

Each change has an id that its client chose: sent again, it is made once.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from volant.errors import PermissionDeniedError
from volant.wire import chunks
from volantd.core.volumes import editing, trees
from volantd.core.volumes.entries import (
    FILE,
    FILE_BYTES_MAX,
    Entry,
    checked,
    is_digest,
    parts_of,
)
from volantd.hub import checks
from volantd.hub.volumes.answering import answer_later, not_there, volume_of, volumes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.objects.kinds import NamedObject
    from volantd.hub.session import Session
    from volantd.volumes.nodes import StoredNodes
    from volantd.volumes.service import Volumes

    Entries = dict[tuple[str, ...], Entry | None]

#: Contents that one request asks about; entries that one request writes.
CONTENTS_MAX = 20_000
ENTRIES_MAX = 300_000
SOURCES_MAX = 10_000
ID_CHARS_MAX = 64


def volume_missing(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Those of some contents that are not here, by their places in the list."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume_of(session, message)
    digests = _digests(checks.raw(message, "digests"))
    answer_later(session, message, _missing(volumes, digests))
    return None


async def _missing(volumes: Volumes, digests: list[str]) -> dict[str, Any]:
    found = await volumes.states.on_thread(lambda _: volumes.contents.claim(digests))
    return {"missing": [index for index, digest in enumerate(digests) if digest not in found]}


def _digests(raw: bytes) -> list[str]:
    if len(raw) % 32 or len(raw) > 32 * CONTENTS_MAX:
        raise ValueError("these are no hashes, or too many")
    return [raw[at : at + 32].hex() for at in range(0, len(raw), 32)]


def volume_store(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take small contents that lie one after the other."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume_of(session, message)
    digests, data = _digests(checks.raw(message, "digests")), checks.raw(message, "data")
    sizes = checks.sequence(message, "sizes")
    if len(sizes) != len(digests) or not all(type(one) is int and one > 0 for one in sizes):
        raise ValueError("`sizes` are not those of the contents")
    if sum(sizes) != len(data):
        raise ValueError("the contents are not as large as they have to be")
    table = list(zip(digests, sizes, strict=True))
    answer_later(session, message, _store(volumes, data, table))
    return None


async def _store(volumes: Volumes, data: bytes, table: list[tuple[str, int]]) -> dict[str, Any]:
    await volumes.states.on_thread(lambda _: volumes.arriving.store(memoryview(data), table))
    return {}


def volume_begin(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Expect a large content: which of its chunks are lacking."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume, parts = volume_of(session, message), parts_of(checks.text(message, "path"))
    size = checks.whole(message, "size", chunks.SMALL_BYTES + 1, FILE_BYTES_MAX)
    raw = checks.raw(message, "chunks")
    if len(raw) != 32 * chunks.count_of(size):
        raise ValueError("these are not the chunks of a content of this size")
    digests = [raw[at : at + 32].hex() for at in range(0, len(raw), 32)]
    answer_later(session, message, _begin(volumes, volume.object_id, parts, size, digests))
    return None


async def _begin(
    volumes: Volumes, volume_id: str, parts: tuple[str, ...], size: int, digests: list[str]
) -> dict[str, Any]:
    state = await volumes.states.latest(volume_id)

    def begin(nodes: StoredNodes) -> dict[str, Any]:
        before = trees.find(nodes, state.root, parts)
        is_like = before is not None and before.kind == FILE and before.size > chunks.SMALL_BYTES
        like = before.content if before is not None and is_like else None
        whole, lacking = volumes.arriving.begin(size, digests, like)
        return {"content": whole, "lacking": lacking}

    return await volumes.states.on_thread(begin)


def volume_chunk(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take a chunk of a large content."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume_of(session, message)
    digest, index = checks.text(message, "content"), checks.whole(message, "index")
    data = checks.raw(message, "data")
    if not is_digest(digest):
        raise ValueError("`content` is no hash")
    answer_later(session, message, _chunk(volumes, digest, index, data))
    return None


def volume_take(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take all chunks that are lacking of a large content from a file that came along.

    Only of a client of this machine's user: a container could hand over what makes one wait.
    """
    if session.container_app is not None:
        raise PermissionDeniedError("a container sends the chunks of a content one by one")
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume_of(session, message)
    digest = checks.text(message, "content")
    fd, session.request_fd = session.request_fd, None
    if fd is None or not is_digest(digest):
        raise ValueError("there is no file, or `content` is no hash")
    answer_later(session, message, _take(volumes, digest, fd))
    return None


async def _take(volumes: Volumes, digest: str, fd: int) -> dict[str, Any]:
    def take(_: StoredNodes) -> None:
        try:
            volumes.arriving.take(digest, fd)
        finally:
            os.close(fd)

    await volumes.states.on_thread(take)
    return {}


async def _chunk(volumes: Volumes, digest: str, index: int, data: bytes) -> dict[str, Any]:
    return {
        "is_whole": await volumes.states.on_thread(
            lambda _: volumes.arriving.add(digest, index, data)
        )
    }


# -- changes


def volume_write(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Put entries at paths; answers with contents that are not here, if there are such."""
    entries, force = checks.raw(message, "entries"), checks.switch(message, "force")
    volumes = volumes_of(session, message)
    if volumes is None:
        return None

    def work(nodes: StoredNodes, root: Entry) -> Entry:
        wanted = _entries(entries)
        _claim(volumes, wanted)
        now_ns = int(volumes.clock() * 1e9)
        return editing.put(nodes, root, wanted, now_ns, force=force)

    _change(session, message, volumes, work, "put files")
    return None


class MissingError(Exception):
    """Contents that a change names are not here any more."""


def _entries(raw: bytes) -> Entries:
    """What is to be put: path and entry each, null for a directory.

    Raises:
        ValueError: when it is not that.
    """
    rows = json.loads(raw)
    if not isinstance(rows, list) or len(rows) > ENTRIES_MAX:
        raise ValueError("entries are no list, or too many")
    found: Entries = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != 2 or not isinstance(row[0], str):
            raise ValueError("an entry is no pair of a path and what is there")
        parts = parts_of(row[0])
        if not parts and row[1] is not None:
            raise ValueError("a volume itself is a directory")
        found[parts] = None if row[1] is None else checked(row[1])
    return found


def _claim(volumes: Volumes, entries: Entries) -> None:
    files = [one for one in entries.values() if one is not None and one.kind == FILE and one.size]
    large = {one.content for one in files if one.size > chunks.SMALL_BYTES}
    small = {one.content for one in files if one.size <= chunks.SMALL_BYTES}
    found = volumes.contents.claim(small) | volumes.contents.claim(large, is_large=True)
    if len(found) < len(small) + len(large):
        raise MissingError


def volume_remove(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Remove what is at a path."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    parts, recursive = parts_of(checks.text(message, "path")), checks.switch(message, "recursive")

    def work(nodes: StoredNodes, root: Entry) -> Entry:
        now_ns = int(volumes.clock() * 1e9)
        return editing.remove(nodes, root, parts, now_ns, recursive=recursive)

    _change(session, message, volumes, work, f"remove {'/'.join(parts) or '/'}")
    return None


def volume_copy(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Copy files or directories within a volume."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    sources = checks.sequence(message, "sources")
    if len(sources) > SOURCES_MAX or not all(isinstance(one, str) for one in sources):
        raise ValueError("`sources` are no paths, or too many")
    paths, target = [parts_of(one) for one in sources], parts_of(checks.text(message, "target"))
    recursive = checks.switch(message, "recursive")

    def work(nodes: StoredNodes, root: Entry) -> Entry:
        now_ns = int(volumes.clock() * 1e9)
        return editing.copy(nodes, root, paths, target, now_ns, recursive=recursive)

    _change(session, message, volumes, work, f"copy to {'/'.join(target) or '/'}")
    return None


def volume_restore(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Have a volume contain what it contained in an earlier state."""
    volumes = volumes_of(session, message)
    if volumes is None:
        return None
    volume, number = volume_of(session, message), checks.whole(message, "number", 1)
    change_id, made_by = _change_id(message), _maker(session, message)

    async def restore() -> dict[str, Any]:
        with volumes.states.working():
            row = await volumes.states.state(volume.object_id, number)
            if row is None:
                raise not_there(f"the volume has no state {number}")
            root = trees.decode_root(row.root)
            state = await volumes.states.change(
                volume.object_id, lambda *_: root, action=f"restore {number}", made_by=made_by,
                change_id=change_id,
            )  # fmt: skip
            return {"number": state.number}

    answer_later(session, message, restore())
    return None


def _change(
    session: Session, message: dict[str, Any], volumes: Volumes,
    work: Callable[[StoredNodes, Entry], Entry], action: str,
) -> None:  # fmt: skip
    volume = volume_of(session, message)
    change_id, made_by = _change_id(message), _maker(session, message)

    async def change() -> dict[str, Any]:
        try:
            state = await volumes.states.change(
                volume.object_id, work, action=action, made_by=made_by, change_id=change_id
            )
        except MissingError:
            return {"problem": "contents", "path": ""}
        return {"number": state.number}

    answer_later(session, message, change())


def _change_id(message: dict[str, Any]) -> str:
    change_id = checks.text(message, "change_id")
    if not 0 < len(change_id) <= ID_CHARS_MAX or not change_id.isascii():
        raise ValueError("`change_id` is no id")
    return change_id


def _maker(session: Session, message: dict[str, Any]) -> str:
    if session.container_app is not None:
        return session.container_id
    return checks.text(message, "made_by")[:ID_CHARS_MAX]


def volume_rename(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Give a volume another name."""
    objects = session.hub.objects
    if not objects.is_open(session, message):
        return None
    name = checks.text(message, "name")
    if session.container_app is not None:
        raise PermissionDeniedError("a container cannot rename volumes")
    volume: NamedObject = volume_of(session, message)
    objects.rename(volume, name, lambda error: _renamed(session, message, error))
    return None


def _renamed(session: Session, message: dict[str, Any], error: Any) -> None:
    from volant.wire.faults import error_fault

    if error is None:
        session.reply(message["id"], {})
    else:
        session.refuse(message["id"], error_fault(error))


HANDLERS = (
    volume_missing, volume_store, volume_begin, volume_chunk, volume_take, volume_write,
    volume_remove, volume_copy, volume_restore, volume_rename,
)  # fmt: skip
