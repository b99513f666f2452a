"""Plain values: the bytes of each kind, and what is refused."""

from __future__ import annotations

import math

import pytest

from volant.wire import values

KNOWN = [
    (None, "c0"),
    (False, "c2"),
    (True, "c3"),
    (0, "00"),
    (127, "7f"),
    (128, "ce00000080"),
    (-1, "ff"),
    (-32, "e0"),
    (-33, "d3ffffffffffffffdf"),
    (1 << 32, "cf0000000100000000"),
    ((1 << 64) - 1, "cfffffffffffffffff"),
    (-(1 << 63), "d38000000000000000"),
    (1.5, "cb3ff8000000000000"),
    ("", "a0"),
    ("ä", "a2c3a4"),
    (b"\x00", "c40100"),
    ([], "90"),
    ([1, [2]], "92019102"),
    ({}, "80"),
    ({"a": None}, "81a161c0"),
]


@pytest.mark.parametrize(("value", "encoded"), KNOWN, ids=[encoded for _, encoded in KNOWN])
def test_the_bytes_are_those_of_msgpack(value: object, encoded: str):
    assert values.encode(value).hex() == encoded
    assert values.decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65535, 65536])
def test_every_length_of_text_and_bytes_comes_back(size: int):
    for value in ("x" * size, b"x" * size):
        assert values.decode(values.encode(value)) == value


@pytest.mark.parametrize("size", [15, 16, 65535, 65536])
def test_every_length_of_list_and_map_comes_back(size: int):
    assert values.decode(values.encode([None] * size)) == [None] * size
    fields = {str(index): index for index in range(size)}
    assert values.decode(values.encode(fields)) == fields


def test_the_shorter_integers_of_other_programs_are_read():
    for encoded, value in {
        "cc80": 128, "cd0100": 256, "d0df": -33, "d1ff00": -256, "d2ffff0000": -65536,
    }.items():  # fmt: skip
        assert values.decode(bytes.fromhex(encoded)) == value


def test_tuples_and_buffers_arrive_as_lists_and_bytes():
    assert values.decode(values.encode((1, bytearray(b"a"), memoryview(b"b")))) == [1, b"a", b"b"]


def test_a_surrogate_and_a_nan_survive():
    assert values.decode(values.encode("\udc80")) == "\udc80"
    assert math.isnan(values.decode(values.encode(math.nan)))  # type: ignore[arg-type]


def test_a_view_is_decoded_like_bytes():
    assert values.decode_map(memoryview(values.encode({"op": "x"}))) == {"op": "x"}


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, {b"a": 1}, [set()], 1j], ids=lambda value: type(value).__name__
)
def test_what_cannot_be_sent_is_a_type_error(value: object):
    with pytest.raises(TypeError, match="cannot send"):
        values.encode(value)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1])
def test_a_larger_integer_is_refused(value: int):
    with pytest.raises(ValueError, match="64 bits"):
        values.encode(value)


def test_a_value_beyond_32_bits_of_length_is_refused():
    class Long(dict[str, int]):
        def __len__(self) -> int:
            return 1 << 32

    with pytest.raises(ValueError, match="too large"):
        values.encode(Long())


MALFORMED = {
    "nothing": "",
    "truncated integer": "ce0000",
    "truncated float": "cb00",
    "truncated length": "db0000",
    "text beyond the end": "a5616263",
    "bytes beyond the end": "c40500",
    "list beyond the end": "9201",
    "map without its last value": "82a161c0a162",
    "map beyond the end": "83a161c0",
    "text that is no UTF-8": "a1ff",
    "an unused code": "c1",
    "an extension": "d40000",
    "a key that is a number": "8101c0",
    "a key that is a list": "8190c0",
    "two values": "c0c0",
    "a huge list": "ddffffffff",
    "a huge map": "dfffffffff",
    "huge bytes": "c6ffffffff",
}


@pytest.mark.parametrize("encoded", MALFORMED.values(), ids=MALFORMED)
def test_malformed_input_is_a_value_error(encoded: str):
    with pytest.raises(ValueError):
        values.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize("encoded", ["c0", "90", "01"])
def test_a_control_message_is_a_map(encoded: str):
    with pytest.raises(ValueError, match="expected a map"):
        values.decode_map(bytes.fromhex(encoded))


def test_nesting_is_bounded_on_both_sides():
    value: object = None
    for _ in range(values.DEPTH_MAX):
        value = [value]
    assert values.decode(values.encode(value)) == value
    with pytest.raises(ValueError, match="deeper"):
        values.encode([value])
    for opening in (b"\x91", b"\x81\xa1a"):
        with pytest.raises(ValueError, match="deeper"):
            values.decode(opening * 100_000 + b"\xc0")


def test_a_short_message_cannot_become_many_objects():
    """An empty map is one byte on the wire and 64 in memory."""
    with pytest.raises(ValueError, match="more than"):
        values.decode(b"\xdd" + (1 << 21).to_bytes(4, "big") + b"\x80" * (1 << 21))


def test_an_error_does_not_quote_what_a_stranger_sent():
    with pytest.raises(ValueError) as refused:
        values.decode(b"\x81\xc5\xff\xff" + b"x" * 65535 + b"\xc0")
    assert len(str(refused.value)) < 100
