"""Calls and maps: from SUBMIT to RESULT, and what comes instead when there is no result."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire import frames
from volant.wire.payloads import dumps

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World


def square(x: Any) -> Any:
    if x < 0:
        raise ValueError(f"no root of {x}")
    return x * x


def test_a_call_starts_a_container_and_brings_its_result(world: World, client: Client):
    world.serve = square
    client.open()
    assert client.value(client.call(7)) == 49
    assert len(world.containers) == 1
    assert client.value(client.call(8)) == 64
    assert len(world.containers) == 1, "the second call found it idle"


def test_a_container_learns_which_function_it_is(world: World, client: Client):
    app_id = client.open(function_spec("f"), function_spec("g"))
    client.call(1, function=(1 << 16) + 1)
    [container] = world.containers
    assert container.start["function"]["name"] == "g"
    assert container.start["functions"] == {"f": 0, "g": 1}
    assert container.start["env"]["VOLANT_APP_ID"] == container.start["app_id"] == app_id


def test_an_exception_of_the_function_arrives_as_its_own_type(world: World, client: Client):
    world.serve = square
    client.open()
    with pytest.raises(ValueError, match="no root of -1"):
        client.value(client.call(-1))


def test_every_input_of_a_map_has_one_result(world: World, client: Client):
    world.serve = square
    client.open()
    number = client.submit(list(range(100)), flags=frames.OPEN)
    client.submit(list(range(100, 150)), number=number, first=100, flags=0)
    client.submit([], number=number, first=150, flags=frames.LAST)
    world.turn()
    assert [client.value(number, index) for index in range(150)] == [n * n for n in range(150)]
    assert client.deliveries == 150


def test_a_map_goes_on_after_an_exception(world: World, client: Client):
    world.serve = square
    client.open()
    number = client.submit([1, -2, 3])
    world.turn()
    assert (client.value(number, 0), client.value(number, 2)) == (1, 9)
    with pytest.raises(ValueError, match="-2"):
        client.value(number, 1)


def test_inputs_that_are_sent_twice_run_once(world: World, client: Client):
    world.serve = square
    client.open()
    number = client.submit([1, 2, 3], flags=frames.OPEN)
    client.submit([1, 2, 3, 4], number=number, flags=frames.LAST)
    world.turn()
    assert client.deliveries == 4
    assert client.value(number, 3) == 16


def test_a_mapped_payload_is_passed_on_with_its_file(world: World, client: Client):
    client.open()
    kind, payload, fd = dumps(((np.arange(1 << 20),), {}))
    assert fd is not None
    section = frames.items_section([(kind, payload)])
    flags = frames.OPEN | frames.LAST | frames.HAS_FD
    client.send(frames.hot(frames.SUBMIT, flags, 1, 0, 1, 1 << 16, section), fd)
    os.close(fd)
    world.turn()
    [container] = world.containers
    [batch] = container.batches
    assert batch.items == [(kind, payload)]
    kind, payload, fd = dumps(np.arange(1 << 20) * 2)
    container.outcome(batch, [(kind, payload)], fd)
    assert fd is not None
    os.close(fd)
    world.turn()
    assert client.value(1)[3] == 6


def test_a_function_that_nobody_described_is_refused(world: World, client: Client):
    client.open()
    number = client.call(1, function=5)
    with pytest.raises(errors.ExecutionError, match="does not run"):
        client.reply(number)


def test_a_function_whose_app_has_ended_is_refused(world: World, client: Client):
    app_id = client.open()
    client.request("app_close", app_id=app_id, reason="finished")
    kind, payload, fd = dumps(((np.zeros(1 << 20),), {}))
    assert fd is not None
    section = frames.items_section([(kind, payload)])
    flags = frames.OPEN | frames.LAST | frames.HAS_FD
    client.send(frames.hot(frames.SUBMIT, flags, 99, 0, 1, 1 << 16, section), fd)
    client.send(frames.hot(frames.SUBMIT, flags & ~frames.OPEN, 99, 1, 1, 1 << 16, section), fd)
    os.close(fd)
    world.turn()
    with pytest.raises(errors.ExecutionError, match="does not run"):
        client.reply(99)


def test_a_failing_input_is_retried_as_its_function_says(world: World, client: Client):
    attempts = []

    def flaky(x: int) -> int:
        attempts.append(x)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return x

    world.serve = flaky
    client.open(function_spec(retries=2))
    # Retried at once: the wait between attempts is the core's affair, and has its own tests.
    for pool in world.hub.scheduler.state.pools.values():
        object.__setattr__(pool.config.retries, "initial_delay_s", 0.0)
    number = client.call(5)
    world.until(lambda: number in client.results)
    assert client.value(number) == 5
    assert len(attempts) == 3


def test_containers_that_are_wanted_without_calls_start(world: World, client: Client):
    client.open(function_spec(min_containers=3))
    world.turn()
    assert len(world.containers) == 3


def test_calls_of_several_clients_do_not_mix(world: World):
    world.serve = square
    clients = [world.client() for _ in range(3)]
    for client in clients:
        client.open()
    numbers = [client.submit([index]) for index, client in enumerate(clients)]
    world.turn()
    values = [client.value(number) for client, number in zip(clients, numbers, strict=True)]
    assert values == [0, 1, 4]


def test_a_generator_streams_its_values_and_its_end(world: World, client: Client):
    client.open(function_spec("g", generates=True))
    number = client.call(3, flags=frames.STREAM)
    [container] = world.containers
    [batch] = container.batches
    for sequence in range(3):
        section = frames.items_section([(frames.YIELD, dumps(sequence)[1])])
        container.send(frames.hot(frames.OUTCOME, 0, batch.key, sequence, 1, 0, section))
    client.event("credit", call=number, count=256)
    world.turn()
    assert [client.value(number, sequence) for sequence in range(3)] == [0, 1, 2]
    assert container.events == [{"op": "credit", "batch": batch.key, "count": 256}]
    container.outcome(batch, [(frames.EXHAUSTED, b"")])
    world.turn()
    assert client.value(number) is StopIteration


def test_credit_for_a_call_that_is_over_is_dropped(world: World, client: Client):
    client.open()
    client.event("credit", call=77, count=1)
    client.event("something new", call=77)
    world.turn()
    assert not client.broken


def test_a_large_map_is_shared_and_loses_nothing(world: World, client: Client):
    world.serve = square
    client.open()
    number = client.submit(list(range(256)), flags=frames.OPEN)
    for first in range(256, 4096, 256):
        inputs = list(range(first, first + 256))
        client.submit(inputs, number=number, first=first, flags=0)
    client.submit([], number=number, first=4096, flags=frames.LAST)
    world.turn()
    assert client.deliveries == 4096
    assert [client.value(number, n) for n in range(0, 4096, 99)] == [
        n * n for n in range(0, 4096, 99)
    ]
