"""Sessions of servers that own a container, at the hub."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.test_leases import gateway
from tests.integration.hub.test_servers import FIRST, PORT, answers, ask, server_spec
from volant.errors import (
    ExecutionError,
    InvalidError,
    NotFoundError,
    ResourceExhaustedError,
)
from volant.wire.faults import encode_fault
from volantd.hub.web import dedicated

if TYPE_CHECKING:
    from tests.integration.hub.players import Client
    from tests.integration.hub.test_leases import Gateway
    from tests.integration.hub.world import World

__all__ = ["gateway"]


def sessioned_spec(**options: Any) -> dict[str, Any]:
    """A server whose sessions own containers, of two requests each."""
    spec: dict[str, Any] = server_spec(**options)
    [method] = spec["methods"]
    method["web"] = {**PORT, "session_requests_max": 2}
    return {**spec, "options": {**spec["options"], "max_inputs": 1, "single_use": True}}


def fields_of(name: str, **more: Any) -> dict[str, Any]:
    return {
        "number": FIRST, "session": f"session-{name:>010}", "token": f"token-of-{name:>010}",
        "idle_timeout_s": 600.0, **more,
    }  # fmt: skip


def key_of(name: str) -> bytes:
    return hashlib.sha256(f"session-{name:>010}".encode()).digest()


def start(client: Client, name: str, **more: Any) -> bytes:
    client.request("session_start", **fields_of(name, **more))
    return key_of(name)


def end(client: Client, name: str) -> None:
    client.request("session_terminate", number=FIRST, token=fields_of(name)["token"])


def test_a_session_has_a_container_that_nobody_else_gets(
    world: World, client: Client, gateway: Gateway
) -> None:
    client.open(sessioned_spec())
    assert ask(gateway, 1, b"nobody") == 404
    assert world.agent.rows() == []
    mine, yours = start(client, "mine"), start(client, "yours")
    first, second = ask(gateway, 2, mine), ask(gateway, 3, yours)
    assert first != second
    assert ask(gateway, 4, mine) == first
    assert ask(gateway, 5, mine) == 429
    gateway.release(4)
    assert ask(gateway, 6, mine) == first
    assert {row["state"] for row in world.agent.rows()} == {"busy"}


def test_the_end_of_a_session_ends_its_requests_and_its_container(
    world: World, client: Client, gateway: Gateway
) -> None:
    client.open(sessioned_spec())
    mine = start(client, "mine")
    ask(gateway, 1, mine)
    end(client, "mine")
    assert [event["lease"] for event in gateway.news("revoked")] == [1]
    gateway.release(1)
    assert ask(gateway, 2, mine) == 404
    assert [row["state"] for row in world.agent.rows()] in ([], ["stopping"])
    assert len(world.hub.door.leases.dedicated) == 0
    with pytest.raises(NotFoundError, match="has this token"):
        end(client, "mine")


def test_a_session_ends_with_its_container(world: World, client: Client, gateway: Gateway) -> None:
    client.open(sessioned_spec())
    mine = start(client, "mine")
    ask(gateway, 1, mine)
    world.containers[0].kill()
    assert [event["lease"] for event in gateway.news("revoked")] == [1]
    assert ask(gateway, 2, mine) == 404
    assert len(world.hub.door.leases.dedicated) == 0


def test_a_start_that_is_sent_twice_is_one(world: World, client: Client, gateway: Gateway) -> None:
    client.open(sessioned_spec())
    start(client, "mine")
    start(client, "mine")
    assert len(world.containers) == 1
    with pytest.raises(InvalidError, match="another session has this id"):
        start(client, "mine", token="some-other-token-of-it")


def test_a_session_whose_container_does_not_start_is_told_why(
    world: World, client: Client, gateway: Gateway
) -> None:
    world.starts = False
    client.open(sessioned_spec())
    number = client.ask("session_start", **fields_of("mine"))
    world.turn()
    assert ask(gateway, 1, key_of("mine")) == 503
    world.containers[0].refuse(encode_fault(ValueError("no such model")))
    world.turn()
    with pytest.raises(ExecutionError, match="ValueError: no such model"):
        client.reply(number)


def test_one_that_waits_can_be_ended(world: World, client: Client) -> None:
    world.starts = False
    client.open(sessioned_spec())
    number = client.ask("session_start", **fields_of("mine"))
    world.turn()
    end(client, "mine")
    with pytest.raises(ExecutionError, match="the session was ended"):
        client.reply(number)
    assert len(world.hub.door.leases.dedicated) == 0


def test_sessions_outlive_a_gateway_and_end_with_their_app(
    world: World, client: Client, gateway: Gateway
) -> None:
    client.open(sessioned_spec())
    mine = start(client, "mine")
    ask(gateway, 1, mine)
    gateway.close()
    world.turn()
    another = type(gateway)(world)
    another.ask(1, session=mine)
    assert [lease for lease, _ in answers(another)] == [1]
    client.close()
    assert [event["lease"] for event in another.news("revoked")] == [1]
    assert len(world.hub.door.leases.dedicated) == 0


def test_there_are_not_more_sessions_than_there_may_be(
    client: Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedicated, "OWNERS_MAX", 1)
    client.open(sessioned_spec())
    start(client, "mine")
    with pytest.raises(ResourceExhaustedError):
        start(client, "yours")


def test_a_server_without_such_sessions_says_so(client: Client, gateway: Gateway) -> None:
    client.open(server_spec())
    with pytest.raises(InvalidError, match="`f` has no sessions"):
        start(client, "mine")


@pytest.mark.parametrize(
    "wrong",
    [
        {"session": "short"}, {"session": "s" * 129}, {"session": 7}, {"session": "é" * 20},
        {"token": "short"}, {"token": b"x" * 20}, {"number": "1"}, {"number": -1},
        {"idle_timeout_s": 0}, {"idle_timeout_s": "1"}, {"idle_timeout_s": 1e9},
    ],
)  # fmt: skip
def test_what_no_sdk_sends_ends_the_connection(
    world: World, client: Client, wrong: dict[str, Any]
) -> None:
    client.open(sessioned_spec())
    client.ask("session_start", **fields_of("mine", **wrong))
    world.turn()
    assert client.broken
    assert not world.escaped


def test_how_requests_went_is_asked_of_the_gateway(
    world: World, client: Client, gateway: Gateway
) -> None:
    client.open(server_spec())
    number = client.ask("web_counts", number=FIRST)
    [asked] = gateway.news("count")
    assert asked["label"] == "app-f-dev"
    gateway.event(
        "counted", question=asked["question"], since=1.0, statuses={"200": 3},
        quantiles_s=[0.1, 0.2, 0.3],
    )  # fmt: skip
    world.turn()
    reply = client.reply(number)
    assert (reply["since"], reply["statuses"]) == (1.0, {"200": 3})
    number = client.ask("web_counts", number=FIRST)
    gateway.news()
    gateway.close()
    world.turn()
    assert client.reply(number)["statuses"] == {}
    assert client.request("web_counts", number=FIRST)["since"] is None


def test_what_is_asked_about_logs_makes_sense(world: World, client: Client) -> None:
    client.open(server_spec())
    fields: dict[str, Any] = {
        "number": FIRST, "source": None, "tail": None, "since": 0.0, "until": 1e10,
    }  # fmt: skip
    assert client.request("function_logs", **fields)["entries"] == []
    client.ask("function_logs", **{**fields, "source": "nothing"})
    world.turn()
    assert client.broken
