"""Spawned calls that are known by a key, and how many inputs may wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire import frames
from volant.wire.faults import decode_fault
from volantd.hub import retained
from volantd.hub.durable import backlog

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

WHOLE = frames.OPEN | frames.RETAIN | frames.LAST


def _spawn(client: Client, key: str, value: Any = 1, *, function: int = 1 << 16) -> int:
    """Spawn with a key; returns the number that the answer comes under."""
    client.event("spawning", call=client.number + 1, parent=None, key=key)
    return client.submit([value], function=function, flags=WHOLE)


def _id(client: Client, number: int) -> str:
    return str(client.reply(number)["call"])


def test_the_same_key_is_the_same_call_whoever_spawns_it(world: World, client: Client):
    client.open()
    numbers = [_spawn(client, "a", value) for value in (1, 2)]
    world.turn()
    first, again = (_id(client, number) for number in numbers)
    assert first == again
    [container] = world.containers
    number = _spawn_and_turn(world, container.user, "a", function=0)
    assert _id(container.user, number) == first
    assert _id(client, _spawn_and_turn(world, client, "b")) != first
    container.answer(container.batches[0], lambda x: x * 10)
    world.turn()
    assert client.value(client.get(first)) == 10


def _spawn_and_turn(world: World, client: Client, key: str, *, function: int = 1 << 16) -> int:
    number = _spawn(client, key, function=function)
    world.turn()
    return number


def test_a_key_is_known_after_its_call_is_in_the_database_alone(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retained, "CALLS_MAX", 1)
    ran: list[int] = []
    world.serve = lambda x: ran.append(x) or x
    client.open()
    first = _id(client, _spawn_and_turn(world, client, "a"))
    for number in range(3):
        client.spawn(number + 10)
    assert first.removeprefix("fc-") not in world.hub.calls
    assert _id(client, _spawn_and_turn(world, client, "a")) == first
    assert ran == [1, 10, 11, 12]
    assert client.value(client.get(first)) == 1


def test_a_key_belongs_to_a_function(world: World, client: Client):
    client.open(function_spec(), function_spec("g"))
    numbers = [_spawn(client, "a", function=(1 << 16) + index) for index in range(2)]
    world.turn()
    assert len({_id(client, number) for number in numbers}) == 2


@pytest.mark.parametrize("key", ["", "x" * 501, 7, b"x"])
def test_a_key_that_is_none_ends_the_connection(world: World, client: Client, key: Any):
    client.event("spawning", call=1, parent=None, key=key)
    world.turn()
    assert client.broken
    world.check()


def test_announcements_are_bounded(world: World, client: Client):
    for number in range(1200):
        client.event("spawning", call=number, parent=None, key="x")
    world.turn()
    [session] = [one for one in world.hub.sessions if one.ahead]
    assert len(session.ahead) == 1000


@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [("PENDING_INPUTS_MAX", 3, "3 inputs of `f` have not finished, at most 3"),
     ("PENDING_BYTES_MAX", 200, "at most 200 may")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_until_there_is_room(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, told: str
):
    monkeypatch.setattr(backlog, limit, value)
    client.open(function_spec(max_containers=1))
    refused = None
    for _ in range(20):
        number = client.submit([1], flags=WHOLE)
        world.turn()
        if "fault" in client.replies[number]:
            refused = client.replies[number]
            break
    assert refused is not None
    error = decode_fault(refused["fault"])
    assert isinstance(error, errors.ResourceExhaustedError)
    assert told in str(error)
    world.serve = lambda x: x
    [container] = world.containers
    for batch in list(container.batches):
        container.answer(batch, world.serve)
    world.turn()
    client.spawn(2)
    assert world.hub.durable.backlog.bytes == 0


def test_the_rest_of_many_inputs_is_taken_when_it_is_sent_again(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(backlog, "PENDING_INPUTS_MAX", 4)
    client.open(function_spec(max_containers=1))
    number = client.submit([0, 1, 2], flags=frames.OPEN | frames.RETAIN)
    client.submit([3, 4], number=number, first=3, flags=0)
    client.submit([5], number=number, first=5, flags=0)
    client.submit([], number=number, first=6, flags=frames.LAST)
    world.turn()
    assert client.replies.pop(number)["from"] == 3
    world.serve = lambda x: x * 2
    [container] = world.containers
    for batch in list(container.batches):
        container.answer(batch, world.serve)
    world.turn()
    client.submit([3, 4], number=number, first=3, flags=frames.OPEN | frames.RETAIN)
    client.submit([5], number=number, first=5, flags=0)
    client.submit([], number=number, first=6, flags=frames.LAST)
    world.turn()
    assert client.reply(number) == {"id": number}
    call_id = f"fc-{client.session}{number:010x}"
    assert [client.value(client.get(call_id, at), at) for at in range(6)] == [0, 2, 4, 6, 8, 10]
