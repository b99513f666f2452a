"""Heads of requests and responses: what is taken, and what others might read otherwise."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, strategies as st

from volantd.gateway import limits
from volantd.gateway.heads import (
    CHUNKED,
    UNTIL_END,
    RefusedError,
    read_request,
    read_response,
)

HOST = b"Host: a.localhost\r\n"


def request(fields: bytes = b"", *, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + fields + b"\r\n"


def status_of(data: bytes) -> int:
    with pytest.raises(RefusedError) as refused:
        read_request(data)
    assert refused.value.text
    return refused.value.status


def test_a_head_is_taken_apart():
    head = read_request(request(b"Accept: */*\r\n", line=b"GET /a?b=1 HTTP/1.1") + b"rest")
    assert head is not None
    assert (head.method, head.target, head.host) == (b"GET", b"/a?b=1", b"a.localhost")
    assert (head.length, head.keep_alive, head.upgrade) == (0, True, b"")
    assert head.end == len(request(b"Accept: */*\r\n", line=b"GET /a?b=1 HTTP/1.1"))


def test_every_beginning_of_a_head_waits_for_the_rest():
    whole = b"\r\n" + request(b"Accept: */*\r\nContent-Length: 3\r\n")
    for size in range(len(whole)):
        assert read_request(whole[:size]) is None, whole[:size]
    assert read_request(whole) is not None


SMUGGLED = {
    "two different lengths": request(b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    "the same length twice": request(b"Content-Length: 5\r\nContent-Length: 5\r\n"),
    "a list of lengths": request(b"Content-Length: 5, 5\r\n"),
    "a signed length": request(b"Content-Length: +5\r\n"),
    "a negative length": request(b"Content-Length: -5\r\n"),
    "a length in hexadecimal": request(b"Content-Length: 0x5\r\n"),
    "a length with a space": request(b"Content-Length: 5 5\r\n"),
    "an empty length": request(b"Content-Length:\r\n"),
    "a length beyond all machines": request(b"Content-Length: 99999999999999999999\r\n"),
    "a length and chunks": request(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    "chunks and a length": request(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    "two encodings": request(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    "chunks of an old client": request(b"Transfer-Encoding: chunked\r\n", line=b"POST / HTTP/1.0"),
    "a folded line": request(b"A: b\r\n c\r\n"),
    "a line folded by a tab": request(b"A: b\r\n\tc\r\n"),
    "a folded encoding": request(b"Transfer-Encoding:\r\n chunked\r\n"),
    "a bare line feed": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare line feed between fields": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "a bare carriage return": request(b"A: b\rTransfer-Encoding: chunked\r\n"),
    "a carriage return too many": request(b"A: b\r\r\n"),
    "a space before the colon": request(b"Transfer-Encoding : chunked\r\n"),
    "a tab before the colon": request(b"Content-Length\t: 5\r\n"),
    "a space before the name": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "a field without a colon": request(b"nothing\r\n"),
    "a field without a name": request(b": value\r\n"),
    "a NUL in a value": request(b"A: b\0c\r\n"),
    "a NUL in a name": request(b"A\0: b\r\n"),
    "a NUL in the target": request(line=b"GET /\0 HTTP/1.1"),
    "a control character in a value": request(b"A: b\x0bc\r\n"),
    "a vertical tab before an encoding": request(b"Transfer-Encoding:\x0bchunked\r\n"),
    "a character of another alphabet in a name": request("Ä: b\r\n".encode()),
    "two hosts": request(b"Host: b.localhost\r\n"),
    "no host": request(host=b""),
    "an empty host": request(host=b"Host:\r\n"),
    "a host with a path": request(host=b"Host: a/b\r\n"),
    "a host with a user": request(host=b"Host: me@a\r\n"),
    "a host with a space": request(host=b"Host: a b\r\n"),
    "two ports": request(host=b"Host: a:1:2\r\n"),
    "an address of another host": request(line=b"GET http://b.localhost/ HTTP/1.1"),
    "an address with a user": request(line=b"GET http://me@a.localhost/ HTTP/1.1"),
    "an address of another protocol": request(line=b"GET ftp://a.localhost/ HTTP/1.1"),
    "a target without a slash": request(line=b"GET a HTTP/1.1"),
    "a fragment": request(line=b"GET /#a HTTP/1.1"),
    "a star for GET": request(line=b"GET * HTTP/1.1"),
    "a target with a space": request(line=b"GET /a b HTTP/1.1"),
    "two spaces": request(line=b"GET  / HTTP/1.1"),
    "a tab for a space": request(line=b"GET\t/ HTTP/1.1"),
    "no version": request(line=b"GET /"),
    "a version in lower case": request(line=b"GET / http/1.1"),
    "HTTP/1.2": request(line=b"GET / HTTP/1.2"),
    "a method with a colon": request(line=b"G:T / HTTP/1.1"),
    "no method": request(line=b" / HTTP/1.1"),
    "bytes that are no text": request(line=b"GET /\xff HTTP/1.1"),
    "a handshake of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two line ends ahead": b"\r\n\r\n" + request(),
    "two tokens": request(b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
    "many listed names": request(b"Connection: " + b"a," * 50 + b"\r\n"),
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED)
def test_what_could_be_read_in_two_ways_is_refused(data):
    assert status_of(data) == 400


OTHERS = {
    "an encoding that is not known": (501, request(b"Transfer-Encoding: gzip, chunked\r\n")),
    "an encoding in disguise": (501, request(b"Transfer-Encoding: xchunked\r\n")),
    "chunks that are not last": (501, request(b"Transfer-Encoding: chunked, identity\r\n")),
    "CONNECT": (501, request(line=b"CONNECT a.localhost:80 HTTP/1.1")),
    "TRACE": (501, request(line=b"TRACE / HTTP/1.1")),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": (505, b"GET / HTTP/0.9\r\n\r\n"),
    "an expectation": (417, request(b"Expect: the-worst\r\n")),
    "a long target": (414, request(line=b"GET /" + b"a" * limits.TARGET_BYTES_MAX + b" HTTP/1.1")),
    "a first line without an end": (414, b"GET /" + b"a" * 2 * limits.TARGET_BYTES_MAX),
    "a large head": (431, request(b"A: " + b"a" * limits.HEAD_BYTES_MAX + b"\r\n")),
    "a head without an end": (431, b"GET / HTTP/1.1\r\nA: " + b"a" * limits.HEAD_BYTES_MAX),
    "many fields": (431, request(b"A: b\r\n" * limits.FIELDS_MAX)),
}


@pytest.mark.parametrize(("status", "data"), OTHERS.values(), ids=OTHERS)
def test_what_is_too_much_or_not_known_has_its_own_status(status, data):
    assert status_of(data) == status


BROKEN_BEGINNINGS = {
    "a bare line feed": b"GET / HTTP/1.1\n",
    "a field with a space": b"GET / HTTP/1.1\r\nHost : a\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n",
    "a first line that is none": b"hello there\r\n",
    "no text": b"\x16\x03\x01",
}


@pytest.mark.parametrize("data", BROKEN_BEGINNINGS.values(), ids=BROKEN_BEGINNINGS)
def test_a_broken_head_is_refused_before_it_is_whole(data):
    assert status_of(data) == 400


def test_an_address_as_target_becomes_a_path():
    head = read_request(request(line=b"GET http://A.localhost?x=1 HTTP/1.1"))
    assert head is not None
    assert head.target == b"/?x=1"


def test_an_old_client_needs_no_host_and_is_not_kept():
    head = read_request(b"GET / HTTP/1.0\r\n\r\n")
    assert head is not None
    assert (head.host, head.keep_alive) == (b"", False)


def test_fields_for_one_connection_are_not_passed_on():
    fields = (
        b"Connection: close, X-Mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nTE: gzip\r\n"
        b"Proxy-Authorization: x\r\nProxy-Connection: y\r\nX-Other: 2\r\n"
    )
    head = read_request(request(fields))
    assert head is not None
    assert not head.keep_alive
    assert head.onward(b"/", b"") == request(b"X-Other: 2\r\n")


@pytest.mark.parametrize("te", [b"trailers", b"gzip;q=0.5 , Trailers"])
def test_of_what_a_client_takes_fields_behind_the_body_are_told(te):
    head = read_request(request(b"Connection: TE\r\nTE: " + te + b"\r\n"))
    assert head is not None
    assert head.onward(b"/", b"") == request(b"Connection: TE\r\nTE: trailers\r\n")
    old = read_request(b"GET / HTTP/1.0\r\n" + HOST + b"TE: trailers\r\n\r\n")
    assert old is not None
    assert old.onward(b"/", b"") == request(b"")


def test_what_a_client_says_of_its_origin_is_not_passed_on():
    fields = (
        b"X-Forwarded-For: 1.2.3.4\r\nx-forwarded-proto: https\r\nX_Forwarded_Host: evil\r\n"
        b"Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Prefix: /x\r\nAccept: a\r\n"
    )
    head = read_request(request(fields))
    assert head is not None
    onward = head.onward(b"/p", b"X-Forwarded-For: me\r\n")
    assert onward == b"GET /p HTTP/1.1\r\n" + HOST + b"Accept: a\r\nX-Forwarded-For: me\r\n\r\n"


def test_a_listed_name_cannot_take_away_how_a_body_ends_or_who_is_asked():
    head = read_request(
        request(b"Content-Length: 2\r\nConnection: Content-Length, Host, X-Forwarded-For\r\n")
    )
    assert head is not None
    onward = head.onward(b"/", b"X-Forwarded-For: me\r\n")
    assert onward == request(b"Content-Length: 2\r\nX-Forwarded-For: me\r\n")


def test_a_change_of_protocol_is_passed_on_but_not_to_http2():
    head = read_request(request(b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"))
    assert head is not None
    assert head.onward(b"/", b"") == request(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    head = read_request(request(fields))
    assert head is not None
    assert (head.upgrade, head.onward(b"/", b"")) == (b"", request())


@given(st.binary(max_size=300))
@example(b"\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r")
def test_any_bytes_are_a_head_or_the_beginning_of_one_or_refused(data):
    with contextlib.suppress(RefusedError):
        head = read_request(data)
        assert head is None or b"\r\n\r\n" in data[: head.end]


PIECES = st.sampled_from([
    b"GET", b"POST", b" ", b"/", b"*", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b":", b"\t",
    b"Host", b"a.localhost", b"Content-Length", b"5", b"Transfer-Encoding", b"chunked", b"\0", b",",
    b"Connection", b"close", b"\xff", b"http://", b"#", b"\r\n\r\n",
])  # fmt: skip


@given(st.lists(PIECES, max_size=40))
def test_what_is_passed_on_reads_the_same_again(pieces):
    """Whatever gets through is a head in its plainest form: the server behind cannot differ."""
    try:
        head = read_request(b"".join(pieces))
    except RefusedError:
        return
    if head is None:
        return
    onward = head.onward(head.target, b"X-Forwarded-For: me\r\n")
    host = b"" if head.host else b"Host: a\r\n"
    again = read_request(onward.replace(b"\r\n", b"\r\n" + host, 1))
    assert again is not None
    assert (again.method, again.target, again.length) == (head.method, head.target, head.length)
    assert again.end == len(onward) + len(host)
    assert b"\n" not in onward.replace(b"\r\n", b"")


def response(fields: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


@pytest.mark.parametrize(
    ("data", "method", "length", "keeps"),
    [
        (response(b"content-length: 5\r\n"), b"GET", 5, True),
        (response(b"content-length: 5\r\ncontent-length: 5\r\n"), b"GET", 5, True),
        (response(b"content-length: 5\r\n"), b"HEAD", 0, True),
        (response(b"transfer-encoding: chunked\r\n"), b"GET", CHUNKED, True),
        (response(b"transfer-encoding: chunked\r\ncontent-length: 5\r\n"), b"GET", CHUNKED, True),
        (response(), b"GET", UNTIL_END, False),
        (response(b"content-length: 5\r\nconnection: close\r\n"), b"GET", 5, False),
        (response(line=b"HTTP/1.1 204 No Content"), b"GET", 0, True),
        (response(b"content-length: 5\r\n", b"HTTP/1.1 204 No"), b"GET", 0, True),
        (response(b"content-length: 5\r\n", b"HTTP/1.1 304 Not Modified"), b"GET", 0, True),
        (response(b"content-length: 5\r\n", b"HTTP/1.0 200 OK"), b"GET", 5, False),
        (response(line=b"HTTP/1.1 100 Continue"), b"POST", 0, True),
        (response(b"content-length: 0\r\n", b"HTTP/1.1 200"), b"GET", 0, True),
    ],
)
def test_how_a_response_ends(data, method, length, keeps):
    head = read_response(data, method)
    assert head is not None
    assert (head.length, head.keep_alive) == (length, keeps)
    assert head.raw.startswith(b"HTTP/1.1 ")
    assert b"connection" not in head.raw.lower()


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        response(b"content-length: 5\r\ncontent-length: 6\r\n"),
        response(b"content-length: x\r\n"),
        response(b"transfer-encoding: gzip\r\n"),
        response(b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        response(b"a: b\r\n c\r\n"),
        response(b"a: b\nc: d\r\n"),
        response(line=b"HTTP/2 200"),
        b"HTTP/1.1 200 OK\r\na: " + b"a" * limits.RESPONSE_HEAD_BYTES_MAX,
    ],
)
def test_a_response_that_could_be_read_in_two_ways_is_refused(data):
    with pytest.raises(RefusedError) as refused:
        read_response(data, b"GET")
    assert refused.value.status == 502


def test_a_response_without_a_body_says_nothing_of_one():
    head = read_response(response(b"content-length: 5\r\na: b\r\n", b"HTTP/1.1 204 No"), b"GET")
    assert head is not None
    assert head.raw == b"HTTP/1.1 204 No\r\na: b\r\n"
