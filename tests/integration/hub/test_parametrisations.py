"""Pools that requests name by parameters in their query, at the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from tests.integration.hub.test_leases import FORM, gateway
from tests.integration.hub.test_variants import tell
from volant.wire import values
from volantd.hub.pools import variants

if TYPE_CHECKING:
    from tests.integration.hub.players import Client
    from tests.integration.hub.test_leases import Gateway
    from tests.integration.hub.world import World

__all__ = ["gateway"]
LABEL = "app-model-ask-dev"


def schema(*rows: list[Any]) -> bytes:
    return values.encode({"constructor": False, "parameters": list(rows)})


def class_spec(*rows: list[Any], **given: Any) -> dict[str, Any]:
    methods = [{"name": "ask", "is_async": False, "is_generator": False, "web": FORM}]
    spec = function_spec("Model", **given)
    return {**spec, "methods": methods, "schema": schema(*rows or (["size", "int", False, None],))}


def pools(world: World) -> list[bytes]:
    [app] = world.hub.apps.values()
    return [variant.parameters for variant in app.variants.values()]


def test_each_set_of_values_has_a_pool_and_spellings_of_one_share_it(
    world: World, client: Client, gateway: Gateway
) -> None:
    client.open(class_spec(["size", "int", False, None], ["loud", "bool", True, False]))
    assert gateway.news("route")[0]["parameters"] == ["size", "loud"]
    gateway.ask(1, LABEL, size=b"4")
    gateway.ask(2, LABEL, size=b"04", loud=b"False")
    gateway.ask(3, LABEL, size=b"5")
    assert [event["lease"] for event in gateway.news("granted")] == [1, 2, 3]
    assert pools(world) == [b"V" + values.encode({"size": 4}), b"V" + values.encode({"size": 5})]


@pytest.mark.parametrize("given", [{}, {"size": b"many"}])
def test_what_makes_no_object_is_refused_and_makes_no_pool(
    world: World, client: Client, gateway: Gateway, given: dict[str, bytes]
) -> None:
    client.open(class_spec())
    gateway.ask(1, LABEL, **given)
    [refused] = gateway.news("refused")
    assert refused["status"] == 400
    assert "`size`" in refused["detail"]
    assert pools(world) == []
    assert world.agent.rows() == []


def test_pools_of_requests_are_limited_and_those_without_a_container_make_room(
    world: World, client: Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "REQUESTED_MAX", 2)
    client.open(class_spec())
    for lease in (1, 2, 3):
        gateway.ask(lease, LABEL, size=b"%d" % lease)
    [refused] = gateway.news("refused")
    assert (refused["lease"], refused["status"]) == (3, 429)
    gateway.release(1)
    world.turn()
    world.containers[0].kill()
    world.turn()
    gateway.ask(4, LABEL, size=b"4")
    assert [event["lease"] for event in gateway.news("granted", "refused")] == [4]
    assert pools(world) == [b"V" + values.encode({"size": at}) for at in (2, 4)]


def test_a_pool_that_calls_use_as_well_never_makes_room(
    world: World, client: Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "REQUESTED_MAX", 1)
    client.open(class_spec())
    gateway.ask(1, LABEL, size=b"1")
    gateway.release(1)
    world.turn()
    world.containers[0].kill()
    tell(client, 70, parameters=b"V" + values.encode({"size": 1}))
    world.turn()
    gateway.ask(2, LABEL, size=b"2")
    gateway.ask(3, LABEL, size=b"3")
    assert [event["lease"] for event in gateway.news("refused")] == [3]
    client.call(1, function=70)
    world.turn()
    assert world.containers[-1].batches != []


@pytest.mark.parametrize(
    "raw",
    [
        b"x", values.encode([]), values.encode({"parameters": 1}),
        schema(["size", "int", False]), schema(["size", "complex", False, None]),
        schema([1, "int", False, None]), schema(["size", ["enum", [1]], False, None]),
        schema(["size", ["enum"], False, None]), schema(["size", "int", 0, None]),
    ],
)  # fmt: skip
def test_parameters_that_no_sdk_describes_are_refused(
    world: World, client: Client, raw: bytes
) -> None:
    client.ask("app_open", app=description({**class_spec(), "schema": raw}))
    world.turn()
    assert client.broken
    assert not world.escaped
