"""What CRIU has written is made to fit the sandbox that it is restored in.

CRIU dumps from outside of the sandbox's user namespace, as only the machine's root may look at its
filters, and is restored by the root of that namespace. So the processes have to be where it is.

An image is a magic number and entries: a size and a message of Protocol Buffers each.
"""

from __future__ import annotations

import glob
import os
from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC_BYTES = 8
#: Fields: of the inventory, whose ids CRIU's own are; of ids, the one of the user namespace.
_ROOT_IDS, _USER_NAMESPACE = 3, 10
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10


def settle(directory: str) -> None:
    """Have the processes of some images be in the user namespace in which they are restored.

    Raises:
        ValueError: for what CRIU does not write.
        OSError: they cannot be read or written.
    """
    _, inventory = _read(os.path.join(directory, "inventory.img"))
    own = next((value for number, _, value in _fields(inventory) if number == _ROOT_IDS), None)
    if not isinstance(own, bytes):
        raise ValueError("an inventory without ids")
    wanted = _USER_NAMESPACE, _VARINT
    namespace = next((value for *field, value in _fields(own) if tuple(field) == wanted), 0)
    for path in glob.glob(os.path.join(glob.escape(directory), "ids-*.img")):
        head, ids = _read(path)
        changed = b"".join(
            _field(number, kind, namespace if (number, kind) == wanted else value)
            for number, kind, value in _fields(ids)
        )
        with open(path, "wb") as image:
            image.write(head + pack("<I", len(changed)) + changed)


def _read(path: str) -> tuple[bytes, bytes]:
    """The magic number of an image, and its first entry."""
    with open(path, "rb") as image:
        data = image.read()
    if len(data) < _MAGIC_BYTES + 4:
        raise ValueError(f"{os.path.basename(path)} is too short")
    size = unpack_from("<I", data, _MAGIC_BYTES)[0]
    start = _MAGIC_BYTES + 4
    return data[:_MAGIC_BYTES], data[start : start + size]


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, kind and value of the fields of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(data, at)
        else:
            size = {_FIXED_64: 8, _FIXED_32: 4}.get(kind, -1)
            if kind == _BYTES:
                size, at = _varint(data, at)
            if size < 0 or at + size > len(data):
                raise ValueError("a message that is none")
            value = data[at : at + size]
            at += size
        yield tag >> 3, kind, value


def _field(number: int, kind: int, value: int | bytes) -> bytes:
    tag = _as_varint(number << 3 | kind)
    if isinstance(value, int):
        return tag + _as_varint(value)
    return tag + (_as_varint(len(value)) if kind == _BYTES else b"") + value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_BYTES_MAX):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at
    raise ValueError("a number that does not end")


def _as_varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
