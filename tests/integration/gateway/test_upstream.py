"""Servers that want HTTP/2, asked by clients of either version."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes

from tests.integration.gateway.h2_client import GET, POST, H2Client
from tests.integration.gateway.h2_server import H2Server


@pytest.fixture
def stage(make_stage):
    """A gateway whose route leads to such a server."""
    stage = make_stage()
    stage.route(h2_enabled=True)
    return stage


@pytest.fixture
def client(stage):
    return H2Client(stage)


def test_a_client_of_http_1_1_is_answered(stage):
    client = stage.client()
    client.send(
        b"POST /a?b=c HTTP/1.1\r\nHost: app-f.localhost\r\nX-Mine: 1\r\nCookie: a=b\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    server = H2Server(stage.server)
    asked = server.next()
    server.until(lambda: asked.is_over)
    fields = asked.fields
    assert (fields[":method"], fields[":path"]) == ("POST", "/a?b=c")
    assert (fields[":authority"], fields[":scheme"]) == ("app-f.localhost", "http")
    assert (fields["x-mine"], fields["cookie"], asked.body) == ("1", "a=b", b"hello")
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert not {"host", "connection"} & set(fields)
    server.answer(asked, b"fine", content_length="4", x_own="2")
    status, head, body = client.answer()
    assert (status, body) == (200, b"fine")
    assert "x-own: 2" in head


def test_an_answer_without_a_length_comes_in_chunks_with_what_is_behind_them(stage):
    client = stage.client()
    client.get(fields=b"TE: trailers\r\n")
    server = H2Server(stage.server)
    asked = server.next()
    assert asked.fields["te"] == "trailers"
    server.answer(asked, b"one", end=False)
    assert b"transfer-encoding: chunked\r\n" in client.head()
    assert client.until(b"one\r\n") == b"3\r\none\r\n"
    server.data(asked, b"two", trailers=[("x-sum", "6")], end=True)
    assert client.until(b"\r\n\r\n") == b"3\r\ntwo\r\n0\r\nx-sum: 6\r\n\r\n"


def test_requests_one_after_another_are_streams_of_one_connection(stage):
    client = stage.client()
    server = None
    for index in range(3):
        client.get(b"/%d" % index)
        server = server or H2Server(stage.server)
        asked = server.next()
        assert asked.fields[":path"] == f"/{index}"
        server.answer(asked, b"x", content_length="1")
        assert client.answer()[2] == b"x"


def test_pipelined_requests_find_their_answers(stage):
    client = stage.client()
    client.get(b"/0")
    client.get(b"/1")
    server = H2Server(stage.server)
    for index in range(2):
        asked = server.next()
        assert asked.fields[":path"] == f"/{index}"
        server.answer(asked, b"%d" % index, content_length="1")
        assert client.answer()[2] == b"%d" % index


def test_a_call_of_grpc_passes_with_streams_both_ways(stage, client):
    number = client.request(POST, end=False, content_type="application/grpc")
    server = H2Server(stage.server)
    asked = server.next()
    assert asked.fields["te"] == "trailers"
    for index in range(3):
        client.data(number, b"ask%d" % index)
        server.until(lambda index=index: asked.body.endswith(b"%d" % index))
        if not index:
            server.answer(asked, end=False, content_type="application/grpc")
        server.data(asked, b"answer%d" % index)
        client.until(lambda index=index: client.answers[number].body.endswith(b"%d" % index))
    client.data(number, b"", end=True)
    server.until(lambda: asked.is_over)
    server.data(asked, b"", trailers=[("grpc-status", "0"), ("grpc-message", "fine")], end=True)
    answer = client.answer(number)
    assert answer.head["content-type"] == "application/grpc"
    assert answer.trailers == {"grpc-status": "0", "grpc-message": "fine"}


def test_a_call_of_grpc_that_fails_at_once_has_all_in_its_head(stage, client):
    number = client.request(POST, end=False)
    client.data(number, b"x", end=True)
    server = H2Server(stage.server)
    server.answer(server.next(), grpc_status="12")
    answer = client.answer(number)
    assert answer.head["grpc-status"] == "12"
    assert (answer.body, answer.trailers, answer.code) == (b"", {}, None)


def test_large_bodies_pass_both_ways(stage, client):
    body = bytes(range(256)) * 8192
    number = client.request(POST, end=False)
    server = H2Server(stage.server)
    asked = server.next()
    for at in range(0, len(body), 1 << 16):
        client.data(number, body[at : at + (1 << 16)])
        server.until(lambda at=at: len(asked.body) >= at + 1)
    client.data(number, b"", end=True)
    server.until(lambda: asked.is_over)
    assert asked.body == body
    server.h2.send_headers(asked.number, [(":status", "200")])
    for at in range(0, len(body), 1 << 15):
        server.data(asked, body[at : at + (1 << 15)])
        client.until(lambda at=at: len(client.answers[number].body) > at)
    server.data(asked, b"", end=True)
    assert client.answer(number).body == body


def test_more_requests_than_a_server_takes_go_to_another_connection_or_wait(make_stage):
    # A connection without requests is closed by the next sweep, which may come before the third.
    stage = make_stage(limits={"UPSTREAMS_MAX": 2, "SWEEP_S": 60.0})
    stage.route(h2_enabled=True)
    client = H2Client(stage)
    numbers, servers = [], []
    for _ in range(2):
        numbers.append(client.request())
        server = H2Server(stage.server, streams=1)
        asked = server.next()
        server.until(lambda server=server: server.is_acknowledged)
        servers.append((server, asked))
    numbers.append(client.request([*GET[:3], (":path", "/waits")]))
    for index, (server, asked) in enumerate(servers):
        server.answer(asked, b"%d" % index, content_length="1")
        assert client.answer(numbers[index]).body == b"%d" % index
    server, _ = servers[0]
    asked = server.next()
    assert asked.fields[":path"] == "/waits"
    server.answer(asked, b"2", content_length="1")
    assert client.answer(numbers[2]).body == b"2"


def test_a_client_that_takes_its_request_back_ends_it_at_the_server(stage, client):
    number = client.request()
    server = H2Server(stage.server)
    asked = server.next()
    client.h2.reset_stream(number, ErrorCodes.CANCEL)
    client.flush()
    server.until(lambda: asked.code is not None)
    assert asked.code == ErrorCodes.CANCEL


def test_a_server_that_breaks_off_is_told_to_the_client(stage, client):
    number = client.request(POST, end=False)
    server = H2Server(stage.server)
    asked = server.next()
    server.h2.reset_stream(asked.number, ErrorCodes.INTERNAL_ERROR)
    server.flush()
    assert client.answer(number).status == 502
    number = client.request()
    asked = server.next()
    server.answer(asked, b"half", end=False)
    client.until(lambda: client.answers[number].body == b"half")
    server.sock.close()
    assert client.answer(number).code == ErrorCodes.INTERNAL_ERROR


def test_a_server_that_speaks_another_protocol_is_a_bad_gateway(stage, client):
    number = client.request(POST)
    server = stage.server.accept()
    server.until(b"SM\r\n\r\n")
    server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert client.answer(number).status == 502


def test_fields_that_would_break_a_line_end_the_request(stage, client):
    number = client.request(POST)
    server = H2Server(stage.server)
    asked = server.next()
    server.h2.config.validate_outbound_headers = False
    server.h2.send_headers(asked.number, [(":status", "200"), ("x-own", "a\r\nx-evil: b")])
    server.flush()
    assert client.answer(number).status == 502
