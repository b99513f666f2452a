"""Terminals: who may join whose, in which turn, and what becomes of the descriptors."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.hub.world import Client, Container, World

TERMINAL = {"size": [40, 100], "env": {"TERM": "xterm"}}


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal."""
    ends = os.openpty()
    yield ends
    for fd in ends:
        os.close(fd)


def containers(world: World, client: Client, count: int, **fields: Any) -> list[Container]:
    """Containers of an app of the client, each busy."""
    client.open(function_spec(max_containers=count), **{"interactive": True, **fields})
    for _ in range(count):
        client.call(1)
    return world.containers[-count:]


def join(world: World, container: Container, *fds: int) -> int:
    number = container.user.ask("terminal_join", *fds)
    world.turn()
    return number


def is_over(lifeline: int) -> bool:
    return bool(select.select([lifeline], [], [], 0)[0])


def test_a_container_is_joined_to_the_terminal_of_its_client(
    world: World, client: Client, terminal: tuple[int, int]
):
    [container] = containers(world, client, 1)
    offer = client.ask("terminal_offer", **TERMINAL)
    number = join(world, container, terminal[0])
    assert container.user.reply(number)["env"] == {"TERM": "xterm"}
    lifeline, leader = client.ends[offer]
    assert os.get_terminal_size(terminal[1]) == (100, 40)
    os.write(terminal[1], b"asked")
    assert os.read(leader, 10) == b"asked"
    assert not is_over(lifeline)
    container.user.event("terminal_left")
    world.turn()
    assert is_over(lifeline)


def test_who_may_open_no_terminal_gets_an_end_of_one(world: World, client: Client):
    [container] = containers(world, client, 1)
    offer = client.ask("terminal_offer", **TERMINAL)
    number = join(world, container)
    assert container.user.reply(number)
    [end] = container.user.ends[number]
    os.write(end, b"asked")
    assert os.read(client.ends[offer][1], 10) == b"asked"


def test_containers_wait_for_their_turn(world: World, client: Client):
    first, second, third = containers(world, client, 3)
    offer = client.ask("terminal_offer", **TERMINAL)
    numbers = [join(world, one) for one in (first, second, third)]
    assert [number in one.user.replies for one, number in
            zip((first, second, third), numbers, strict=True)] == [True, False, False]  # fmt: skip
    assert len(client.ends[offer]) == 2
    second.exit(0)  # one that waits: nothing changes
    world.turn()
    assert len(client.ends[offer]) == 2
    first.user.event("terminal_left")
    world.turn()
    assert third.user.reply(numbers[2])
    assert len(client.ends[offer]) == 4
    assert [is_over(client.ends[offer][index]) for index in (0, 2)] == [True, False]


def test_the_end_of_a_container_ends_its_turn(world: World, client: Client):
    first, second = containers(world, client, 2)
    offer = client.ask("terminal_offer", **TERMINAL)
    join(world, first)
    number = join(world, second)
    first.exit(9)
    world.turn()
    assert second.user.reply(number)
    assert is_over(client.ends[offer][0])


def test_the_end_of_a_client_hangs_up(world: World, client: Client, terminal: tuple[int, int]):
    [container] = containers(world, client, 1)
    client.ask("terminal_offer", **TERMINAL)
    join(world, container)
    [end] = container.user.ends.popitem()[1]
    client.close()
    world.turn()
    assert os.read(end, 1) == b"", "nobody has the other end"
    os.close(end)


def test_without_an_offer_there_is_nothing_to_join(
    world: World, client: Client, terminal: tuple[int, int]
):
    [container] = containers(world, client, 1)
    number = join(world, container, terminal[0])
    with pytest.raises(errors.InvalidError, match="runs without one"):
        container.user.reply(number)


def test_an_app_that_is_not_interactive_joins_nothing(world: World, client: Client):
    [container] = containers(world, client, 1, interactive=False)
    client.ask("terminal_offer", **TERMINAL)
    number = join(world, container)
    with pytest.raises(errors.InvalidError, match="runs without one"):
        container.user.reply(number)


def test_an_app_of_a_container_is_never_interactive(world: World, client: Client):
    [container] = containers(world, client, 1)
    app_id = container.user.open(function_spec("inner"), interactive=True)
    assert not world.hub.apps[app_id].interactive


def test_one_container_has_one_turn_at_a_time(world: World, client: Client):
    [container] = containers(world, client, 1)
    client.ask("terminal_offer", **TERMINAL)
    join(world, container)
    number = join(world, container)
    with pytest.raises(errors.InvalidError, match="already"):
        container.user.reply(number)


@pytest.mark.parametrize("what", ["pipe", "file", "end"])
def test_a_descriptor_that_is_no_terminals_ends_its_container(
    world: World, client: Client, terminal: tuple[int, int], what: str
):
    [container] = containers(world, client, 1)
    client.ask("terminal_offer", **TERMINAL)
    pipe, null = os.pipe(), os.open("/dev/null", os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    container.user.ask("terminal_join", {"pipe": pipe[0], "file": null, "end": terminal[1]}[what])
    world.turn()
    assert container.user.broken
    assert len(os.listdir("/proc/self/fd")) <= before, "nothing of it is kept"
    for fd in (*pipe, null):
        os.close(fd)


def test_a_descriptor_with_another_request_is_closed(world: World, client: Client):
    reads, writes = os.pipe()
    client.ask("app_list", writes)
    world.turn()
    os.close(writes)
    assert os.read(reads, 1) == b""
    os.close(reads)


GOOD = {"container": "ta-none", "argv": ["sh"], "env": {"TERM": "x"}, "terminal": [24, 80]}
BAD = {
    "argv": ["x", [], [""], [1], ["a\0b"], None],
    "env": [1, {"A": 1}, {"": "x"}, {"A=B": "x"}, {"A": "\0"}],
    "terminal": ["x", [], [1], [1, 2, 3], ["a", "b"], [-1, 80], [24, 1 << 40]],
    "container": [None, 7],
}


def test_a_container_that_is_not_there_is_named(world: World, client: Client):
    with pytest.raises(errors.NotFoundError, match="ta-none"):
        client.request("container_exec", **GOOD)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_command_that_makes_no_sense_ends_its_client(
    world: World, client: Client, name: str, value: Any
):
    client.ask("container_exec", **{**GOOD, name: value})
    world.turn()
    assert client.broken


@pytest.mark.parametrize("name", sorted(GOOD))
def test_no_field_of_a_command_may_be_missing(world: World, client: Client, name: str):
    client.ask("container_exec", **{key: one for key, one in GOOD.items() if key != name})
    world.turn()
    assert client.broken


@pytest.mark.parametrize("words", [["x"] * 10_001, ["x" * (1 << 17) + "x"]])
def test_a_command_that_is_too_long_is_refused(world: World, client: Client, words: list[str]):
    with pytest.raises(errors.InvalidError, match="a command"):
        client.request("container_exec", **{**GOOD, "argv": words})


def test_a_shell_of_no_function_is_refused(world: World, client: Client):
    with pytest.raises(errors.NotFoundError):
        client.request("function_shell", **{**GOOD, "function": 1 << 16})


def test_an_interrupt_of_no_command_is_nothing(world: World, client: Client):
    client.event("command_interrupt", command=7)
    world.turn()
    assert not client.broken


@pytest.mark.parametrize("fields", [{}, {"command": "x"}, {"command": -1}])
def test_an_interrupt_that_makes_no_sense_ends_its_client(
    world: World, client: Client, fields: dict[str, Any]
):
    client.event("command_interrupt", **fields)
    world.turn()
    assert client.broken


@pytest.mark.parametrize("op", ["container_exec", "function_shell", "terminal_offer"])
def test_user_code_in_containers_may_not_ask_for_it(world: World, client: Client, op: str):
    [container] = containers(world, client, 1)
    with pytest.raises(errors.InvalidError, match="knows no request"):
        container.user.request(op, **{**GOOD, **TERMINAL})


def test_a_client_may_not_join_itself(world: World, client: Client):
    with pytest.raises(errors.InvalidError, match="knows no request"):
        client.request("terminal_join")


def test_a_client_offers_one_terminal(world: World, client: Client):
    client.ask("terminal_offer", **TERMINAL)
    client.ask("terminal_offer", **TERMINAL)
    world.turn()
    assert client.broken
