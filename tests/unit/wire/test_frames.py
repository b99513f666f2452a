"""Frames: their layout, items sections, and announced sizes that are not to be believed."""

from __future__ import annotations

import socket

import pytest

from volant.wire import frames
from volant.wire.frames import FrameReader
from volant.wire.stream import FrameStream


def test_a_hot_frame_has_the_documented_layout():
    section = frames.items_section([(frames.PICKLE, b"ab")])
    frame = frames.hot(frames.SUBMIT, frames.OPEN | frames.LAST, 7, 3, 1, 9, section)
    assert frame.hex() == (
        "18000000" "10" "06" "0700000000000000" "03000000" "0100" "09000000" "02000000" "6162"
    )  # fmt: skip
    [(kind, flags, body)] = FrameReader().feed(frame)
    assert (kind, flags) == (frames.SUBMIT, frames.OPEN | frames.LAST)
    assert frames.HOT.unpack_from(body) == (7, 3, 1, 9)
    assert body[frames.HOT.size :] == section


def test_a_control_frame_is_a_header_and_its_body():
    assert FrameReader().feed(frames.control(frames.EVENT, b"\x80")) == [(frames.EVENT, 0, b"\x80")]


def test_items_keep_their_kinds():
    items = [(frames.FAULT, b"boom"), (frames.PICKLE, b""), (15, b"x" * 1000)]
    section = frames.items_section(items)
    assert frames.split_items(section, len(items)) == items
    frames.check_items(section, len(items))


def test_an_empty_section_has_no_items():
    assert frames.split_items(b"", 0) == []
    frames.check_items(b"", 0)


@pytest.mark.parametrize(
    ("section", "count"),
    [
        (b"", 1),
        (b"\x00\x00\x00", 1),
        (b"\x05\x00\x00\x00abc", 1),
        (b"\x01\x00\x00\x00abc", 1),
        (b"abc", 0),
        (b"\xff\xff\xff\xffabc", 1),
        (b"\x03\x00\x00\x10abcd", 1),
    ],
)
def test_heads_that_do_not_fit_their_section_are_refused(section: bytes, count: int):
    for cut in (frames.split_items, frames.check_items):
        with pytest.raises(ValueError, match="heads"):
            cut(section, count)


def test_too_many_items_or_bytes_for_one_frame_are_refused():
    with pytest.raises(ValueError, match="at most 4096"):
        frames.items_section([(frames.PICKLE, b"")] * (frames.BATCH_COUNT_MAX + 1))
    piece = bytes(frames.FRAME_BYTES_MAX // 4)
    with pytest.raises(ValueError, match="at most"):
        frames.items_section([(frames.PICKLE, piece)] * 5)


def test_a_frame_that_announces_too_much_is_refused_before_it_is_there():
    reader = FrameReader()
    announced = frames.HEADER.pack(frames.FRAME_BYTES_MAX + 1, frames.EVENT, 0)
    with pytest.raises(ValueError, match="at most"):
        reader.feed(announced)


def test_a_bad_frame_behind_good_ones_is_found():
    reader = FrameReader()
    good = frames.control(frames.EVENT, b"\x80")
    with pytest.raises(ValueError, match="at most"):
        reader.feed(good + b"\xff\xff\xff\xff\x01\x00")


def test_a_long_frame_is_put_together_once_and_what_follows_is_kept():
    reader = FrameReader()
    long = frames.control(frames.EVENT, b"x" * (frames.READ_BYTES * 3))
    after = frames.control(frames.REPLY, b"y")
    stream = long + after + after[:3]
    received = []
    for at in range(0, len(stream), 100_000):
        received += reader.feed(stream[at : at + 100_000])
    received += reader.feed(after[3:])
    assert [(kind, len(body)) for kind, _, body in received] == [
        (frames.EVENT, frames.READ_BYTES * 3),
        (frames.REPLY, 1),
        (frames.REPLY, 1),
    ]


def test_a_peer_that_goes_without_having_read_all_has_ended_the_stream():
    ours, theirs = socket.socketpair()
    stream = FrameStream(ours)
    stream.send(frames.control(frames.EVENT, b"nobody reads this"))
    theirs.close()
    assert stream.receive() is None
    assert stream.receive_nowait() is None
    ours.close()
