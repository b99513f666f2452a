"""Requests of HTTP/2, each relayed to its container as one of HTTP/1.1."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.integration.gateway.h2_client import GET, POST, H2Client
from tests.integration.gateway.stage import PATIENCE_S
from tests.support import eventually

if TYPE_CHECKING:
    from tests.integration.gateway.stage import Stage


@pytest.fixture
def client(stage: Stage) -> H2Client:
    return H2Client(stage)


def fields_of(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}


def test_a_request_is_one_of_http_1_1_to_its_container(stage, client):
    number = client.request(
        [*GET[:3], (":path", "/a?b=c"), ("cookie", "x=1"), ("cookie", "y=2"), ("te", "trailers"),
         ("x-forwarded-for", "192.0.2.1"), ("x-own", "a b")]
    )  # fmt: skip
    server = stage.server.accept()
    head = server.head()
    assert head.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    fields = fields_of(head)
    assert (fields["host"], fields["cookie"]) == ("app-f.localhost", "x=1; y=2")
    assert (fields["x-forwarded-for"], fields["x-own"]) == ("127.0.0.1", "a b")
    assert fields["te"] == "trailers"
    server.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Mine: A\r\nConnection: keep-alive\r\n\r\nhello"
    )
    answer = client.answer(number)
    assert answer.head == {":status": "200", "content-length": "5", "x-mine": "A"}
    assert answer.body == b"hello"
    assert answer.code is None


def test_many_requests_are_under_way_at_once_and_end_in_any_order(stage, client):
    numbers = [client.request([*GET[:3], (":path", f"/{index}")]) for index in range(20)]
    servers = {}
    for _ in numbers:
        server = stage.server.accept()
        servers[server.head().split(b" ")[1]] = server
    for index in reversed(range(20)):
        body = b"%d" % index
        servers[b"/" + body].send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
            % (len(body), body)
        )
        assert client.answer(numbers[index]).body == body


def test_a_body_without_a_length_comes_in_chunks_and_is_answered_meanwhile(stage, client):
    number = client.request(POST, end=False)
    client.data(number, b"first")
    server = stage.server.accept()
    assert fields_of(server.head())["transfer-encoding"] == "chunked"
    assert server.exactly(10) == b"5\r\nfirst\r\n"
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    client.until(lambda: client.answers[number].body == b"one")
    client.h2.send_headers(number, [("x-sum", "1")], end_stream=True)
    client.flush()
    assert server.until(b"\r\n\r\n") == b"0\r\nx-sum: 1\r\n\r\n"
    server.send(b"3\r\ntwo\r\n0\r\nX-Status: 0\r\n\r\n")
    answer = client.answer(number)
    assert (answer.body, answer.trailers) == (b"onetwo", {"x-status": "0"})


def test_a_body_with_a_length_passes_as_it_is(stage, client):
    body = bytes(range(256)) * 4096
    number = client.request(POST, end=False, content_length=str(len(body)))
    server = stage.server.accept()
    assert fields_of(server.head())["content-length"] == str(len(body))
    client.data(number, body)
    assert server.exactly(len(body)) == body
    server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    client.answer(number)
    client.data(number, b"", end=True)  # which says nothing new, and is said late
    client.answer(client.request([*GET[:3], (":path", "/ x")]))
    answer = client.answer(number)
    assert (answer.status, answer.body, answer.code) == (204, b"", None)


def test_a_large_answer_passes_and_an_unread_one_stops_its_container(stage, client):
    size = 8 << 20
    client.acknowledges = False
    number = client.request()
    server = stage.server.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    server.sock.setblocking(False)
    sent = 0

    def is_stopped() -> bool:
        """Nothing more is taken, although not all of it was."""
        nonlocal sent
        before = sent
        try:
            while sent < size:
                sent += server.sock.send(bytes(min(1 << 16, size - sent)))
        except BlockingIOError:
            pass
        return sent == before

    eventually(is_stopped, every_s=0.1)
    assert sent < size
    client.acknowledges = True
    client.h2.increment_flow_control_window(1 << 30)
    client.h2.increment_flow_control_window(1 << 30, number)
    client.flush()
    server.sock.settimeout(PATIENCE_S)
    sending = threading.Thread(target=server.send, args=(bytes(size - sent),))
    sending.start()
    assert len(client.answer(number).body) == size
    sending.join()


def test_a_connection_whose_client_takes_the_end_slowly_serves_the_next_one(make_stage):
    """The last piece fills the way to the client, so the container is not read from just then."""
    stage = make_stage(limits={"WRITE_BYTES_HIGH": 1000})
    client = H2Client(stage)
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    client.flush()
    slow = client.request()
    server = stage.server.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + bytes(2000))
    client.until(lambda: client.answers[slow].head)
    other = stage.client()
    other.get()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert other.answer()[2] == b"ok"
    client.h2.increment_flow_control_window(2000, slow)
    client.flush()
    assert client.answer(slow).body == bytes(2000)


def test_interim_responses_pass(stage, client):
    number = client.request(POST, end=False, expect="100-continue")
    server = stage.server.accept()
    assert fields_of(server.head())["expect"] == "100-continue"
    server.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
    client.until(lambda: len(client.answers[number].interim) == 2)
    assert client.answers[number].interim[1] == {":status": "103", "link": "<a>"}
    client.data(number, b"x", end=True)
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.answer(number).status == 200


def test_a_head_is_answered_without_a_body(stage, client):
    number = client.request([(":method", "HEAD"), *GET[1:]])
    server = stage.server.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    answer = client.answer(number)
    assert (answer.head["content-length"], answer.body) == ("5", b"")


def test_an_answer_that_ends_with_its_connection_is_whole_and_one_that_breaks_off_is_not(
    stage, client
):
    number = client.request()
    server = stage.server.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    server.close()
    answer = client.answer(number)
    assert (answer.body, answer.code) == (b"all of it", None)
    number = client.request()
    server = stage.server.accept()
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    server.close()
    assert client.answer(number).code == ErrorCodes.INTERNAL_ERROR


def test_a_request_that_is_taken_back_is_gone_from_its_container(stage, client):
    number = client.request()
    server = stage.server.accept()
    server.head()
    client.h2.reset_stream(number, ErrorCodes.CANCEL)
    client.flush()
    assert server.rest() == b""
    assert stage_log(stage, status=499)


def test_a_client_that_leaves_takes_its_requests_with_it(stage, client):
    client.request()
    server = stage.server.accept()
    server.head()
    client.close()
    assert server.rest() == b""


def test_an_early_answer_to_an_upload_ends_the_upload(stage, client):
    number = client.request(POST, end=False)
    server = stage.server.accept()
    server.head()
    server.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
    answer = client.answer(number)
    assert (answer.status, answer.body) == (413, b"no")
    client.until(lambda: client.answers[number].code == ErrorCodes.NO_ERROR)


def test_what_the_gateway_answers_itself_is_answered_and_the_connection_goes_on(stage, client):
    stage.route("app-guarded", requires_proxy_auth=True)
    guarded = [*GET[:2], (":authority", "app-guarded.localhost"), GET[3]]
    for fields, status in (
        (guarded, 401),
        ([*GET[:2], (":authority", "nobody.localhost"), GET[3]], 404),
        ([*GET[:3], (":path", "/" + "a" * 20_000)], 414),
        ([*GET[:3], (":path", "/ HTTP/1.1")], 400),
        ([(":method", "TRACE"), *GET[1:]], 501),
    ):
        number = client.request(fields)
        assert client.answer(number).status == status, fields
    lines = [json.loads(line) for line in stage_log(stage, status=501)]
    assert {line["status"] for line in lines} >= {401, 404, 400, 414, 501}


def stage_log(stage: Any, *, status: int) -> list[str]:
    """The lines of the access log, once one of this status is among them."""

    def find() -> list[str]:
        lines = stage.log.read_text().splitlines() if stage.log.exists() else []
        return lines if any(f'"status": {status},' in line for line in lines) else []

    return eventually(find)


def test_beside_it_the_same_port_speaks_http_1_1(stage, client):
    number = client.request()
    server = stage.server.accept()
    server.head()
    other, its = stage.pair()
    its.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
    assert other.answer()[2] == b"1"
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
    assert client.answer(number).body == b"2"
