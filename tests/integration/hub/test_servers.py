"""Servers at the hub: requests that wait for no container, and sessions that stay with one."""

from __future__ import annotations

import pytest

from tests.integration.hub.players import description, function_spec
from tests.integration.hub.test_leases import FORM, Gateway, gateway
from volant.errors import InvalidError
from volant.wire.faults import encode_fault
from volantd.agent.ports.tunnels import SHARED_NOTICE
from volantd.hub.web import sessions
from volantd.hub.web.sessions import Sessions

__all__ = ["gateway"]

#: The number of the one function.
FIRST = 1 << 16
PORT = {
    **FORM,
    "kind": "stateless",
    "port": 8000,
    "startup_timeout_s": 30.0,
    "drain_s": 5.0,
    "h2_enabled": False,
}


def server_spec(**options):
    """A server; two requests at once by default."""
    method = {"name": "port", "is_async": False, "is_generator": False, "web": PORT}
    spec = function_spec("f", **options)
    shared = {**spec["options"], "max_inputs": 2, "has_exit": True}
    return {**spec, "options": shared, "methods": [method]}


def answers(gateway):
    return [
        (event["lease"], event["container"] if event["op"] == "granted" else event["status"])
        for event in gateway.news("granted", "refused")
    ]


def ask(gateway, lease, session=b""):
    gateway.ask(lease, session=session)
    [(number, answer)] = answers(gateway)
    assert number == lease
    return answer


def test_a_request_without_a_container_is_refused_and_one_starts(world, client, gateway):
    world.starts = False
    client.open(server_spec())
    assert ask(gateway, 1) == 503
    assert ask(gateway, 2) == 503
    [container] = world.containers
    container.ready()
    world.turn()
    [row] = world.agent.rows()
    assert row["state"] == "idle"
    assert ask(gateway, 3) == row["container_id"]


def test_a_server_has_the_address_of_its_class(client, gateway, world):
    world.hub.door.url_of = "http://127.0.0.1:1/{}/".format
    reply = client.request("app_open", app=description(server_spec()))
    assert reply["urls"] == [["f", None, "http://127.0.0.1:1/app-f-dev/"]]
    [route] = gateway.news("route")
    assert route["stateless"] is True


def test_a_request_above_the_maximum_is_refused_and_another_container_starts(
    world, client, gateway
):
    client.open(server_spec(min_containers=1, max_containers=2))
    first = ask(gateway, 1)
    assert ask(gateway, 2) == first
    world.starts = False
    assert ask(gateway, 3) == 429
    world.containers[1].ready()
    world.turn()
    assert ask(gateway, 4) not in (first, 429)
    assert ask(gateway, 5) not in (first, 429)
    assert ask(gateway, 6) == 429
    gateway.release(1)
    world.turn()
    assert ask(gateway, 7) == first


def test_requests_of_a_session_have_one_container(world, client, gateway):
    client.open(server_spec(min_containers=2, max_containers=2))
    mine = ask(gateway, 1, b"mine")
    assert ask(gateway, 2, b"mine") == mine
    assert ask(gateway, 3, b"mine") == 429
    assert ask(gateway, 4, b"other") != mine
    gateway.release(1)
    assert ask(gateway, 5, b"mine") == mine


def test_a_session_gets_another_container_when_its_own_is_gone(world, client, gateway):
    client.open(server_spec(min_containers=2, max_containers=2))
    mine = ask(gateway, 1, b"mine")
    at = [row["container_id"] for row in world.agent.rows()].index(mine)
    world.containers[at].kill()
    other = ask(gateway, 2, b"mine")
    assert other not in (mine, 429, 503)
    assert ask(gateway, 3, b"mine") == other


def test_what_keeps_a_server_from_starting_is_told_to_the_next(world, client, gateway):
    world.starts = False
    client.open(server_spec())
    assert ask(gateway, 1) == 503
    world.containers[0].refuse(encode_fault(ValueError("no such model")))
    world.turn()
    gateway.ask(2)
    [refused] = gateway.news("refused")
    assert refused["status"] == 503
    assert "ValueError: no such model" in refused["detail"]


def test_requests_may_finish_for_the_grace_period_when_the_app_ends(world, client, gateway):
    client.open(server_spec(min_containers=1))
    ask(gateway, 1)
    client.close()
    assert [event["cut_s"] for event in gateway.news("revoked")] == [5.0]


@pytest.mark.parametrize(("address", "count"), [("127.0.0.1", 1), ("127.20.0.1", 0), ("", 0)])
def test_a_second_container_where_ports_are_shared_is_told_of(
    world, client, gateway, address, count
):
    world.address = address
    client.open(server_spec(min_containers=2))
    world.turn()
    told = [event["text"] for event in client.events if event["op"] == "notice"]
    assert told == [SHARED_NOTICE] * count


def test_what_waits_in_place_of_requests_ends_with_its_app_and_its_gateway(world, client, gateway):
    world.starts = False
    client.open(server_spec())
    assert ask(gateway, 1) == 503
    gateway.close()
    world.turn()
    assert not world.hub.door.leases.pools()
    another = Gateway(world)
    another.news()
    assert ask(another, 1) == 503
    client.close()
    world.turn()
    assert not world.hub.door.leases.pools()


def test_the_target_of_a_server_changes_within_its_maximum(client, gateway):
    client.open(server_spec())
    reply = client.request("function_update", number=FIRST, target_inputs=1)
    assert reply["target_inputs"] == 1
    with pytest.raises(InvalidError, match=r"the target \(3\) is above what a container takes"):
        client.request("function_update", number=FIRST, target_inputs=3)


def test_sessions_that_nobody_uses_are_forgotten(monkeypatch):
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    known = Sessions()
    for at, name in enumerate((b"a", b"b", b"a", b"c")):
        known.note("fu-1", name, "ta-1", float(at))
    assert [known.find("fu-1", name) for name in (b"a", b"b", b"c")] == ["ta-1", "", "ta-1"]
    known.note("fu-2", b"a", "ta-2", 5.0 + sessions.SESSION_IDLE_S)
    assert len(known) == 1
