"""What a sandbox sends is taken apart without surprises, whatever it is."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import example, given, strategies as st

from volantd.egress import names
from volantd.egress.hello import NotTLSError, server_name
from volantd.egress.policy import plain_name

NAMES = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,3}\.[a-z]{2,6}", fullmatch=True)


def greeting(name: str | None) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


GREETING = greeting("good.test")


def in_records(data: bytes, size: int) -> bytes:
    """The same greeting in records of a size."""
    message = data[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(one).to_bytes(2, "big") + one for one in pieces)


@given(name=NAMES)
def test_the_name_that_a_client_greets_is_found(name: str) -> None:
    assert server_name(greeting(name)) == name


def test_who_greets_nobody_is_told_apart() -> None:
    with pytest.raises(NotTLSError):
        server_name(greeting(None))


@given(cut=st.integers(0, len(GREETING) - 1))
def test_a_greeting_that_goes_on_has_no_name_yet(cut: int) -> None:
    assert server_name(GREETING[:cut]) is None


@given(size=st.integers(1, 600))
def test_a_greeting_in_several_records_is_the_same(size: int) -> None:
    assert server_name(in_records(GREETING, size)) == "good.test"


@given(at=st.integers(0, len(GREETING) - 1), value=st.integers(0, 255))
def test_a_damaged_greeting_has_no_other_name_than_it_says(at: int, value: int) -> None:
    damaged = GREETING[:at] + bytes([value]) + GREETING[at + 1 :]
    try:
        name = server_name(damaged)
    except NotTLSError:
        return
    assert name is None or name.encode() in damaged.lower()


@given(data=st.binary(max_size=600))
@example(b"\x16\x03\x01\x00\x00")
@example(b"\x16\x03\x01\xff\xff\x01\xff\xff\xff")
def test_any_bytes_are_a_greeting_or_not(data: bytes) -> None:
    for given_data in (data, b"\x16\x03\x01" + data, in_records(b"12345\1\0" + data, 200)):
        with contextlib.suppress(NotTLSError):
            name = server_name(given_data)
            assert name is None or plain_name(name) == name


def question(name: str, kind: int) -> bytes:
    """A question as resolvers ask it."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    end = b"\0" + kind.to_bytes(2, "big") + b"\0\1"
    return b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + end


@given(name=NAMES, kind=st.sampled_from([names.A, names.AAAA, 15, 255]))
def test_questions_are_read_as_they_were_asked(name: str, kind: int) -> None:
    read = names.read(question(name, kind))
    assert read is not None
    assert (read.name, read.kind) == (name, kind)
    answer = names.answer(read, names.NO_ERROR, [names.STAND_IN])
    assert answer[:2] == b"\x12\x34"
    assert answer[7] == (1 if kind == names.A else 0)


@given(data=st.binary(max_size=600), count=st.integers(0, 3))
def test_any_bytes_are_a_question_or_not(data: bytes, count: int) -> None:
    head = b"\x12\x34\1\0\0" + bytes([count]) + b"\0\0\0\0\0\0"
    for one in (data, head + data):
        read = names.read(one)
        if read is not None:
            assert len(names.answer(read, names.REFUSED)) <= names.QUESTION_BYTES_MAX
            assert read.name is None or plain_name(read.name) == read.name
