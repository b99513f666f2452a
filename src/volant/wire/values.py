"""Plain values as bytes: the subset of msgpack that control messages use.

Pure Python because it runs in every client and container before anything may be
imported; the byte format is standard msgpack, so other programs can read it.
A decoder is fed by strangers: it never recurses deeper than `DEPTH_MAX`, never makes more
than `VALUES_MAX` objects, and answers every malformed input with `ValueError`.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from struct import Struct, error as StructError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias, Union

    Value: TypeAlias = Union[None, bool, int, float, str, bytes, "list[Value]", "dict[str, Value]"]

#: Nesting that a message may have; deeper ones are refused, not recursed into.
DEPTH_MAX = 32
#: Elements of all lists and maps of a message together; each takes many times its byte in memory.
VALUES_MAX = 1 << 20

_U8, _U16, _U32, _U64 = (Struct(">" + code) for code in "BHIQ")
_I8, _I16, _I32, _I64 = (Struct(">" + code) for code in "bhiq")
_F64 = Struct(">d")


def encode(value: object) -> bytes:
    """Encode None, bool, int (64 bit), float, str, bytes, list, tuple or dict.

    Raises:
        TypeError: for any other type, and for a key that is no string.
        ValueError: for an integer beyond 64 bits, or nesting beyond `DEPTH_MAX`.
    """
    out = bytearray()
    _encode(value, out, 0)
    return bytes(out)


def _encode(value: object, out: bytearray, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise ValueError(f"value is nested deeper than {DEPTH_MAX} levels")
    if value is None:
        out.append(0xC0)
    elif value is True:
        out.append(0xC3)
    elif value is False:
        out.append(0xC2)
    elif isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        _head(out, len(raw), 0xA0, 31, (0xD9, 0xDA, 0xDB))
        out += raw
    elif isinstance(value, int):
        _encode_int(value, out)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        _head(out, len(raw), None, -1, (0xC4, 0xC5, 0xC6))
        out += raw
    elif isinstance(value, float):
        out.append(0xCB)
        out += _F64.pack(value)
    elif isinstance(value, dict):
        _head(out, len(value), 0x80, 15, (None, 0xDE, 0xDF))
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"cannot send a {type(key).__name__} as the key of a map")
            _encode(key, out, depth + 1)
            _encode(item, out, depth + 1)
    elif isinstance(value, (list, tuple)):
        _head(out, len(value), 0x90, 15, (None, 0xDC, 0xDD))
        for item in value:
            _encode(item, out, depth + 1)
    else:
        raise TypeError(f"cannot send a {type(value).__name__} in a control message")


def _head(
    out: bytearray,
    size: int,
    short: int | None,
    short_max: int,
    codes: tuple[int | None, int, int],
) -> None:
    if short is not None and size <= short_max:
        out.append(short | size)
    elif codes[0] is not None and size < 1 << 8:
        out.append(codes[0])
        out += _U8.pack(size)
    elif size < 1 << 16:
        out.append(codes[1])
        out += _U16.pack(size)
    elif size < 1 << 32:
        out.append(codes[2])
        out += _U32.pack(size)
    else:
        raise ValueError(f"value of {size} bytes is too large for a control message")


def _encode_int(value: int, out: bytearray) -> None:
    if 0 <= value < 128:
        out.append(value)
    elif -32 <= value < 0:
        out.append(256 + value)
    elif 0 <= value < 1 << 32:
        out.append(0xCE)
        out += _U32.pack(value)
    elif 0 <= value < 1 << 64:
        out.append(0xCF)
        out += _U64.pack(value)
    elif -(1 << 63) <= value < 0:
        out.append(0xD3)
        out += _I64.pack(value)
    else:
        raise ValueError(f"integer {value} does not fit 64 bits")


def decode(data: bytes | memoryview) -> Value:
    """Decode one value that fills `data` exactly.

    Raises:
        ValueError: for anything that is not one well-formed value of this subset.
    """
    raw = bytes(data)
    try:
        value, end = _decode(raw, 0, 0, [VALUES_MAX])
    except (IndexError, StructError, UnicodeDecodeError) as error:
        raise ValueError("truncated or malformed message") from error
    if end != len(raw):
        raise ValueError(f"{len(raw) - end} bytes after the end of the message")
    return value


def decode_map(data: bytes | memoryview) -> dict[str, Value]:
    """Decode one map; what every control message is.

    Raises:
        ValueError: if `data` is malformed or not a map.
    """
    value = decode(data)
    if not isinstance(value, dict):
        raise ValueError(f"expected a map, got {type(value).__name__}")
    return value


#: code -> (struct of the length, family)
_SIZED = {
    0xC4: (_U8, "bin"), 0xC5: (_U16, "bin"), 0xC6: (_U32, "bin"),
    0xD9: (_U8, "str"), 0xDA: (_U16, "str"), 0xDB: (_U32, "str"),
    0xDC: (_U16, "list"), 0xDD: (_U32, "list"),
    0xDE: (_U16, "map"), 0xDF: (_U32, "map"),
}  # fmt: skip
_NUMBERS = {
    0xCB: _F64, 0xCC: _U8, 0xCD: _U16, 0xCE: _U32, 0xCF: _U64,
    0xD0: _I8, 0xD1: _I16, 0xD2: _I32, 0xD3: _I64,
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def _decode(raw: bytes, at: int, depth: int, room: list[int]) -> tuple[Value, int]:
    if depth > DEPTH_MAX:
        raise ValueError(f"message is nested deeper than {DEPTH_MAX} levels")
    code = raw[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 256, at
    if code < 0x90:
        return _decode_sized(raw, at, "map", code & 15, depth, room)
    if code < 0xA0:
        return _decode_sized(raw, at, "list", code & 15, depth, room)
    if code < 0xC0:
        return _decode_sized(raw, at, "str", code & 31, depth, room)
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if code in _NUMBERS:
        number = _NUMBERS[code]
        return number.unpack_from(raw, at)[0], at + number.size
    if code in _SIZED:
        length, family = _SIZED[code]
        (size,) = length.unpack_from(raw, at)
        return _decode_sized(raw, at + length.size, family, size, depth, room)
    raise ValueError(f"byte 0x{code:02x} starts no value of this protocol")


def _decode_sized(
    raw: bytes, at: int, family: str, size: int, depth: int, room: list[int]
) -> tuple[Value, int]:
    if size > len(raw) - at:  # every element takes at least one byte: no huge allocation
        raise ValueError(f"{family} of {size} goes beyond the end of the message")
    if family == "str":
        return raw[at : at + size].decode("utf-8", "surrogatepass"), at + size
    if family == "bin":
        return raw[at : at + size], at + size
    room[0] -= size
    if room[0] < 0:
        raise ValueError(f"message of more than {VALUES_MAX} values")
    if family == "list":
        items: list[Value] = []
        for _ in range(size):
            item, at = _decode(raw, at, depth + 1, room)
            items.append(item)
        return items, at
    fields: dict[str, Value] = {}
    for _ in range(size):
        key, at = _decode(raw, at, depth + 1, room)
        if not isinstance(key, str):
            raise ValueError(f"key of a map is a {type(key).__name__}, not a string")
        fields[key], at = _decode(raw, at, depth + 1, room)
    return fields, at
