"""Who and what does not get through: broken requests, too much, too slow, the unknown."""

from __future__ import annotations

import hashlib
import json
import select
import time

import pytest

from tests.integration.gateway.stage import HOST, PATIENCE_S, Stage
from tests.support import eventually
from tests.unit.gateway.test_heads import OTHERS, SMUGGLED

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#: Answered like anything else if the gateway took what is ahead of it for a whole request.
BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: app-f.localhost\r\n\r\n"


def _refusals() -> dict[str, tuple[int, bytes]]:
    """Those whose end does not matter, and that are of HTTP/1."""
    whole = {
        name: case
        for name, case in OTHERS.items()
        if "without an end" not in name and name != "HTTP/2"
    }
    return {**{name: (400, data) for name, data in SMUGGLED.items()}, **whole}


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("gw"))
    yield stage
    stage.close()


@pytest.mark.parametrize(("status", "data"), _refusals().values(), ids=_refusals())
def test_nothing_behind_a_refused_request_is_believed(refusing, status, data):
    client = refusing.client()
    client.send(data + BEHIND)
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in answer
    assert refusing.granted == 0


BAD_BODIES = [b"g\r\n", b"5\nhello\r\n", b"5\r\nhelloX", b"0\r\nContent-Length: 3\r\n\r\n"]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_body_in_broken_chunks_ends_both_connections(stage, body):
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    server = stage.server.accept()
    server.head()
    assert server.exactly(6) == b"1\r\na\r\n"
    client.send(body + BEHIND)
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"smuggled" not in server.rest()


def test_a_body_that_is_too_large_is_refused_at_once_or_when_it_gets_so(make_stage):
    stage = make_stage(body_bytes_max=10)
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 11\r\n\r\n")
    assert client.rest().startswith(b"HTTP/1.1 413 ")
    client = stage.client()
    client.send(
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n"
    )
    server = stage.server.accept()
    server.head()
    client.send(b"6\r\nabcdef\r\n")
    assert client.rest().startswith(b"HTTP/1.1 413 ")
    server.rest()


def test_a_head_that_does_not_come_is_not_waited_for(make_stage):
    stage = make_stage(limits={"HEAD_S": 0.05, "SWEEP_S": 0.02})
    client = stage.client()
    client.send(b"GET / HTTP/1.1\r\nHost: app-f")
    assert client.rest().startswith(b"HTTP/1.1 408 ")


def test_a_body_that_does_not_come_is_not_waited_for(make_stage):
    stage = make_stage(limits={"BODY_IDLE_S": 0.05, "SWEEP_S": 0.02})
    client = stage.client()
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nab")
    server = stage.server.accept()
    server.head()
    assert client.rest().startswith(b"HTTP/1.1 408 ")
    assert server.rest() == b"ab"


def test_a_connection_without_requests_is_closed(make_stage):
    stage = make_stage(limits={"KEEP_ALIVE_S": 0.05, "SWEEP_S": 0.02})
    assert stage.client().rest() == b""


def test_a_client_that_takes_nothing_is_not_waited_for(make_stage):
    stage = make_stage(limits={"BODY_IDLE_S": 0.05, "SWEEP_S": 0.02})
    _, server = stage.pair()
    size = 1 << 26
    server.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        server.send(bytes(size))


def test_an_idle_connection_to_a_container_is_closed(make_stage):
    stage = make_stage(limits={"BACK_IDLE_S": 0.05, "SWEEP_S": 0.02})
    client, server = stage.pair()
    server.send(OK)
    client.answer()
    assert server.rest() == b""


def test_there_are_only_so_many_connections(make_stage):
    stage = make_stage(limits={"CONNECTIONS_MAX": 2})
    clients = [stage.pair(), stage.pair()]
    assert stage.client().rest().startswith(b"HTTP/1.1 503 ")
    clients[0][0].close()

    def has_room():
        client = stage.client()
        client.get()
        ready, _, _ = select.select([client.sock, stage.server.listener], [], [], PATIENCE_S)
        if client.sock not in ready:
            return True
        client.close()
        return False

    eventually(has_room)


def test_the_connection_that_is_idle_for_longest_gives_way(make_stage):
    limits = {"CONNECTIONS_MAX": 3, "EVICTED_AFTER_S": 0.05, "SWEEP_S": 0.02}
    stage = make_stage(limits=limits)
    busy, _ = stage.pair()
    first, server = stage.pair()
    server.send(OK)
    assert first.answer()[0] == 200
    second = stage.client()

    def ask(client):
        """Whether the request of a client is answered by the container."""
        client.get()
        ready, _, _ = select.select([client.sock, server.sock], [], [], PATIENCE_S)
        if client.sock in ready:
            client.close()
            return False
        server.head()
        server.send(OK)
        return client.answer()[0] == 200

    later = time.monotonic() + 0.02  # the gateway's clock has steps
    while time.monotonic() < later:
        assert ask(second)
    eventually(lambda: ask(stage.client()))
    assert first.rest() == b""
    assert select.select([second.sock, busy.sock], [], [], 0)[0] == []


def test_only_so_many_requests_wait(make_stage):
    stage = make_stage(limits={"WAITING_MAX": 2})
    stage.lead = None
    clients = [stage.client() for _ in range(3)]
    for client in clients[:2]:
        client.get()
        stage.event("lease")
    clients[2].get()
    status, head, _ = clients[2].answer()
    assert status == 503
    assert "Retry-After: 1\r\n" in head


# -- where to


def test_an_unknown_host_is_told_what_is_close_to_it(stage):
    client = stage.client()
    client.get(host=b"Host: app-g.localhost:80\r\n")
    status, head, body = client.answer()
    assert status == 404
    assert "text/plain" in head
    assert body == b"there is no web function `app-g`; did you mean app-f?\n"


@pytest.mark.parametrize("host", [b"evil.example", b"app-f.evil.example", b"localhost.evil", b"a"])
def test_a_name_of_another_site_leads_nowhere(stage, host):
    """Else a page of that site could have itself resolved to us, and read what we answer."""
    client = stage.client()
    client.get(b"/app-f/", host=b"Host: " + host + b"\r\n")
    assert client.answer()[0] == 404


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:99", b"127.0.0.1", b"[::1]:80"])
@pytest.mark.parametrize(
    ("path", "passed"),
    [(b"/app-f", b"/"), (b"/app-f/", b"/"), (b"/app-f/x/y?z", b"/x/y?z"), (b"/app-f?z", b"/?z")],
)
def test_a_path_may_begin_with_the_label(stage, host, path, passed):
    client = stage.client()
    client.get(path, host=b"Host: " + host + b"\r\n")
    head = stage.server.accept().head()
    assert head.startswith(b"GET " + passed + b" HTTP/1.1\r\n")
    assert b"X-Forwarded-Prefix: /app-f\r\n" in head
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in head


def test_a_path_without_a_label_leads_nowhere(stage):
    client = stage.client()
    for path in (b"/", b"/app-x/", b"//app-f/", b"/%61pp-f/"):
        client.get(path, host=b"Host: localhost\r\n")
        assert client.answer()[0] == 404


@pytest.mark.parametrize("host", [b"API.example.com", b"x.apps.example.com:443"])
def test_domains_of_its_own_lead_to_a_function(stage, host):
    stage.route(domains=["api.example.com", "*.apps.example.com"])
    client = stage.client()
    client.get(host=b"Host: " + host + b"\r\n")
    assert b"Host: " + host in stage.server.accept().head()


def test_a_route_that_is_gone_leads_nowhere(stage):
    stage.tell("unroute", label="app-f")
    stage.settle()
    client = stage.client()
    client.get()
    assert client.answer()[0] == 404


# -- who


def _with_token(stage):
    stage.tell("tokens", hashes={"wk-1": hashlib.sha256(b"ws-1").digest()})
    stage.route("app-p", requires_proxy_auth=True)


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Modal-Key: wk-1\r\n",
        b"Modal-Key: wk-1\r\nModal-Secret: ws-2\r\n",
        b"Modal-Key: wk-2\r\nModal-Secret: ws-1\r\n",
        b"Authorization: Bearer wk-1.ws-2\r\n",
        b"Authorization: Bearer wk-1\r\n",
        b"Authorization: Basic wk-1.ws-1\r\n",
    ],
)
def test_without_a_token_no_container_starts(stage, fields):
    """Behaviour 139."""
    _with_token(stage)
    client = stage.client()
    client.get(b"/", fields, host=b"Host: app-p.localhost\r\n")
    status, head, _ = client.answer()
    assert status == 401
    assert "WWW-Authenticate: Bearer" in head
    assert stage.granted == 0


@pytest.mark.parametrize(
    "fields",
    [
        b"Modal-Key: wk-1\r\nModal-Secret: ws-1\r\n",
        b"volant-key: wk-1\r\nvolant-secret: ws-1\r\n",
        b"Authorization: Bearer wk-1.ws-1\r\n",
    ],
)
def test_a_token_lets_in_and_is_not_passed_on(stage, fields):
    """Behaviour 139."""
    _with_token(stage)
    client = stage.client()
    client.get(b"/", fields + b"X-Mine: 1\r\n", host=b"Host: app-p.localhost\r\n")
    head = stage.server.accept().head()
    assert b"X-Mine: 1\r\n" in head
    assert b"ws-1" not in head


def test_keys_for_the_function_itself_pass_where_no_token_is_required(stage):
    client = stage.client()
    client.get(b"/", b"Authorization: Bearer mine\r\n")
    assert b"Authorization: Bearer mine\r\n" in stage.server.accept().head()


def test_only_a_trusted_front_is_believed_where_a_request_came_from(stage, make_stage):
    fields = b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n"
    client = stage.client()
    client.get(b"/", fields)
    head = stage.server.accept().head()
    assert b"9.9.9.9" not in head
    assert b"https" not in head
    behind = make_stage(trusted_fronts=["127.0.0.1"])
    client = behind.client()
    client.get(b"/", fields)
    head = behind.server.accept().head()
    assert b"X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n" in head
    assert b"X-Forwarded-Proto: https\r\n" in head
    assert b"X-Forwarded-Host: b\r\n" in head


# -- what is taken down


def test_each_request_is_in_the_log(stage):
    client = stage.client()
    client.send(b"POST /a?secret=1 HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc")
    server = stage.server.accept()
    server.head()
    server.exactly(3)
    server.send(OK)
    client.answer()
    client.get(b'/"odd\\path')
    server.head()
    client.close()
    lines = eventually(lambda: stage.log.exists() and _lines(stage.log, 2))
    first = {name: value for name, value in lines[0].items() if not name.endswith("_ms")}
    assert first.pop("time") > 1e9
    assert first == {
        "client": "127.0.0.1", "host": "app-f.localhost", "route": "app-f", "method": "POST",
        "path": "/a", "status": 200, "received_bytes": 3, "sent_bytes": len(OK),
        "container": "ta-1",
    }  # fmt: skip
    assert lines[0]["duration_ms"] >= lines[0]["wait_ms"] >= 0
    assert (lines[1]["path"], lines[1]["status"]) == ('/"odd\\path', 499)
    assert stage.log.stat().st_mode & 0o777 == 0o600


def test_the_log_is_bounded(make_stage):
    stage = make_stage(log_bytes_max=1)
    client, server = stage.pair()
    server.send(OK)
    client.answer()
    eventually(lambda: stage.log.with_name("gateway.log.1").exists())


def _lines(path, count):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line for line in lines if line["route"] == "app-f"]
    return lines if len(lines) >= count else []
