"""Pools beside a function's own, as clients and user code in containers ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire import frames
from volantd.hub.pools import variants

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

BASE = 1 << 16
METHODS = [
    {"name": name, "is_async": False, "is_generator": False, "web": None}
    for name in ("first", "second")
]


def tell(client: Any, number: int, *, base: int = BASE, parameters: bytes = b"",
         express: bytes = b"\0" * 8, **options: Any) -> int:  # fmt: skip
    """Say what a number means, as the SDK does, and return it."""
    client.event(
        "variant", base=base, number=number, parameters=parameters, options=options, express=express
    )
    return number


@pytest.fixture
def cls(world: World, client: Client) -> Client:
    client.open({**function_spec("C"), "methods": METHODS})
    return client


def test_equal_ones_are_one_pool_and_different_ones_are_not(world: World, cls: Client):
    [app] = world.hub.apps.values()
    for number, parameters in ((70, b"a"), (71, b"a"), (72, b"b")):
        tell(cls, number, parameters=parameters)
    tell(cls, 73, parameters=b"a", timeout_s=5.0)
    world.turn()
    assert len(app.variants) == 3
    first = app.numbers[70]
    assert app.numbers[71] is first
    assert (first.parameters, first.options["min_containers"]) == (b"a", 0)
    assert app.numbers[73].options["timeout_s"] == 5.0


def test_what_is_kept_ready_is_kept_for_the_function_itself(world: World, client: Client):
    client.open(function_spec("f", min_containers=2))
    tell(client, 70, memory_mib=64)
    world.turn()
    [app] = world.hub.apps.values()
    assert app.numbers[70].options["min_containers"] == 0


def test_the_method_travels_with_each_input(world: World, cls: Client):
    for method in (0, 1):
        cls.call(method, function=BASE | method << frames.METHOD_SHIFT)
    batches = [batch for container in world.containers for batch in container.batches]
    assert [batch.method for batch in batches] == [0, 1]
    cls.call(1, function=BASE | 2 << frames.METHOD_SHIFT)
    assert cls.broken, "there is no third method"


@pytest.mark.parametrize("wrong", [
    {"number": BASE}, {"number": -1}, {"number": 1 << 24}, {"base": -1}, {"parameters": "text"},
    {"parameters": b"x" * (variants.PARAMETERS_BYTES_MAX + 1)}, {"express": b"short"},
    {"name": "other"}, {"min_containers": 5}, {"block_network": False}, {"timeout_s": 0},
    {"timeout_s": "1"}, {"env": 7}, {"max_inputs": 0}, {"batch_size": 5},
])  # fmt: skip
def test_what_no_sdk_sends_ends_the_connection(world: World, client: Client, wrong: Any):
    client.open()
    tell(client, **{"number": 70, **wrong})
    world.turn()
    assert client.broken


def test_one_of_a_function_that_is_not_there_refuses_its_calls(world: World, client: Client):
    client.open()
    number = client.call(1, function=tell(client, 70, base=99))
    with pytest.raises(errors.ExecutionError, match="does not run any more"):
        client.reply(number)
    assert not client.broken


def test_there_are_not_more_than_there_is_room_for(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(variants, "VARIANTS_MAX", 2)
    client.open()
    for number in (70, 71, 72):
        tell(client, number, parameters=bytes([number]))
    refused = client.call(1, function=72)
    with pytest.raises(errors.ResourceExhaustedError, match="has 2 pools beside its functions"):
        client.reply(refused)
    monkeypatch.setattr(variants, "VARIANTS_MAX", 10)
    monkeypatch.setattr(variants, "VARIANTS_BYTES_MAX", 1)
    refused = client.call(1, function=tell(client, 73, parameters=b"x"))
    with pytest.raises(errors.ResourceExhaustedError, match="there is no room for more"):
        client.reply(refused)


def test_user_code_is_held_to_the_limits_of_its_container(world: World, client: Client):
    client.open(function_spec("outer", memory=(64, 128), block_network=True))
    client.call(1)
    user = world.containers[-1].user
    tell(user, 1 << 17, base=0, memory_mib=4096, memory_limit_mib=8192)
    world.turn()
    [app] = world.hub.apps.values()
    [made] = app.variants.values()
    assert made.options["memory_limit_mib"] == 128
    assert made.options["memory_mib"] == 128
    assert made.options["block_network"]


def test_they_end_with_their_app(world: World, cls: Client):
    tell(cls, 70, parameters=b"a")
    cls.call(1, function=70)
    [app] = world.hub.apps.values()
    [made] = app.variants.values()
    cls.request("app_close", app_id=app.app_id, reason="enough")
    assert made.function_id not in world.hub.functions
    assert not world.hub.scheduler.has_pool(made.function_id)
