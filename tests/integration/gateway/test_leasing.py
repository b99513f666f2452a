"""Slots of containers: asked for, used again and again, given back, taken away."""

from __future__ import annotations

from tests.integration.gateway.stage import HOST
from tests.support import eventually

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#: So long that nothing here waits for it.
LONG = 1000.0


def test_requests_wait_in_their_order_for_a_container(make_stage):
    stage = make_stage(limits={"LINGER_S": LONG, "LEASE_AGE_S": LONG})
    stage.lead = None
    clients, leases = [], []
    for at in range(3):
        clients.append(stage.client())
        clients[-1].get(b"/%d" % at)
        leases.append(stage.event("lease"))
    assert [lease["route"] for lease in leases] == ["app-f"] * 3
    stage.grant(leases[0]["lease"], stage.server)
    server = stage.server.accept()
    for at in range(3):  # one slot serves all, one after another
        assert server.head().startswith(b"GET /%d " % at)
        server.send(OK)
        assert clients[at].answer()[0] == 200
    assert stage.events.empty()


def test_a_lease_that_nobody_needs_goes_back(make_stage):
    stage = make_stage(limits={"LINGER_S": 0.01})
    client, server = stage.pair()
    server.send(OK)
    client.answer()
    assert stage.event("release")["lease"] == 1


def test_leases_that_came_too_late_go_back(make_stage):
    stage = make_stage(limits={"LINGER_S": 0.01})
    stage.lead = None
    client = stage.client()
    client.get()
    lease = stage.event("lease")["lease"]
    client.close()
    assert stage.event("release")["lease"] == lease
    stage.grant(lease, stage.server)  # on its way already
    client, server = stage.client(), None
    client.get()
    stage.grant(stage.event("lease")["lease"], stage.server)
    server = stage.server.accept()
    server.head()
    server.send(OK)
    assert client.answer()[0] == 200


def test_an_old_lease_goes_back_so_that_others_get_their_turn(make_stage):
    """It is old when a request ends after that time: so one request follows another until then."""
    stage = make_stage(limits={"LINGER_S": LONG, "LEASE_AGE_S": 0.005})
    client, server = stage.pair()
    assert stage.event("lease")["lease"] == 1

    def is_given_back() -> bool:
        server.send(OK)
        client.answer()
        client.get(b"/again")
        assert server.head().startswith(b"GET /again ")
        return not stage.events.empty()

    eventually(is_given_back)
    assert stage.event("release")["lease"] == 1
    assert stage.event("lease")["lease"] == 2


def test_a_container_for_one_request_gets_one(make_stage):
    stage = make_stage(limits={"LINGER_S": LONG, "LEASE_AGE_S": LONG})
    stage.route(single_use=True)
    client, server = stage.pair()
    server.send(OK)
    client.answer()
    assert stage.event("release")["lease"] == 1


def test_a_revoked_lease_ends_with_its_request(make_stage):
    stage = make_stage(limits={"LINGER_S": LONG, "LEASE_AGE_S": LONG})
    client, server = stage.pair()
    stage.tell("revoked", lease=1, cut_s=None)
    stage.settle()
    server.send(OK)
    assert client.answer()[0] == 200
    assert stage.event("release")["lease"] == 1
    client.get()
    assert stage.event("lease")["lease"] == 2


def test_a_revoked_lease_that_is_not_used_goes_back_at_once(make_stage):
    stage = make_stage(limits={"LINGER_S": LONG, "LEASE_AGE_S": LONG})
    client, server = stage.pair()
    server.send(OK)
    client.answer()
    stage.tell("revoked", lease=1, cut_s=None)
    assert stage.event("release")["lease"] == 1


def test_a_request_of_a_stopped_app_is_cut(stage):
    client, server = stage.pair()
    stage.tell("revoked", lease=1, cut_s=0.01)
    assert client.answer()[0] == 503
    assert server.rest() == b""


def test_a_stream_of_a_stopped_app_is_cut(stage):
    client, server = stage.pair()
    server.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
    client.head()
    stage.tell("revoked", lease=1, cut_s=0.01)
    assert client.rest() == b"1\r\na\r\n"
    server.rest()


def test_who_gets_no_slot_is_told_why(stage):
    stage.lead = None
    client = stage.client()
    client.get()
    stage.tell(
        "refused", lease=stage.event("lease")["lease"], status=500, detail="no container starts"
    )
    status, _, body = client.answer()
    assert (status, body) == (500, b"no container starts\n")


def test_a_request_runs_as_long_as_its_function_may(stage):
    stage.route(timeout_s=0.05)
    client, server = stage.pair()
    status, _, body = client.answer()
    assert (status, body) == (504, b"`f` ran longer than its timeout\n")
    assert server.rest() == b""
    stage.event("release")


def test_waiting_for_a_container_is_not_running(stage):
    stage.route(timeout_s=0.05)
    stage.lead = None
    client = stage.client()
    client.get()
    lease = stage.event("lease")["lease"]
    stage.settle()
    stage.grant(lease, stage.server)
    server = stage.server.accept()
    server.head()
    server.send(OK)
    assert client.answer()[0] == 200


def test_a_body_that_comes_while_its_request_waits_is_not_lost(stage):
    stage.lead = None
    client = stage.client()
    body = bytes(range(256)) * 2048
    client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body))
    lease = stage.event("lease")["lease"]
    client.sock.setblocking(False)
    sent = client.sock.send(body)
    client.sock.setblocking(True)
    stage.settle()
    stage.grant(lease, stage.server)
    server = stage.server.accept()
    server.head()
    client.send(body[sent:])
    assert server.exactly(len(body)) == body
    server.send(OK)
    assert client.answer()[0] == 200


def test_requests_with_the_same_parameters_share_a_lease_and_others_do_not(make_stage):
    stage = make_stage(limits={"LINGER_S": LONG, "LEASE_AGE_S": LONG})
    stage.route(parameters=["size", "word"])
    client, server = stage.client(), None
    for query in (b"?size=1&x=1", b"?x=2&s%69ze=1&", b"?word=a+b%26&size=1", b"?size=1", b""):
        client.get(b"/" + query)
        server = server or stage.server.accept()
        assert server.head().startswith(b"GET /%b " % query)
        server.send(OK)
        assert client.answer()[0] == 200
    leases = [stage.event("lease")["parameters"] for _ in range(3)]
    assert leases == [{"size": b"1"}, {"size": b"1", "word": b"a b&"}, {}]
    assert stage.events.empty()


def test_a_parameter_that_is_given_twice_is_refused_and_asks_nobody(make_stage):
    stage = make_stage()
    stage.route(parameters=["size"])
    client = stage.client()
    for _ in range(2):  # the connection goes on
        client.get(b"/?size=1&%73ize=2")
        assert client.answer()[::2] == (400, b"the parameter `size` is given twice\n")
    assert stage.events.empty()
