"""HTTP/2 without a connection: heads in the other form, sizes of frames, budgets."""

from __future__ import annotations

import pytest
from h2.exceptions import FrameTooLargeError
from hypothesis import given, strategies as st

from volantd.gateway.heads import RefusedError, read_request, read_response
from volantd.gateway.multiplex.answer import AnswerReader
from volantd.gateway.multiplex.budget import Budget
from volantd.gateway.multiplex.framing import FRAME_BYTES_MAX, FrameGate
from volantd.gateway.multiplex.translation import (
    answer_fields,
    fields_of,
    request_lines,
    trailer_lines,
)

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/x")]
#: Every kind of character, those that end lines and names most of all.
BYTES = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b":", b" ", b"a", b"/", b"\xff", b"\t"]))
ANY = BYTES.map(b"".join)


# -- heads


@pytest.mark.parametrize(
    ("fields", "has_body", "lines", "chunked"),
    [
        (GET, False, b"GET /x HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n", False),
        (
            [*GET, (b"cookie", b"a=1"), (b"te", b"trailers"), (b"b", b"2"), (b"cookie", b"c=3")],
            True,
            b"GET /x HTTP/1.1\r\nhost: a\r\nb: 2\r\ncookie: a=1; c=3\r\n"
            b"transfer-encoding: chunked\r\nte: trailers\r\n\r\n",
            True,
        ),
        (
            [*GET, (b"content-length", b"3"), (b"host", b"a")],
            True,
            b"GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nte: trailers\r\n\r\n",
            False,
        ),
    ],
)
def test_requests_in_the_older_form(fields, has_body, lines, chunked):
    assert request_lines(fields, has_body=has_body) == (lines, chunked)


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, (b"a", b"1\r\nb: 2")],
        [*GET, (b"a: 1\r\nb", b"2")],
        [*GET, (b"", b"2")],
        [*GET, (b"host", b"other")],
        [*GET[:3], (b":path", b"/x HTTP/1.1\r\na: b")],
        [*GET[:3], (b":path", b"http://other/")],
        [*GET[:3], (b":path", b"")],
        [(b":method", b"GET /a HTTP/1.1\r\n"), *GET[1:]],
        [*GET[:2], (b":authority", b"a\r\nb: c"), GET[3]],
        [*GET[:2], GET[3]],
        [(b":method", b"CONNECT"), GET[2]],
    ],
)
def test_requests_that_cannot_be(fields):
    with pytest.raises(RefusedError):
        request_lines(fields, has_body=False)


@given(ANY, ANY, ANY, ANY, ANY, st.booleans())
def test_what_becomes_of_any_request_is_one_head(method, authority, path, name, value, has_body):
    """Whatever the fields hold, there is one head with one line for each, or none."""
    fields = [
        (b":method", b"G" + method), (b":authority", b"a" + authority),
        (b":path", b"/" + path), (b"x" + name, value),
    ]  # fmt: skip
    try:
        lines, chunked = request_lines(fields, has_body=has_body)
    except RefusedError:
        return
    assert lines.count(b"\r\n") == 5 + chunked
    assert lines.index(b"\r\n\r\n") == len(lines) - 4
    try:
        head = read_request(lines)
    except RefusedError:
        return  # an authority may still be no host
    assert head is not None
    assert head.end == len(lines)
    assert (head.method, head.target, head.host) == (b"G" + method, b"/" + path, b"a" + authority)


def test_responses_in_the_newer_form():
    head = read_response(
        b"HTTP/1.1 200 OK\r\nX-Mine:  A b \r\nConnection: close\r\nKeep-Alive: 5\r\n"
        b"Transfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
        b"GET",
    )
    assert head is not None
    assert answer_fields(head) == [
        (b":status", b"200"), (b"x-mine", b"A b"), (b"set-cookie", b"a"), (b"set-cookie", b"b"),
    ]  # fmt: skip


def test_fields_behind_a_body():
    assert trailer_lines([(b"a", b"1"), (b"b", b"")]) == b"a: 1\r\nb: \r\n"
    assert fields_of(b"A: 1\r\nb:2\r\n\r\n") == [(b"a", b"1"), (b"b", b"2")]
    with pytest.raises(RefusedError):
        trailer_lines([(b"a", b"1\r\n0")])


# -- responses


class Taker:
    """Notes the parts of a response."""

    def __init__(self) -> None:
        self.body = b""
        self.heads: list[object] = []
        self.ends: list[object] = []

    def on_head(self, fields, *, is_last, is_interim):
        self.heads.append((dict(fields)[b":status"], is_last, is_interim))

    def on_body(self, data):
        self.body += data

    def on_end(self, trailers):
        self.ends.append(trailers)


RESPONSES = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": (
        [(b"200", False, False)], b"hello", [[]],
    ),
    b"HTTP/1.1 304 Not Modified\r\n\r\n": ([(b"304", True, False)], b"", []),
    b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: 1\r\n\r\n": (
        [(b"103", False, True), (b"200", False, False)], b"hello", [[(b"a", b"1")]],
    ),
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello": (
        [(b"200", False, False)], b"hello", [[]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("raw", RESPONSES)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_responses_are_taken_apart_however_they_come(raw, step):
    taker = Taker()
    reader = AnswerReader(taker, b"GET")
    for at in range(0, len(raw), step):
        reader.feed(raw[at : at + step])
    assert reader.eof()
    assert (taker.heads, taker.body, taker.ends) == RESPONSES[raw]


def test_an_end_in_the_middle_is_none():
    reader = AnswerReader(Taker(), b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")
    assert not reader.eof()


# -- frames


def frame(kind: int, length: int, flags: int = 0) -> bytes:
    return length.to_bytes(3, "big") + bytes((kind, flags)) + bytes(4 + length)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 300), st.sampled_from([0, 1, 8, 9]))),
    st.integers(1, 400),
)
def test_frames_cost_what_they_are_unless_they_are_bodies(frames, step):
    data = b"P" * 24 + b"".join(frame(*one) for one in frames)
    expected = sum(9 + length for kind, length, flags in frames if kind or flags & 8 or not length)
    gate = FrameGate(24)
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert sum(map(gate.feed, pieces)) == expected


def test_a_frame_may_have_what_was_agreed_on_and_no_more():
    gate = FrameGate(0)
    assert gate.feed(frame(0, FRAME_BYTES_MAX) + frame(6, 8)) == 17
    with pytest.raises(FrameTooLargeError):
        gate.feed(frame(1, FRAME_BYTES_MAX + 1)[:9])


# -- budgets


def test_a_budget_is_spent_and_comes_back_with_time():
    budget = Budget(10, 2, 100)
    assert budget.spend(10, 100)
    assert not budget.spend(1, 100)
    assert budget.spend(3, 102)
    assert not budget.spend(11, 1000), "no more than all of it comes back"
    budget.spend(-100, 1000)
    assert budget.spend(10, 1000)
    assert not budget.spend(1, 1000)
