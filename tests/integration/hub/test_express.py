"""The express lane as the hub sees it: who is handed it, what may take it, what it then skips."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.integration.hub.players import function_spec
from volant.wire import frames, values
from volant.wire.payloads import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.hub.world import Client, Container, World

SEVEN = [dumps(7)[:2]]
TOKEN = b"of the f"


@pytest.fixture
def lane(client: Client) -> Iterator[socket.socket]:
    """The client's end of its express lane; the other is the hub's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    offer(client, theirs.fileno())
    theirs.close()
    yield ours
    ours.close()


def offer(client: Client, fd: int, op: str = "express") -> None:
    event = values.encode({"op": op})
    client.send(frames.control(frames.EVENT, event, frames.HAS_FD), fd)
    client.world.turn()


def may_express(container: Container) -> list[bool]:
    """Of each batch that it holds."""
    return [bool(batch.flags & frames.EXPRESS) for batch in container.batches]


def express(container: Container) -> None:
    """Report the one input of the oldest batch as delivered by the lane."""
    batch = container.batches.pop(0)
    flags = frames.ALL_OK | frames.END | frames.EXPRESS
    section = frames.items_section(SEVEN)
    container.send(frames.hot(frames.OUTCOME, flags, batch.key, batch.first, 1, 5, section))
    container.world.turn()


def receive(client: Client, *numbers: int) -> None:
    """Tell the hub that the lane has brought the results of these calls."""
    client.send(frames.receipts([(number, 5) for number in numbers]))


@pytest.mark.usefixtures("lane")
def test_what_a_single_call_answers_by_the_lane_is_not_delivered_again(
    world: World, client: Client
):
    client.open(express=TOKEN)
    number = client.call(1)
    [container] = world.containers
    assert container.has_lane
    assert container.start["express"] == TOKEN
    assert may_express(container) == [True]
    express(container)
    assert number not in client.results
    assert not world.hub.calls, "the books are closed all the same"


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.usefixtures("lane")
def test_no_input_of_a_map_may_take_the_lane(world: World, client: Client, count: int):
    """A map of one input is one too: its client waits for what the hub brings."""
    client.open(function_spec(max_containers=1), express=TOKEN)
    number = client.submit(list(range(count)), flags=frames.OPEN)
    client.submit([], number=number, first=count, flags=frames.LAST)
    world.turn()
    [container] = world.containers
    assert container.has_lane
    assert may_express(container) == [False]


@pytest.mark.usefixtures("lane")
def test_a_map_is_delivered_even_if_its_container_says_it_was(world: World, client: Client):
    client.open(express=TOKEN)
    number = client.submit([1], flags=frames.OPEN)
    client.submit([], number=number, first=1, flags=frames.LAST)
    world.turn()
    express(world.containers[0])
    assert client.value(number) == 7


@pytest.mark.parametrize("flag", [frames.RETAIN, frames.STREAM])
@pytest.mark.usefixtures("lane")
def test_kept_results_and_values_of_generators_may_not_take_it(
    world: World, client: Client, flag: int
):
    client.open(express=TOKEN)
    client.call(1, flags=flag)
    assert may_express(world.containers[0]) == [False]


@pytest.mark.usefixtures("lane")
def test_an_app_whose_output_is_shown_has_no_lane(world: World, client: Client):
    client.open(output=True, express=TOKEN)
    client.call(1)
    [container] = world.containers
    assert not container.has_lane
    assert may_express(container) == [False]


@pytest.mark.usefixtures("lane")
def test_a_call_of_another_container_goes_through_the_hub(world: World, client: Client):
    """It is not for the client whose lane the container has."""
    client.open(express=TOKEN)
    client.call(1)
    [container] = world.containers
    express(container)
    section = frames.items_section([dumps(((1,), {}))[:2]])
    flags = frames.OPEN | frames.LAST
    container.user.send(frames.hot(frames.SUBMIT, flags, 1, 0, 1, 0, section))
    world.turn()
    assert may_express(container) == [False]


@pytest.mark.usefixtures("lane")
def test_what_runs_again_after_a_death_may_take_it_too(world: World, client: Client):
    client.open(express=TOKEN)
    client.call(1)
    world.containers[0].kill()
    world.until(lambda: len(world.containers) == 2 and world.containers[1].batches)
    assert may_express(world.containers[1]) == [True]


@pytest.mark.usefixtures("lane")
def test_each_function_is_told_its_own_token(world: World, client: Client):
    client.open(function_spec("f"), function_spec("g"), express=TOKEN + b"of the g")
    client.call(1, function=1 << 16)
    client.call(1, function=(1 << 16) + 1)
    assert [c.start["express"] for c in world.containers] == [TOKEN, b"of the g"]


@pytest.mark.usefixtures("lane")
def test_an_app_without_tokens_has_no_lane(world: World, client: Client):
    client.open()
    client.call(1)
    assert not world.containers[0].has_lane


def test_a_second_lane_or_another_descriptor_ends_the_connection(world: World, client: Client):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for given in (["express", "express"], ["poke"]):
        stranger = world.client()
        before = len(os.listdir("/proc/self/fd"))
        for op in given:
            offer(stranger, theirs.fileno(), op)
        assert stranger.broken
        assert len(os.listdir("/proc/self/fd")) < before
    ours.close()
    theirs.close()
    assert not client.broken


@pytest.mark.usefixtures("lane")
def test_who_calls_again_before_the_outcome_came_gets_no_second_container(
    world: World, client: Client
):
    """The container was interrupted between its answer to the client and that to the hub."""
    client.open(express=TOKEN)
    first = client.call(1)
    [container] = world.containers
    receive(client, first)
    second = client.call(2)
    assert len(world.containers) == 1
    assert may_express(container) == [True, True]
    express(container)  # the outcome that was late
    express(container)
    assert not client.results
    assert not world.hub.calls
    third = client.call(3)
    container.answer(container.batches[0], lambda value: value)
    world.turn()
    assert (second, client.value(third)) == (first + 1, 3)


@pytest.mark.usefixtures("lane")
def test_a_container_that_dies_after_its_answer_has_nothing_run_again(world: World, client: Client):
    client.open(express=TOKEN)
    number = client.call(1)
    receive(client, number)
    world.turn()
    assert not world.hub.calls
    world.containers[0].kill()
    world.turn()
    assert len(world.containers) == 1


@pytest.mark.usefixtures("lane")
def test_a_receipt_does_not_end_what_runs_again(world: World, client: Client):
    """It is of the run before: the container that has the input now is busy with it."""
    client.open(express=TOKEN)
    number = client.call(1)
    world.containers[0].kill()
    world.until(lambda: len(world.containers) == 2 and world.containers[1].batches)
    receive(client, number)
    world.turn()
    assert world.hub.calls
    express(world.containers[1])
    assert not world.hub.calls


@pytest.mark.usefixtures("lane")
def test_receipts_of_other_calls_change_nothing(world: World, client: Client):
    """Of a map, of a spawned call, of one that is over, of one that never was."""
    client.open(function_spec(max_containers=1), express=TOKEN)
    over = client.call(0)
    express(world.containers[0])
    mapped = client.submit([1, 2], flags=frames.OPEN)
    kept = client.call(1, flags=frames.RETAIN)
    before = len(world.hub.calls)
    receive(client, over, mapped, kept, 1 << 40)
    world.turn()
    assert len(world.hub.calls) == before
    assert not client.broken


@pytest.mark.usefixtures("lane")
def test_a_container_cannot_say_what_its_client_has_received(world: World, client: Client):
    client.open(express=TOKEN)
    number = client.call(1)
    receive(world.containers[0].user, number)
    world.turn()
    assert world.hub.calls


def test_half_a_receipt_ends_the_connection(world: World, client: Client):
    client.send(frames.control(frames.RECEIVED, b"\0" * 13))
    world.turn()
    assert client.broken
