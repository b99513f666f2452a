"""Real traffic with some bits flipped, from clients and from containers: the hub bears it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.integration.hub.players import function_spec
from tests.integration.hub.test_hostile import outcome
from tests.integration.hub.world import World
from volant.wire import frames
from volant.wire.faults import encode_fault

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, Container


def _flipped(data: bytes, chance: random.Random, flips: int) -> bytes:
    damaged = bytearray(data)
    for _ in range(flips):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _record(world: World) -> tuple[list[bytes], list[bytes]]:
    """What a client and its container send in an ordinary run."""
    sent: dict[object, list[bytes]] = {}
    client = world.client(hello=False)
    world.starts = False

    def listen(player: Client | Container) -> None:
        send, said = player.send, sent.setdefault(player, [])

        def recording(data: bytes, *fds: int) -> None:
            said.append(data)
            send(data, *fds)

        player.send = recording  # type: ignore[method-assign]  # listens in

    listen(client)
    client.hello("0123456789abcdef")
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    [container] = world.containers
    listen(container)
    container.ready()
    world.turn()
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    client.spawn(2)
    client.get(f"fc-0123456789abcdef{number + 1:010x}", wait=False)
    batch = container.batches[0]
    container.outcome(batch, [(frames.FAULT, encode_fault(ValueError("x")))])
    client.event("cancel", call=number)
    client.submit([3, 4, 5])
    world.turn()
    container.event("returned", batch=container.batches[0].key, count=0)
    client.request("app_list")
    client.close()
    return sent[client], sent[container]


@pytest.fixture
def traffic(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], list[bytes]]:
    world = World(tmp_path_factory.mktemp("recorded"))
    try:
        return _record(world)
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(6))
def test_recorded_traffic_of_a_client_with_flipped_bits(
    small_world: World, traffic: tuple[list[bytes], list[bytes]], seed: int
):
    world, chance = small_world, random.Random(seed)
    stream = b"".join(traffic[0])
    for _ in range(40):
        client = world.client(hello=False)
        for at in range(0, len(damaged := _flipped(stream, chance, chance.randrange(1, 6))), 997):
            client.send(damaged[at : at + 997])
            if chance.random() < 0.3:
                world.turn()
        world.turn()
        client.close()
        world.turn()
        assert not world.escaped, world.escaped
    assert not world.hub.apps, "every client is gone, and none was detached"


@pytest.mark.parametrize("seed", range(4))
def test_recorded_traffic_of_a_container_with_flipped_bits(
    small_world: World, traffic: tuple[list[bytes], list[bytes]], seed: int
):
    world, chance = small_world, random.Random(seed)
    client = world.client()
    client.open(function_spec(max_containers=1))
    for _ in range(40):
        world.serve, world.starts = None, False
        number = client.submit([1, 2])
        world.until(lambda: world.live() and world.live()[0].start)
        [container] = world.live()
        for frame in traffic[1]:
            container.send(_flipped(frame, chance, chance.randrange(3)))
            if chance.random() < 0.7:
                world.turn()
        if container.batches:
            container.send(_flipped(outcome(container), chance, 1))
        world.serve, world.starts = (lambda x: x), True
        world.turn()
        for held in world.live():
            held.exit(9)
        # It may have lied about results, which are its app's own. But nothing waits for ever.
        world.until(lambda: not world.hub.calls)
        assert number not in client.replies
        assert not world.escaped, world.escaped
        for idle in world.live():
            idle.exit(9)
        world.turn()
