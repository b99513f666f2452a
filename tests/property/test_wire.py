"""The byte format against anything: round trips, arbitrary pieces, and arbitrary bytes."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import example, given, strategies as st

from volant.errors import Error, InputCancellation, InternalError
from volant.wire import faults, frames, values
from volant.wire.frames import FrameReader

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=40)
    | st.binary(max_size=40)
)
messages = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=20)
    ),
    max_leaves=40,
)
items = st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=60)), max_size=40)
wire_frames = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300)), max_size=12
)


@given(messages)
def test_a_value_comes_back_as_it_was(value: object):
    assert values.decode(values.encode(value)) == value


@given(st.binary(max_size=200))
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\x91" * 200)
@example(b"\xa1\xff")
def test_any_bytes_are_a_value_or_a_value_error(data: bytes):
    try:
        value = values.decode(data)
    except ValueError:
        return
    again = values.decode(values.encode(value))
    assert again == value or repr(again) == repr(value), "a NaN is not equal to itself"


@given(messages, st.data())
def test_a_damaged_value_is_a_value_or_a_value_error(value: object, data: st.DataObject):
    encoded = bytearray(values.encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    del encoded[data.draw(st.integers(0, len(encoded))) :]
    with suppress(ValueError):
        values.decode(bytes(encoded))


@given(items)
def test_items_come_out_as_they_went_in(pairs: list[tuple[int, bytes]]):
    section = frames.items_section(pairs)
    assert frames.split_items(section, len(pairs)) == pairs
    frames.check_items(section, len(pairs))


@given(st.binary(max_size=80), st.integers(0, 20))
def test_a_section_is_checked_by_the_rule_that_cuts_it(section: bytes, count: int):
    verdicts = []
    for check in (frames.split_items, frames.check_items):
        try:
            check(section, count)
            verdicts.append(True)
        except ValueError:
            verdicts.append(False)
    assert verdicts[0] == verdicts[1]


@given(wire_frames, st.lists(st.integers(1, 400), max_size=30))
def test_frames_do_not_depend_on_the_pieces_they_come_in(
    sent: list[tuple[int, int, bytes]], sizes: list[int]
):
    stream = b"".join(
        frames.HEADER.pack(len(body), kind, flags) + body for kind, flags, body in sent
    )
    reader, received, at = FrameReader(), [], 0
    for size in [*sizes, len(stream)]:
        received += reader.feed(stream[at : at + size])
        at += size
    assert received == sent


@given(st.sampled_from([0, 1, 5]), st.integers(0, 3), st.lists(st.integers(1, 1 << 20), max_size=5))
def test_long_frames_do_not_depend_on_their_pieces_either(
    before: int, extra: int, sizes: list[int]
):
    lead = frames.control(frames.REPLY, b"z" * before)
    body = bytes(frames.READ_BYTES + extra)
    stream = lead + frames.control(frames.EVENT, body) + lead
    reader, received, at = FrameReader(), [], 0
    for size in [*sizes, len(stream)]:
        received += reader.feed(stream[at : at + size])
        at += size
    assert [len(body) for _, _, body in received] == [before, len(body), before]


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_any_stream_is_frames_or_a_value_error(pieces: list[bytes]):
    reader = FrameReader()
    for piece in pieces:
        try:
            received = reader.feed(piece)
        except ValueError:
            return
        assert all(len(body) <= frames.FRAME_BYTES_MAX for _, _, body in received)


def _fault() -> bytes:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        error.add_note("a note")
        return faults.encode_fault(error, where="ta-1")


def _mutated(fields: dict[str, object], data: st.DataObject) -> dict[str, object]:
    """A fault's map with some of its fields replaced by anything."""
    names = data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3))
    anything = messages | st.just([["f", math.inf, "n", "s"]]) | st.just([["f", 1 << 63, "n", ""]])
    return {**fields, **{name: data.draw(anything) for name in names}}


def _decodes_or_is_refused(encoded: bytes) -> None:
    try:
        decoded = faults.decode_fault(encoded)
    except InternalError:
        return
    assert isinstance(decoded, BaseException)


@given(st.data())
def test_a_fault_with_arbitrary_fields_is_an_exception_or_an_internal_error(data: st.DataObject):
    fields = values.decode_map(_fault())
    fields["pickle"] = None  # its bytes run as code where they are opened: not for this test
    fields["cause"] = None
    _decodes_or_is_refused(values.encode(_mutated(fields, data)))


@given(st.data())
def test_a_fault_of_ours_with_arbitrary_fields_is_an_error_of_ours(data: st.DataObject):
    fields = values.decode_map(faults.platform_fault("NotFoundError", "gone", "look"))
    encoded = values.encode(_mutated(dict(fields), data))
    with suppress(InternalError):
        assert isinstance(faults.decode_fault(encoded), (Error, InputCancellation))


@pytest.mark.parametrize(
    "name", ["TYPE_CHECKING", "builtins", "__getattr__", "__name__", "ServerWarning"]
)
def test_a_fault_cannot_name_something_that_is_no_error(name: str):
    with pytest.raises(InternalError):
        faults.decode_fault(faults.platform_fault(name, "x"))
