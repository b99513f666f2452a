"""Requests about dicts. Keys and values are pickles of clients, which nobody here opens.

dict_put       entries; with `if_absent` one, and only if its key is free
dict_get, dict_contains, dict_len, dict_page
dict_pop, dict_clear
dict_upload    one piece of a value that is larger than a request
dict_read      one piece of a value that is larger than a reply
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.wire.faults import error_fault
from volantd.hub import checks
from volantd.hub.objects.dicts.changes import CHANGE, Change, Clear, Pop, Put
from volantd.hub.objects.dicts.dicts import hour, since
from volantd.hub.objects.dicts.files import PIECE_BYTES_MAX, VALUE_BYTES_MAX, check_name
from volantd.hub.objects.reads import write_error
from volantd.store.records import EntryRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from volantd.hub.objects.dicts.dicts import Dicts
    from volantd.hub.objects.dicts.files import Arriving
    from volantd.hub.session import Session

#: Longest key, as a pickle.
KEY_BYTES_MAX = 64 << 10
#: Entries of one `dict_put`, and of one answer of `dict_page`.
ENTRIES_MAX = 10_000
PAGE_ENTRIES = 1000
PAGE_BYTES = 4 << 20
#: Values that are larger lie in files.
INLINE_BYTES_MAX = 256 << 10
#: What a request that is being carried out takes beside its bytes.
OVERHEAD_BYTES = 1000
#: Characters of the name of an upload.
UPLOAD_CHARS_MAX = 40


def dict_put(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Keep entries; answers whether they are kept."""
    object_id, rows, if_absent = _object_id(message), _entries(message), _if_absent(message)
    dicts = _dicts(session, message, object_id, changes=True)
    if dicts is None:
        return None
    session.hub.objects.check_room()
    large = dicts.files.arrived(session, [value for _, value in rows if isinstance(value, str)])
    if large is None:
        return {"missing": True}  # sent over a connection that was lost since
    kept = [_row(object_id, key, value, large) for key, value in rows]
    if large:
        dicts.with_files.add(object_id)
    put = Put(
        object_id=object_id, since=since(), rows=kept, if_absent=if_absent,
        has_files=object_id in dicts.with_files,
    )  # fmt: skip
    inline = sum(len(row.key) + len(row.value or b"") for row in kept)
    _change(session, message, put, inline)
    return None


def _row(
    object_id: str, key: bytes, value: bytes | str, large: dict[str, Arriving]
) -> EntryRow:  # fmt: skip
    inline, file, size = None, None, len(value)
    if isinstance(value, bytes):
        inline = value
    else:
        file, size = large[value].name, large[value].size
    return EntryRow(
        object_id=object_id, key_hash=_hash(key), key=key, value=inline, file=file, size=size,
        used_hour=hour(),
    )  # fmt: skip


def dict_get(session: Session, message: dict[str, Any]) -> None:
    """The value of a key: `value`, or `file` and `size` of a large one."""
    object_id, key_hash = _object_id(message), _hash(_key(message, "key"))
    dicts = _dicts(session, message, object_id)
    if dicts is not None:
        read = partial(_get, object_id=object_id, key_hash=key_hash, since=since())

        def made(found: Any) -> dict[str, Any]:
            if found is None:
                return {"found": False}
            dicts.used(object_id, [key_hash], [found.used_hour])
            if found.file is None:
                return {"found": True, "value": found.value}
            return {"found": True, "file": found.file, "size": found.size}

        session.hub.objects.reads.ask(session, message["id"], read, made)


def _get(connection: Connection, object_id: str, key_hash: bytes, since: int) -> Any:
    from volantd.store import dicts as store

    return store.get(connection, object_id, key_hash, since)


def dict_contains(session: Session, message: dict[str, Any]) -> None:
    """Whether there is a key."""
    object_id, key_hash = _object_id(message), _hash(_key(message, "key"))
    if _dicts(session, message, object_id) is not None:
        read = partial(_contains, object_id=object_id, key_hash=key_hash, since=since())
        reads = session.hub.objects.reads
        reads.ask(session, message["id"], read, lambda found: {"found": found})


def _contains(connection: Connection, object_id: str, key_hash: bytes, since: int) -> bool:
    from volantd.store import dicts as store

    return any(used >= since for _, _, used in store.standing(connection, object_id, [key_hash]))


def dict_len(session: Session, message: dict[str, Any]) -> None:
    """How many entries there are."""
    object_id = _object_id(message)
    if _dicts(session, message, object_id) is not None:
        read = partial(_count, object_id=object_id, since=since())
        reads = session.hub.objects.reads
        reads.ask(session, message["id"], read, lambda count: {"count": count})


def _count(connection: Connection, object_id: str, since: int) -> int:
    from volantd.store import dicts as store

    return store.count(connection, object_id, since)


def dict_page(session: Session, message: dict[str, Any]) -> None:
    """Some entries, in the order of what their keys hash to, and where to go on."""
    object_id, after = _object_id(message), checks.raw(message, "after")
    values = checks.switch(message, "values")
    dicts = _dicts(session, message, object_id)
    if dicts is None:
        return

    def made(page: dict[str, Any]) -> dict[str, Any]:
        dicts.used(object_id, page.pop("hashes"), page.pop("hours"))
        return page

    read = partial(_page, object_id=object_id, after=after, since=since(), values=values)
    session.hub.objects.reads.ask(session, message["id"], read, made)


def _page(
    connection: Connection, object_id: str, after: bytes, since: int, *, values: bool
) -> dict[str, Any]:
    """The reply, and hashes and hours of what counts as used by it."""
    from volantd.store import dicts as store

    rows = store.page(connection, object_id, after, since, PAGE_ENTRIES)
    taken, total = 0, 0
    for _, key, size, _ in rows:
        total += len(key) + (size if values and size <= INLINE_BYTES_MAX else 0)
        if taken and total > PAGE_BYTES:
            break
        taken += 1
    is_last = taken == len(rows) < PAGE_ENTRIES
    rows = rows[:taken]
    hashes = [row[0] for row in rows] if values else []
    found = store.values_of(connection, object_id, hashes)
    entries: list[list[Any]] = []
    for key_hash, key, size, _ in rows:
        value, file = found.get(key_hash, (None, None))
        entries.append([key, value if file is None else [file, size]])
    return {
        "entries": entries, "next": None if is_last else rows[-1][0], "hashes": hashes,
        "hours": [row[3] for row in rows] if values else [],
    }  # fmt: skip


def dict_pop(session: Session, message: dict[str, Any]) -> None:
    """Take an entry out, and answer with its value as `dict_get` does."""
    object_id, key_hash = _object_id(message), _hash(_key(message, "key"))
    if _dicts(session, message, object_id, changes=True) is not None:
        _change(session, message, Pop(object_id=object_id, since=since(), key_hash=key_hash), 0)


def dict_clear(session: Session, message: dict[str, Any]) -> None:
    """Take all entries out."""
    object_id = _object_id(message)
    if _dicts(session, message, object_id, changes=True) is not None:
        _change(session, message, Clear(object_id=object_id, since=0), 0)


def _change(session: Session, message: dict[str, Any], change: Change, size: int) -> None:
    files = session.hub.dicts.files

    def settled(error: Exception | None) -> None:
        if error is not None:
            return  # the next daemon removes what no entry names
        for name, left in change.dropped:
            files.leave(name, left)

    session.hub.objects.change(
        session, message, [(CHANGE, change)], change.answer, size=size + OVERHEAD_BYTES,
        settled=settled,
    )  # fmt: skip


# -- large values


def dict_upload(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Take one piece of a value; answers when it is written."""
    upload = checks.text(message, "upload")
    if not 0 < len(upload) <= UPLOAD_CHARS_MAX:
        raise ValueError("`upload` is empty or too long")
    size = checks.whole(message, "size", 1, VALUE_BYTES_MAX)
    offset, data = checks.whole(message, "offset"), checks.raw(message, "data")
    if not 0 < len(data) <= PIECE_BYTES_MAX or offset + len(data) > size:
        raise ValueError("a piece of a value is empty, too large, or beyond its end")
    dicts, number = session.hub.dicts, message["id"]
    session.hub.objects.check_room()
    arriving = dicts.files.arriving(session, upload, size)
    if arriving.is_busy or arriving.have != offset:
        return {"missing": True}  # an earlier piece was sent over a connection that was lost
    session.held.add(len(data), fd=False)

    def done(error: OSError | None) -> None:
        session.held.drop(len(data), fd=False)
        if error is None:
            session.reply(number, {})
        else:
            session.refuse(number, error_fault(write_error(error)))
        session.hub.after_events()

    dicts.files.write(arriving, data, done)
    return None


def dict_read(session: Session, message: dict[str, Any]) -> None:
    """A piece of a large value."""
    name, offset = checks.text(message, "file"), checks.whole(message, "offset")
    files = session.hub.dicts.files
    check_name(name)
    session.hub.objects.reads.ask(
        session, message["id"], lambda _: files.read(name, offset), lambda data: {"data": data}
    )


# -- fields


def _dicts(
    session: Session, message: dict[str, Any], object_id: str, *, changes: bool = False
) -> Dicts | None:
    """All dicts, if the request is to be carried out now.

    Raises:
        NotFoundError: when there is no dict with the id.
    """
    objects = session.hub.objects
    if not objects.is_open(session, message):
        return None
    if changes and not objects.tickets.admit(session, message):
        return None
    objects.find("dict", object_id)
    return session.hub.dicts


def _object_id(message: dict[str, Any]) -> str:
    return checks.text(message, "object_id")


def _if_absent(message: dict[str, Any]) -> bool:
    if_absent = checks.switch(message, "if_absent")
    if if_absent and len(message["entries"]) != 1:
        raise ValueError("one key at a time is put if it is absent")
    return if_absent


def _entries(message: dict[str, Any]) -> list[tuple[bytes, bytes | str]]:
    entries = checks.sequence(message, "entries")
    if not 0 < len(entries) <= ENTRIES_MAX:
        raise ValueError(f"{len(entries)} entries at once, from 1 to {ENTRIES_MAX}")
    rows: list[tuple[bytes, bytes | str]] = []
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 2:
            raise ValueError("an entry is no list of two")
        fields = {"key": entry[0]}
        if not isinstance(entry[1], (bytes, str)) or len(entry[1]) > INLINE_BYTES_MAX:
            raise ValueError("a value is neither few bytes nor the name of an upload")
        rows.append((_key(fields, "key"), entry[1]))
    return rows


def _key(fields: dict[str, Any], name: str) -> bytes:
    key = checks.raw(fields, name)
    if len(key) > KEY_BYTES_MAX:
        raise InvalidError(f"a key of {len(key)} bytes as a pickle, at most {KEY_BYTES_MAX}")
    return key


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


HANDLERS = (
    dict_put, dict_get, dict_contains, dict_len, dict_page, dict_pop, dict_clear, dict_upload,
    dict_read,
)  # fmt: skip
