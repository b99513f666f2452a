"""Python objects as payloads: pickles inline, large buffers in a mapped file.

    dumps(obj)  -> (kind, payload, fd | None)        loads(kind, payload, fd) -> obj

The C pickler takes the common case (0.7 us); objects it refuses (lambdas, closures, classes
of an interactive session) go through cloudpickle, imported on first use. Buffers beyond
`BUFFER_BYTES_MIN` are kept out of band (pickle protocol 5), and a payload beyond
`INLINE_BYTES_MAX` is written once into a sealed memory file whose descriptor travels beside
the frame; the receiver maps it privately, so arrays arrive writable and without a copy.

    mapped payload = count u32 | (offset u64, size u64) x count [| token u64]
    entry 0 is the pickle

A file with a token belongs to the sender's arena (see `arena.py`) and is used again after the
receiver has let go of it: that one is not sealed against writing by its sender, and by nobody
else. A receiver believes its sender that it writes only to what came back. Both ends belong to
one app, and the client unpickles what its containers send, anyway.
"""

from __future__ import annotations

import fcntl
import os
import sys
from _pickle import PickleBuffer, PicklingError, dumps as _c_dumps, loads as _c_loads
from struct import Struct, error as StructError

from volant.wire.frames import INLINE_BYTES_MAX, MAPPED, PICKLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Buffers below this are copied into the pickle; the table entry would cost more.
BUFFER_BYTES_MIN = 64 << 10
#: Most buffers of one payload; a reader refuses more.
BUFFER_COUNT_MAX = 1 << 16
#: Buffers start at multiples of this, so that any dtype is aligned.
_ALIGNMENT = 4096
_WRITE_BYTES_MAX = 1 << 30
_COUNT = Struct("<I")
_ENTRY = Struct("<QQ")
_TOKEN = Struct("<Q")
_SEAL_WRITE = getattr(fcntl, "F_SEAL_WRITE", 8)
_SEAL_FUTURE_WRITE = getattr(fcntl, "F_SEAL_FUTURE_WRITE", 16)
_SEALS = (
    getattr(fcntl, "F_SEAL_SHRINK", 2) | getattr(fcntl, "F_SEAL_GROW", 4)
    | _SEAL_WRITE | getattr(fcntl, "F_SEAL_SEAL", 1)
)  # fmt: skip
_F_ADD_SEALS = getattr(fcntl, "F_ADD_SEALS", 1033)
_F_GET_SEALS = getattr(fcntl, "F_GET_SEALS", 1034)

#: The payload of a call without arguments, for whoever may not pickle: of `((), {})`.
NO_ARGUMENTS = b"\x80\x05)}\x86."

loads_plain = _c_loads

#: Types without parts, which need no look for buffers.
_SMALL = frozenset({type(None), bool, int, float})
_BYTES = frozenset({bytes, bytearray})

#: Set by an interactive session, whose `__main__` does not exist in any container.
pickles_main_by_value = False
#: Cleared in a container that has no memory to spare for files which wait to be used again.
recycles = True


def dumps(obj: object, pool: str | None = None) -> tuple[int, bytes, int | None]:
    """Pickle an object.

    Args:
        pool: whose files may be used again for this one; None for a file of its own. The
            descriptor is then for `close_sent`.

    Returns:
        kind (PICKLE or MAPPED), inline payload, and for MAPPED the descriptor of the sealed
        memory file, which the caller owns.

    Raises:
        Exception: whatever the object's own pickling raises, when cloudpickle cannot either.
    """
    kind = type(obj)
    if kind in _SMALL:
        return PICKLE, _c_dumps(obj, 5), None
    if kind in _BYTES and len(obj) > INLINE_BYTES_MAX:  # type: ignore[arg-type]  # it has a length
        obj = _Apart(obj)
    buffers: list[Any] = []

    def keep_in_band(buffer: Any) -> bool:
        raw = buffer.raw()
        if raw.nbytes < BUFFER_BYTES_MIN or len(buffers) >= BUFFER_COUNT_MAX - 1:
            return True
        buffers.append(raw)
        return False

    data = _dumps_any(obj, keep_in_band, buffers)
    if not buffers and len(data) <= INLINE_BYTES_MAX:
        return PICKLE, data, None
    if not buffers:
        return _to_mapped([memoryview(data)], pool)
    total = len(data) + sum(raw.nbytes for raw in buffers)
    if total <= INLINE_BYTES_MAX:  # out of band paid off for nothing: once more, in band
        return PICKLE, _dumps_any(obj, None, []), None
    return _to_mapped([memoryview(data), *buffers], pool)


def _dumps_any(obj: object, callback: Callable[[Any], bool] | None, buffers: list[Any]) -> bytes:
    if not pickles_main_by_value:
        try:
            return _c_dumps(obj, 5, buffer_callback=callback)
        except (PicklingError, AttributeError, TypeError):
            # A lambda, a closure, a local class: cloudpickle knows these.
            buffers.clear()  # those that came before it come again
    import cloudpickle

    data: bytes = cloudpickle.dumps(obj, 5, buffer_callback=callback)
    return data


def dumps_arguments(
    args: tuple[object, ...], kwargs: dict[str, object], pool: str | None = None
) -> tuple[int, bytes, int | None]:
    """`dumps` of the pair, with a short way for the arguments of most small calls."""
    if not kwargs:
        for value in args:
            if type(value) not in _SMALL:
                break
        else:
            return PICKLE, _c_dumps((args, kwargs), 5), None
    for value in (*args, *kwargs.values()):
        if type(value) in _BYTES:
            apart = {name: _set_apart(value) for name, value in kwargs.items()}
            return dumps((tuple([_set_apart(value) for value in args]), apart), pool)
    return dumps((args, kwargs), pool)


class _Apart:
    """Large bytes, pickled as themselves but out of band: at 2 GiB every copy takes a second."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return type(self.value), (PickleBuffer(self.value),)


def _set_apart(value: Any) -> Any:
    return _Apart(value) if type(value) in _BYTES and len(value) > INLINE_BYTES_MAX else value


def dumps_by_value(obj: object) -> bytes:
    """Pickle in band, functions and classes that cannot be imported by value."""
    return _dumps_any(obj, None, [])


def loads(kind: int, payload: bytes, fd: int | None) -> Any:
    """Unpickle a payload; takes ownership of `fd`.

    Raises:
        ValueError: if a mapped payload's table does not fit its file.
        Exception: whatever unpickling raises.
    """
    if kind == PICKLE and fd is None:
        return _c_loads(payload)
    if fd is None:
        raise ValueError("a mapped payload came without its file")
    if kind != MAPPED:
        os.close(fd)
        raise ValueError(f"a payload of kind {kind} came with a file")
    pickle, *buffers = _from_mapped(payload, fd)
    return _c_loads(pickle, buffers=buffers)


def close_sent(fd: int, *, reusable: bool) -> None:
    """Close a descriptor that `dumps` has made.

    Args:
        reusable: whether nobody will ask this process for the payload again, so that its file
            may be used again as soon as its reader has let go of it.
    """
    os.close(fd)
    if type(fd) is not int:
        from volant.wire import arena

        if isinstance(fd, arena.SentFd):
            arena.current().post(fd.token, arena.SETTLED if reusable else arena.LOST)


def on_released(event: dict[str, Any]) -> None:
    """Take the hub's word on which files were let go of, and which never will be."""
    from volant.wire import arena

    current = arena.current()
    for token in event["tokens"]:
        current.post(token, arena.RELEASED)
    for token in event["lost"]:
        current.post(token, arena.LOST)


def holds_memory() -> bool:
    """True while this process keeps files, or mappings of files, to use again."""
    loaded = sys.modules
    return ("volant.wire.arena" in loaded and loaded["volant.wire.arena"].holds()) or (
        "volant.wire.mappings" in loaded and loaded["volant.wire.mappings"].holds()
    )


def clear_memory() -> None:
    """Let go of what would be used again."""
    if holds_memory():
        from volant.wire import arena, mappings

        arena.current().clear()
        mappings.clear()


def forget_lent() -> None:
    """Never use again what is out: the connection that would tell of it is gone."""
    if holds_memory():
        from volant.wire import arena

        arena.current().forget_out()


def token_of(payload: bytes) -> int:
    """The token at the end of a mapped payload, 0 when it has none."""
    if len(payload) % 16 != 4 + _TOKEN.size:
        return 0
    token: int = _TOKEN.unpack_from(payload, len(payload) - _TOKEN.size)[0]
    return token


def _to_mapped(buffers: list[memoryview], pool: str | None) -> tuple[int, bytes, int]:
    table = [_COUNT.pack(len(buffers))]
    pieces: list[tuple[int, memoryview]] = []
    offset = 0
    for buffer in buffers:
        flat = buffer.cast("B") if buffer.format != "B" or buffer.ndim != 1 else buffer
        pieces.append((offset, flat))
        table.append(_ENTRY.pack(offset, flat.nbytes))
        offset += -(-flat.nbytes // _ALIGNMENT) * _ALIGNMENT
    size = max(offset, _ALIGNMENT)
    if pool is not None and recycles:
        from volant.wire import arena

        sent = arena.current().lend(pieces, size, pool) if size <= arena.FILE_BYTES_MAX else None
        if sent is not None:
            table.append(_TOKEN.pack(sent.token))
            return MAPPED, b"".join(table), sent
    return MAPPED, b"".join(table), _write_file(pieces, size)


def _write_file(pieces: list[tuple[int, memoryview]], size: int) -> int:
    from volant.wire.memory import memory_file

    fd = memory_file()
    try:
        for offset, piece in pieces:
            at = 0
            while at < piece.nbytes:
                at += os.pwrite(fd, piece[at : at + _WRITE_BYTES_MAX], offset + at)
        os.ftruncate(fd, size)
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def seal(fd: int) -> None:
    """Have nobody change a memory file any more."""
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)


def _from_mapped(payload: bytes, fd: int) -> list[memoryview]:
    token = token_of(payload)
    try:
        if not _is_sealed(fcntl.fcntl(fd, _F_GET_SEALS), lent=bool(token)):
            raise ValueError("a mapped payload's file is not sealed: it could change underneath")
        size = os.fstat(fd).st_size
        table = _read_table(payload[: -_TOKEN.size] if token else payload, size)
        memory = _memory_of(fd, size, token)
    except OSError as error:
        raise ValueError("a mapped payload's file cannot be mapped") from error
    finally:
        os.close(fd)
    view = PickleBuffer(memory).raw()
    return [view[offset : offset + length] for offset, length in table]


def _is_sealed(seals: int, *, lent: bool) -> bool:
    """Whether nobody can change a file, or, of one that is lent, nobody but its writer."""
    against_writing = _SEAL_WRITE | _SEAL_FUTURE_WRITE if lent else _SEAL_WRITE
    others = _SEALS & ~_SEAL_WRITE
    return seals & others == others and bool(seals & against_writing)


def _memory_of(fd: int, size: int, token: int) -> Any:
    """Private memory with the file's content: the receiver may write to its arrays."""
    from volant.wire import mappings

    releases = getattr(fd, "releases", None) if token else None
    if releases is not None:
        return mappings.lend(fd, size, token, releases)
    return mappings.map_private(fd, size) or mappings.copy_of(fd, size)


def _read_table(payload: bytes, size: int) -> list[tuple[int, int]]:
    try:
        (count,) = _COUNT.unpack_from(payload, 0)
        if not 1 <= count <= BUFFER_COUNT_MAX or len(payload) != 4 + 16 * count:
            raise ValueError(f"table of {count} buffers in {len(payload)} bytes")
        table = [_ENTRY.unpack_from(payload, 4 + 16 * index) for index in range(count)]
    except StructError as error:
        raise ValueError("a mapped payload without its table") from error
    for offset, length in table:
        if offset + length > size:
            raise ValueError(f"buffer at {offset} of {length} bytes in a file of {size}")
    return table
