"""Requests of servers: each has a lease granted or refused at once, and sessions share none."""

from __future__ import annotations

import pytest

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#: So long that nothing here waits for it.
LONG = 1000.0


@pytest.fixture
def stage(make_stage):
    stage = make_stage(limits={"LINGER_S": LONG, "LEASE_AGE_S": LONG})
    stage.lead = None
    stage.route(stateless=True)
    return stage


def ask(stage, fields=b""):
    """A client that has sent a request, and the lease that is asked for it."""
    client = stage.client()
    client.get(fields=fields)
    return client, stage.event("lease")


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_that_is_refused_is_told_when_to_come_again(stage, status):
    first, lease = ask(stage)
    second, other = ask(stage)
    stage.tell("refused", lease=other["lease"], status=status, detail="not now")
    got, head, body = second.answer()
    assert (got, body) == (status, b"not now\n")
    assert "Retry-After: 1" in head
    stage.grant(lease["lease"], stage.server)  # the other one is not mistaken for it
    server = stage.server.accept()
    server.head()
    server.send(OK)
    assert first.answer()[0] == 200


def test_a_lease_serves_further_requests_without_asking(stage):
    client, lease = ask(stage)
    stage.grant(lease["lease"], stage.server)
    server = stage.server.accept()
    for _ in range(3):
        server.head()
        server.send(OK)
        assert client.answer()[0] == 200
        client.get()
    assert stage.events.empty()


def test_sessions_are_told_apart_by_either_name_in_any_case(stage):
    names = (b"Volant-Session-Id: a", b"mOdAl-SESSION-ID:  a ", b"Modal-Session-Id: b", b"X-S: a")
    sessions = [ask(stage, name + b"\r\n")[1]["session"] for name in names]
    assert sessions[0] == sessions[1] != sessions[2]
    assert [len(session) for session in sessions] == [32, 32, 32, 0]


def test_a_lease_serves_its_session_alone(stage):
    fields = b"Volant-Session-Id: a\r\n"
    client, lease = ask(stage, fields)
    stage.grant(lease["lease"], stage.server)
    server = stage.server.accept()
    assert b"Volant-Session-Id: a" in server.head()
    server.send(OK)
    client.answer()
    _, other = ask(stage)
    assert other["session"] == b""
    _, third = ask(stage, b"Volant-Session-Id: b\r\n")
    assert third["session"] not in (b"", lease["session"])
    client.get(fields=fields)
    server.head()
    server.send(OK)
    assert client.answer()[0] == 200


def test_a_client_that_has_left_leaves_its_lease_to_its_session(stage):
    fields = b"Volant-Session-Id: a\r\n"
    client, lease = ask(stage, fields)
    client.close()
    second, other = ask(stage)
    stage.grant(lease["lease"], stage.server)
    stage.grant(other["lease"], stage.server)
    server = stage.server.accept()
    assert b"Session" not in server.head()
    server.send(OK)
    assert second.answer()[0] == 200


def test_requests_are_counted_by_status_and_by_how_long_they_took(make_stage):
    stage = make_stage()
    stage.route(stateless=True)
    client, server = stage.pair()
    server.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    client.answer()
    client.get()
    server.head()
    server.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    client.answer()
    stage.lead = None
    another = stage.client()
    another.get(fields=b"Volant-Session-Id: a\r\n")
    stage.event("lease")
    stage.tell("refused", lease=stage.event("lease")["lease"], status=503, detail="no")
    another.answer()
    stage.tell("count", label="app-f", question=7, parts=[0.5, 1.0])
    counted = stage.event("counted")
    assert counted["question"] == 7
    assert counted["statuses"] == {"200": 1, "404": 1, "503": 1}
    half, all_of_them = counted["quantiles_s"]
    assert 0 < half <= all_of_them
    stage.tell("count", label="app-none", question=8, parts=[0.5])
    counted = stage.event("counted")
    assert (counted["statuses"], counted["quantiles_s"]) == ({}, [0.0])
