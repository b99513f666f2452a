"""What containers tell of the modules that they have imported late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.hub.players import function_spec
from volant.wire import frames, values

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, Container, World

HOSTILE: dict[str, dict[str, object]] = {
    "nothing": {}, "a text": {"names": "numpy"}, "numbers": {"names": [7]},
    "no module": {"names": ["os; import this"]}, "a long name": {"names": ["a" * 201]},
    "many": {"names": ["a"] * 101},
}  # fmt: skip


def _tell(container: Container, **fields: object) -> None:
    container.send(frames.control(frames.EVENT, values.encode({"op": "late", **fields})))


def _called(world: World, client: Client) -> tuple[Container, int]:
    """A container that runs an input, and the number of the call."""
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    [container] = world.containers
    container.leaves = False
    world.serve = lambda x: x
    return container, number


def test_what_a_container_tells_is_learnt_for_its_function(world: World, client: Client) -> None:
    container, _ = _called(world, client)
    _tell(container, names=["numpy", "a.b"])
    world.turn()
    told = world.services.zygotes.late.told  # type: ignore[attr-defined]  # played
    assert told == [("f", ("numpy", "a.b"))]
    assert container.signals == []


def test_a_container_tells_once(world: World, client: Client) -> None:
    container, number = _called(world, client)
    for _ in range(2):
        _tell(container, names=["numpy"])
    world.turn()
    assert container.signals == [9]
    assert client.value(number) == 1


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
def test_a_container_that_tells_anything_else_is_killed(
    world: World, client: Client, fields: dict[str, object]
) -> None:
    container, number = _called(world, client)
    _tell(container, **fields)
    world.turn()
    assert container.signals == [9]
    assert client.value(number) == 1
    assert world.services.zygotes.late.told == []  # type: ignore[attr-defined]  # played
