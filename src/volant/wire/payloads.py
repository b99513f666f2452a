"""Python objects as payloads: pickles inline, large buffers in a mapped file.

    dumps(obj)  -> (kind, payload, fd | None)        loads(kind, payload, fd) -> obj

The C pickler takes the common case (0.7 us); objects it refuses (lambdas, closures, classes
of an interactive session) go through cloudpickle, imported on first use. Buffers beyond
`BUFFER_BYTES_MIN` are kept out of band (pickle protocol 5), and a payload beyond
`INLINE_BYTES_MAX` is written once into a sealed memory file whose descriptor travels beside
the frame; the receiver maps it privately, so arrays arrive writable and without a copy.

    mapped payload = count u32 | (offset u64, size u64) x count      entry 0 is the pickle
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
    import mmap
    from collections.abc import Callable
    from typing import Any

#: Buffers below this are copied into the pickle; the table entry would cost more.
BUFFER_BYTES_MIN = 64 << 10
#: Most buffers of one payload; a reader refuses more.
BUFFER_COUNT_MAX = 1 << 16
#: Buffers start at multiples of this, so that any dtype is aligned.
_ALIGNMENT = 4096
_WRITE_BYTES_MAX = 1 << 30
#: Descriptors that a process has open, beyond which what arrives is copied rather than mapped.
FDS_OPEN_MAX = 256

_COUNT = Struct("<I")
_ENTRY = Struct("<QQ")
_SEALS = (
    getattr(fcntl, "F_SEAL_SHRINK", 2) | getattr(fcntl, "F_SEAL_GROW", 4)
    | getattr(fcntl, "F_SEAL_WRITE", 8) | getattr(fcntl, "F_SEAL_SEAL", 1)
)  # fmt: skip
_F_ADD_SEALS = getattr(fcntl, "F_ADD_SEALS", 1033)
_F_GET_SEALS = getattr(fcntl, "F_GET_SEALS", 1034)

loads_plain = _c_loads

#: Types without parts, which need no look for buffers.
_SMALL = frozenset({type(None), bool, int, float})
_BYTES = frozenset({bytes, bytearray})

#: Set by an interactive session, whose `__main__` does not exist in any container.
pickles_main_by_value = False


def dumps(obj: object) -> tuple[int, bytes, int | None]:
    """Pickle an object.

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
        return _to_mapped([memoryview(data)])
    total = len(data) + sum(raw.nbytes for raw in buffers)
    if total <= INLINE_BYTES_MAX:  # out of band paid off for nothing: once more, in band
        return PICKLE, _dumps_any(obj, None, []), None
    return _to_mapped([memoryview(data), *buffers])


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
    args: tuple[object, ...], kwargs: dict[str, object]
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
            return dumps((tuple([_set_apart(value) for value in args]), apart))
    return dumps((args, kwargs))


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


def _to_mapped(buffers: list[memoryview]) -> tuple[int, bytes, int]:
    table = [_COUNT.pack(len(buffers))]
    fd = os.memfd_create("volant-payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        offset = 0
        for buffer in buffers:
            _write_at(fd, buffer, offset)
            table.append(_ENTRY.pack(offset, buffer.nbytes))
            offset += -(-buffer.nbytes // _ALIGNMENT) * _ALIGNMENT
        os.ftruncate(fd, max(offset, _ALIGNMENT))
        fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return MAPPED, b"".join(table), fd


def _write_at(fd: int, buffer: memoryview, offset: int) -> None:
    flat = buffer.cast("B") if buffer.format != "B" or buffer.ndim != 1 else buffer
    at, size = 0, flat.nbytes
    while at < size:
        at += os.pwrite(fd, flat[at : at + _WRITE_BYTES_MAX], offset + at)


def _from_mapped(payload: bytes, fd: int) -> list[memoryview]:
    try:
        seals = fcntl.fcntl(fd, _F_GET_SEALS)
        if seals & _SEALS != _SEALS:
            raise ValueError("a mapped payload's file is not sealed: it could change underneath")
        size = os.fstat(fd).st_size
        table = _read_table(payload, size)
        mapping = _map(fd, size)
    except OSError as error:
        raise ValueError("a mapped payload's file cannot be mapped") from error
    finally:
        os.close(fd)
    view = memoryview(mapping)
    return [view[offset : offset + length] for offset, length in table]


def _map(fd: int, size: int) -> mmap.mmap:
    """Private memory with the file's content: the receiver may write to its arrays."""
    import mmap

    protection = mmap.PROT_READ | mmap.PROT_WRITE
    if sys.version_info >= (3, 13):  # pragma: no cover  # depends on who runs the tests
        return mmap.mmap(fd, size, mmap.MAP_PRIVATE, protection, trackfd=False)
    if fd < FDS_OPEN_MAX:
        return mmap.mmap(fd, size, mmap.MAP_PRIVATE, protection)
    # Before Python 3.13 a mapping keeps a descriptor, and a program may keep many arrays.
    copy = mmap.mmap(-1, size)
    at = 0
    while at < size:
        at += os.preadv(fd, [memoryview(copy)[at : at + _WRITE_BYTES_MAX]], at)
    return copy


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
