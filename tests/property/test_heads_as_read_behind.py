"""What the gateway passes on, the server in the container reads just as the gateway has read it.

h11 is a reader of HTTP that is not ours: what it makes of the bytes that go to a container is held
against what the gateway took them for. A difference would be a request that hides in another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h11
from hypothesis import event, given, settings, strategies as st

from volantd.gateway.bodies.chunks import Chunks
from volantd.gateway.heads import CHUNKED, RefusedError, read_request

if TYPE_CHECKING:
    from volantd.gateway.heads import RequestHead

ADDED = b"X-Forwarded-For: 127.0.0.1\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"
#: Fields that decide where a message ends, in spellings that readers have understood differently.
NAMES = st.sampled_from([
    b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host",
    b"Content_Length", b"Transfer_Encoding", b"Connection", b"Expect", b"Upgrade", b"TE", b"X-A",
    b"Content-Length ", b" Transfer-Encoding", b"Transfer-Encoding\t", b"X-Forwarded-For", b"",
])  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([
        b"0", b"5", b"05", b"+5", b"-1", b"5, 5", b"5,6", b"0x5", b"5 ", b"chunked", b"Chunked",
        b"chunked, identity", b"identity", b"x\r\n y", b"close", b"keep-alive, x-a", b"\x0bchunked",
        b"content-length", b"transfer-encoding", b"upgrade", b"websocket", b"h2c", b"100-continue",
        b"a.localhost", b"a:80", b"", b"\xa0chunked", b"5\r", b"chunked\n", b"a\0b",
    ]),
    st.binary(max_size=6),
)  # fmt: skip
SPACES = st.sampled_from([b" ", b"", b"\t", b"  "])
ENDS = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b"\r\r\n", b"\r\n\r\n"])
ODD = st.builds(lambda *parts: b"".join(parts), NAMES, st.just(b":"), SPACES, VALUES, ENDS)
#: Most are in order, or hardly a head would be passed on.
FIELDS = st.one_of(ODD, st.sampled_from([
    b"X-A: b\r\n", b"x-b:\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, X-A\r\n", b"Connection: content-length\r\n", b"X_Forwarded-For: x\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Forwarded: for=x\r\n", b"TE: trailers\r\n",
    b"Content_Length: 7\r\n", b"Keep-Alive: 5\r\n",
]))  # fmt: skip
LINES = st.builds(
    lambda *parts: b" ".join(parts),
    st.sampled_from([b"GET", b"POST"] * 5 + [b"OPTIONS", b"get", b"P!", b"CONNECT", b""]),
    st.sampled_from(
        [*[b"/", b"/a?b=c%20"] * 5, b"*", b"http://a/b", b"//a", b"/\x80", b"/a b", b"a:80"]
    ),
    st.sampled_from([b"HTTP/1.1"] * 20 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1", b"HTTP/01.1"]),
)
HOSTS = st.sampled_from([b"Host: a\r\n"] * 9 + [b""])
HEADS = st.builds(
    lambda line, host, fields: line + b"\r\n" + host + b"".join(fields) + b"\r\n",
    LINES, HOSTS, st.lists(FIELDS, max_size=4),
)  # fmt: skip
BODIES = st.sampled_from([
    b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nX-A: b\r\n\r\n",
    b"5\nhello\n0\n\n", b"5\r\nhello0\r\n\r\n", b"0\r\nContent-Length: 9\r\n\r\n", b"",
    b"00000005\r\nhello\r\n000\r\n\r\n", b"ffffffffffffffff\r\n", b"-5\r\nhello", b"5 \r\nhello",
])  # fmt: skip


def passed_on(data: bytes) -> tuple[RequestHead, bytes, int] | None:
    """The head as it was read, the bytes that go to a container, and the size of the body.

    None: the request is refused, or has not all come.
    """
    try:
        head = read_request(data)
        if head is None:
            return None
        rest = data[head.end :]
        size = head.length
        if head.length == CHUNKED:
            chunks = Chunks(of_request=True)
            rest, size = rest[: chunks.feed(rest)], chunks.size
            if not chunks.is_done:
                return None
        elif len(rest) < head.length:
            return None
        else:
            rest = rest[: head.length]
    except RefusedError:
        return None
    return head, head.onward(head.target, ADDED) + rest, size


def read_behind(data: bytes) -> tuple[h11.Request, int, bytes]:
    """The request as h11 reads it, the size of its body, and what is behind it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request, size = connection.next_event(), 0
    assert isinstance(request, h11.Request), request
    while isinstance(piece := connection.next_event(), h11.Data):
        size += len(piece.data)
    assert isinstance(piece, h11.EndOfMessage), piece
    return request, size, connection.trailing_data[0]


@settings(max_examples=2000)
@given(HEADS, BODIES)
def test_both_read_the_same_request(head_bytes: bytes, body: bytes) -> None:
    found = passed_on(head_bytes + body + BEHIND)
    event("refused" if found is None else "passed on")
    if found is None:
        return
    head, onward, size = found
    if head.minor == b"0" and not head.host:
        return  # h11 asks for a host, which an old client need not name
    request, read_size, behind = read_behind(onward)
    assert (request.method, request.target) == (head.method, head.target)
    assert (read_size, behind) == (size, b"")
    names = {name for name, _ in request.headers}
    assert not names & {b"content_length", b"transfer_encoding"}
    own = dict(request.headers)
    assert own[b"x-forwarded-for"] == b"127.0.0.1"
    assert own[b"host"] == head.host
    assert own.get(b"content-length") == head.notable.get(b"content-length")
    assert (b"transfer-encoding" in own) == (head.length == CHUNKED)


@given(HEADS)
def test_no_field_is_made_of_what_was_none(head_bytes: bytes) -> None:
    """Each line that h11 reads is a line of the client's, or one of ours."""
    found = passed_on(head_bytes + BEHIND)
    if found is None or not found[0].host:
        return
    head, onward, _ = found
    request, _, _ = read_behind(onward)
    lines = {
        (name.lower(), value.strip(b" \t"))
        for name, value in re.findall(rb"([^:\r\n]+):([^\r\n]*)\r\n", head.fields + ADDED)
    }
    ours = {(b"connection", b"Upgrade"), (b"upgrade", head.upgrade)}
    if head.takes_trailers:
        ours = {(b"connection", b"TE"), (b"te", b"trailers")}
    assert {(name, value) for name, value in request.headers} <= lines | ours
