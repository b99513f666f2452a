"""Bodies in chunks: where they end, however they arrive, and which are refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from volantd.gateway import limits
from volantd.gateway.bodies.chunks import Chunks
from volantd.gateway.heads import RefusedError

WHOLE = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_a_body_ends_behind_its_trailers():
    chunks, into = Chunks(of_request=True), []
    assert chunks.feed(WHOLE + b"GET /", into) == len(WHOLE)
    assert chunks.is_done
    assert (b"".join(into), chunks.size) == (b"hello world", 11)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_it_does_not_matter_in_which_pieces_a_body_comes(cuts):
    chunks, into = Chunks(of_request=True), []
    marks = sorted({0, len(WHOLE), *cuts})
    for start, end in pairwise(marks):
        assert not chunks.is_done
        assert chunks.feed(WHOLE[start:end], into) == end - start
    assert chunks.is_done
    assert b"".join(into) == b"hello world"


BROKEN = {
    "no size": b"\r\nhello\r\n",
    "a size that is no number": b"g\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n",
    "a signed size": b"+5\r\nhello\r\n",
    "a negative size": b"-1\r\n",
    "a size with a space ahead": b" 5\r\nhello\r\n",
    "a size with a space behind": b"5 \r\nhello\r\n",
    "a size beyond all machines": b"fffffffffffffffff\r\n",
    "a bare line feed": b"5\nhello\r\n",
    "a bare carriage return": b"5\rhello\r\n",
    "a chunk that goes on": b"5\r\nhelloo\r\n",
    "a chunk with a bare line feed": b"5\r\nhello\n0\r\n\r\n",
    "a line feed in an extension": b"5;a\nb\r\nhello\r\n",
    "a NUL in an extension": b"5;a\0\r\nhello\r\n",
    "a long extension": b"5;" + b"a" * limits.CHUNK_LINE_BYTES_MAX,
    "many zeros": b"0" * 100 + b"5\r\nhello\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a trailer with a space": b"0\r\nA : b\r\n\r\n",
    "a length behind the body": b"0\r\nContent-Length: 5\r\n\r\n",
    "an encoding behind the body": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an origin behind the body": b"0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "a host behind the body": b"0\r\nhost: a\r\n\r\n",
    "a key behind the body": b"0\r\nAuthorization: x\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_framing_that_could_be_read_in_two_ways_is_refused(data):
    with pytest.raises(RefusedError):
        Chunks(of_request=True).feed(data)
    one_by_one = Chunks(of_request=True)
    with pytest.raises(RefusedError):  # before the last byte of it is passed on
        [one_by_one.feed(data[at : at + 1]) for at in range(len(data))]


def test_trailers_are_bounded():
    with pytest.raises(RefusedError) as refused:
        Chunks(of_request=True).feed(b"0\r\nA: " + b"a" * limits.TRAILER_BYTES_MAX + b"\r\n\r\n")
    assert refused.value.status == 431


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_read_the_same_in_any_pieces(data, cuts):
    assert _outcome(data, []) == _outcome(data, cuts)


def _outcome(data: bytes, cuts: list[int]) -> object:
    chunks, taken = Chunks(of_request=True), 0
    marks = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(marks):
        try:
            taken += chunks.feed(data[start:end])
        except RefusedError:
            return "refused"
        if chunks.is_done:
            break
    return taken, chunks.is_done


def test_data_of_a_chunk_can_pass_by_another_way():
    chunks = Chunks(of_request=False)
    chunks.feed(b"a\r\n012")
    assert chunks.left == 7
    chunks.skip(6)
    assert chunks.left == 1
    chunks.skip(1)
    assert chunks.left == 0
    assert chunks.feed(b"\r\n0\r\n\r\n") == 7
    assert chunks.is_done
