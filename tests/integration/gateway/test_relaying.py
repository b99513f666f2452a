"""What goes through the gateway, and how: heads, bodies, streams, changes of protocol, ends."""

from __future__ import annotations

import select
import socket

import pytest

from tests.integration.gateway.stage import HOST

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def test_a_request_and_its_response_pass(stage):
    client = stage.client()
    client.get(b"/a?b=1", b"X-Mine: 1\r\n")
    server = stage.server.accept()
    head = server.head()
    assert head.startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: app-f.localhost\r\nX-Mine: 1\r\n")
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
    assert b"X-Forwarded-Proto: http\r\n" in head
    assert b"X-Forwarded-Host: app-f.localhost\r\n" in head
    response = b"HTTP/1.1 200 Fine\r\nServer: mine\r\ncontent-length: 2\r\n\r\nok"
    server.send(response)
    assert client.exactly(len(response)) == response


def test_connections_on_both_sides_are_used_again(stage):
    client, server = stage.pair()
    server.send(OK)
    assert client.answer()[2] == b"ok"
    client.get(b"/again")
    assert server.head().startswith(b"GET /again ")
    server.send(OK)
    assert client.answer()[2] == b"ok"
    assert stage.granted == 1


def test_requests_that_come_together_are_answered_in_order(stage):
    client = stage.client()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\n%b\r\n" % (at, HOST) for at in range(20)))
    server = stage.server.accept()
    for at in range(20):
        assert server.head().startswith(b"GET /%d " % at)
        server.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n%02d" % at)
    assert [client.answer()[2] for _ in range(20)] == [b"%02d" % at for at in range(20)]


def test_a_body_of_known_length_streams(stage):
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n01234")
    server = stage.server.accept()
    assert b"Content-Length: 10\r\n" in server.head()
    assert server.exactly(5) == b"01234"
    client.send(b"56789GET /next HTTP/1.1\r\n" + HOST + b"\r\n")
    assert server.exactly(5) == b"56789"
    server.send(OK)
    assert client.answer()[2] == b"ok"
    assert server.head().startswith(b"GET /next ")


def test_chunks_and_trailers_stream_both_ways_as_they_come(stage):
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    server = stage.server.accept()
    server.head()
    assert server.exactly(8) == b"3\r\nabc\r\n"
    server.send(CHUNKED + b"2\r\nx")
    client.head()
    assert client.exactly(4) == b"2\r\nx"
    client.send(b"0\r\nX-Sum: 1\r\n\r\n")
    assert server.until(b"X-Sum: 1\r\n\r\n") == b"0\r\nX-Sum: 1\r\n\r\n"
    server.send(b"y\r\n0\r\nX-End: 1\r\n\r\n")
    assert client.until(b"X-End: 1\r\n\r\n") == b"y\r\n0\r\nX-End: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "response"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n"),
    ],
)
def test_responses_without_a_body_end_with_their_head(stage, method, response):
    client = stage.client()
    client.send(method + b" / HTTP/1.1\r\n" + HOST + b"\r\n")
    server = stage.server.accept()
    server.head()
    server.send(response)
    assert client.exactly(len(response)) == response
    client.get(b"/next")
    assert server.head().startswith(b"GET /next ")


def test_the_container_says_when_a_body_may_come(stage):
    client = stage.client()
    client.send(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    server = stage.server.accept()
    assert b"Expect: 100-continue\r\n" in server.head()
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"hi")
    assert server.exactly(2) == b"hi"
    server.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK)
    assert client.head() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    assert client.answer()[2] == b"ok"


def test_ranges_pass(stage):
    client = stage.client()
    client.get(b"/", b"Range: bytes=1-2\r\n")
    server = stage.server.accept()
    assert b"Range: bytes=1-2\r\n" in server.head()
    partial = b"HTTP/1.1 206 Partial\r\ncontent-range: bytes 1-2/9\r\ncontent-length: 2\r\n\r\nbc"
    server.send(partial)
    assert client.exactly(len(partial)) == partial


def test_after_a_change_of_protocol_bytes_pass_both_ways(stage):
    client = stage.client()
    client.get(b"/ws", b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n")
    client.send(b"early")
    server = stage.server.accept()
    head = server.head()
    assert b"Connection: Upgrade\r\n" in head
    assert b"Upgrade: websocket\r\n" in head
    changed = (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
    )
    server.send(changed + b"\x81\x05hello")
    answer = client.head()
    assert b"upgrade: websocket\r\n" in answer
    assert b"Connection: Upgrade\r\n" in answer
    assert client.exactly(7) == b"\x81\x05hello"
    assert server.exactly(5) == b"early"
    client.send(bytes(range(256)))
    assert server.exactly(256) == bytes(range(256))
    client.close()
    assert server.rest() == b""


def test_a_container_cannot_change_a_protocol_that_nobody_asked_to_change(stage):
    client, server = stage.pair()
    server.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")
    assert client.answer()[0] == 502


def test_a_client_that_goes_is_seen_by_the_container(stage):
    client, server = stage.pair()
    client.close()
    assert server.rest() == b""
    assert stage.event("release")["lease"] == 1


def test_a_client_that_takes_nothing_holds_up_its_container_and_nobody_else(stage):
    client, server = stage.pair()
    piece, sent = bytes(1 << 20), 0
    server.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
    while select.select([], [server.sock], [], 0.5)[1]:
        sent += server.sock.send(piece, socket.MSG_DONTWAIT)
    assert sent < 32 << 20
    other, other_server = stage.pair()
    other_server.send(OK)
    assert other.answer()[2] == b"ok"
    client.head()
    client.exactly(sent)
    server.send(piece)
    assert client.exactly(len(piece)) == piece


def test_an_old_client_gets_a_body_without_chunks_and_the_end_of_its_connection(stage):
    client = stage.client()
    client.send(b"GET / HTTP/1.0\r\nHost: app-f.localhost\r\n\r\n")
    server = stage.server.accept()
    assert server.head().startswith(b"GET / HTTP/1.1\r\n")
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    answer = client.rest()
    assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"


def test_an_old_server_that_ends_a_body_with_its_connection_is_understood(stage):
    client, server = stage.pair()
    server.send(b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\nsome ")
    server.send(b"bytes")
    server.close()
    assert client.rest() == b"HTTP/1.1 200 OK\r\nserver: old\r\nConnection: close\r\n\r\nsome bytes"


def test_a_client_that_wants_its_connection_closed_gets_that(stage):
    client = stage.client()
    client.get(b"/", b"Connection: close\r\n")
    server = stage.server.accept()
    assert b"lose" not in server.head()
    server.send(OK)
    assert client.rest() == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: close\r\n\r\nok"


def test_a_response_ahead_of_the_end_of_its_request_ends_the_connection(stage):
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\nabc")
    server = stage.server.accept()
    server.head()
    server.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    assert b"413 Too Large" in client.rest()


# -- containers that fail


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        b"",
    ],
)
def test_a_container_that_makes_no_sense_is_a_bad_gateway(stage, said):
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
    server = stage.server.accept()
    server.head()
    server.send(said)
    if not said:
        server.close()
    assert client.answer()[0] == 502
    client.get()
    server = stage.server.accept()
    server.head()
    server.send(OK)
    assert client.answer()[0] == 200


def test_a_container_that_dies_in_its_response_ends_the_client_s_connection(stage):
    client, server = stage.pair()
    server.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    client.head()
    server.close()
    assert client.rest() == b"abc"


def test_chunks_that_make_no_sense_end_the_client_s_connection(stage):
    client, server = stage.pair()
    server.send(CHUNKED + b"2\r\nok\r\n")
    client.head()
    assert client.exactly(7) == b"2\r\nok\r\n"
    server.send(b"nonsense\r\n")
    assert client.rest() == b""


def test_what_a_container_says_unasked_reaches_nobody(stage):
    """Bytes behind a response would be taken for the answer to the next request."""
    client, server = stage.pair()
    server.send(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert client.answer()[2] == b"ok"
    client.get(b"/next")
    fresh = stage.server.accept()
    assert fresh.head().startswith(b"GET /next ")
    fresh.send(OK)
    assert client.answer()[2] == b"ok"
    fresh.send(OK)
    assert fresh.rest() == b""


def test_a_request_goes_elsewhere_when_its_container_is_not_there(stage):
    stage.lead = None
    gone = stage.listen("gone")
    gone.close()
    client = stage.client()
    client.get()
    stage.grant(stage.event("lease")["lease"], gone)
    stage.grant(stage.event("lease")["lease"], stage.server)
    server = stage.server.accept()
    server.head()
    server.send(OK)
    assert client.answer()[2] == b"ok"


def test_a_request_is_not_tried_for_ever(stage):
    stage.lead = stage.listen("gone")
    stage.lead.close()
    client = stage.client()
    client.get()
    assert client.answer()[0] == 502


def test_a_connection_that_its_server_closed_meanwhile_is_not_an_error(stage):
    client, server = stage.pair()
    server.send(OK)
    client.answer()
    client.get(b"/next")
    server.head()
    server.close()
    fresh = stage.server.accept()
    assert fresh.head().startswith(b"GET /next ")
    fresh.send(OK)
    assert client.answer()[2] == b"ok"


def test_what_may_have_had_an_effect_is_not_sent_twice(stage):
    client, server = stage.pair()
    server.send(OK)
    client.answer()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
    server.head()
    server.close()
    assert client.answer()[0] == 502


def test_the_gateway_ends_with_its_hub(stage):
    client = stage.client()
    stage.hub.shutdown(socket.SHUT_RDWR)
    assert client.rest() == b""


@pytest.mark.parametrize(
    ("fields", "says_close"), [(b"Transfer-Encoding: chunked", False), (b"Content-Length: 2", True)]
)
def test_an_answer_ahead_of_the_end_of_a_body(stage, fields, says_close):
    """One in chunks may be made of the body: its client is not told to send no more."""
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nab")
    server = stage.server.accept()
    server.head()
    assert server.exactly(2) == b"ab"
    server.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n")
    assert (b"connection: close" in client.head().lower()) is says_close
    client.send(b"cd")
    assert server.exactly(2) == b"cd"
