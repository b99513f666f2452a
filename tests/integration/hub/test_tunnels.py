"""Requests for tunnels by user code; what the launcher makes of them is played, ports are real."""

from __future__ import annotations

import itertools
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volantd.agent.ports import tunnels
from volantd.runtime.ports.relays import Relays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.hub.world import Client, Container, World


class PlayedLauncher:
    """Has relays, and notes what is asked of it."""

    def __init__(self) -> None:
        self.relays = Relays(self._request)
        self.asked: list[dict[str, Any]] = []
        #: What a relay that is asked for fails with; None: the test answers.
        self.reason: str | None = ""

    def _request(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        self.asked.append(message)
        for fd in fds:
            os.close(fd)
        if message["op"] == "unrelay":
            self.relays.on_exited(message["id"], 9)
        elif self.reason is not None:
            self.relays.on_started(message["id"], self.reason)


@pytest.fixture
def launcher(world: World) -> PlayedLauncher:
    async def make() -> PlayedLauncher:
        return PlayedLauncher()

    made = world.loop.run_until_complete(make())
    world.services.machine.launcher = made  # type: ignore[assignment]  # as far as it is needed
    return made


def container_of(world: World, client: Client) -> Container:
    client.open(function_spec())
    client.call(1)
    container = world.containers[-1]
    container.user.hello()
    return container


def test_user_code_learns_where_its_port_is_reached(
    world: World, client: Client, launcher: PlayedLauncher
):
    container = container_of(world, client)
    reply = container.user.request("tunnel_open", port=8000)
    assert reply["host"] == "127.0.0.1"
    assert 0 < reply["port"] < 65536
    [asked] = launcher.asked
    assert (asked["address"], asked["port"], asked["enters"]) == ("127.20.0.1", 8000, False)
    assert container.user.request("tunnel_close", tunnel=reply["tunnel"]).keys() == {"id"}
    assert launcher.asked[-1] == {"op": "unrelay", "id": asked["id"]}


def test_a_container_with_a_network_of_its_own_is_entered(
    world: World, client: Client, launcher: PlayedLauncher
):
    container = container_of(world, client)
    container.address = ""
    container.user.request("tunnel_open", port=8000)
    [asked] = launcher.asked
    assert (asked["address"], asked["enters"]) == ("127.0.0.1", True)


def test_a_client_is_told_where_ports_are_shared(
    world: World, client: Client, launcher: PlayedLauncher
):
    container = container_of(world, client)
    container.address = "127.0.0.1"
    container.user.request("tunnel_open", port=8000)
    world.turn()
    told = [event["text"] for event in client.events if event["op"] == "notice"]
    assert told == [tunnels.SHARED_NOTICE]
    assert not launcher.asked[0]["enters"]


def test_a_relay_that_fails_is_told_and_takes_no_place(
    world: World, client: Client, launcher: PlayedLauncher
):
    container = container_of(world, client)
    launcher.reason = "no such process"
    for _ in range(tunnels.TUNNELS_MAX + 1):
        with pytest.raises(errors.ExecutionError, match="port 8000 can be opened: no such process"):
            container.user.request("tunnel_open", port=8000)
    launcher.reason = ""
    assert container.user.request("tunnel_open", port=8000)["tunnel"]


def test_tunnels_are_bounded_those_included_that_open(
    world: World, client: Client, launcher: PlayedLauncher
):
    container = container_of(world, client)
    launcher.reason = None
    for _ in range(tunnels.TUNNELS_MAX):
        container.user.ask("tunnel_open", port=8000)
    world.turn()
    with pytest.raises(errors.ResourceExhaustedError, match="which is the most"):
        container.user.request("tunnel_open", port=8000)
    for message in list(launcher.asked):
        launcher.relays.on_started(message["id"], "")
    world.turn()


def test_what_is_not_open_closes_at_once(world: World, client: Client, launcher: PlayedLauncher):
    user = container_of(world, client).user
    opened = user.request("tunnel_open", port=8000)["tunnel"]
    for tunnel in (opened + 1, opened, opened, (1 << 63) - 1):
        user.request("tunnel_close", tunnel=tunnel)


def test_tunnels_end_with_their_container(world: World, client: Client, launcher: PlayedLauncher):
    container = container_of(world, client)
    container.user.request("tunnel_open", port=8000)
    container.exit(0)
    world.turn()
    assert launcher.asked[-1]["op"] == "unrelay"


def test_no_container_closes_the_tunnels_of_another(
    world: World, client: Client, launcher: PlayedLauncher
):
    one = container_of(world, client)
    other = container_of(world, client)
    assert one is not other
    tunnel = one.user.request("tunnel_open", port=8000)["tunnel"]
    other.user.request("tunnel_close", tunnel=tunnel)
    assert [message["op"] for message in launcher.asked] == ["relay"]


def test_an_address_that_this_machine_has_not_is_named(
    world: World, client: Client, launcher: PlayedLauncher
):
    services = world.services
    services.tunnels = tunnels.Tunnels(services.agent, services.tasks, "192.0.2.1")
    container = container_of(world, client)
    with pytest.raises(errors.ExecutionError, match=r"no port can be opened at '192\.0\.2\.1'"):
        container.user.request("tunnel_open", port=8000)
    assert not launcher.asked


BAD: list[tuple[str, dict[str, object]]] = [
    *itertools.product(
        ["tunnel_open"],
        [{}, {"port": 0}, {"port": 65536}, {"port": -1}, {"port": "1"}, {"port": True},
         {"port": 1.5}, {"port": None}],
    ),
    *itertools.product(
        ["tunnel_close"], [{}, {"tunnel": -1}, {"tunnel": "1"}, {"tunnel": None}, {"tunnel": 1.0}]
    ),
]  # fmt: skip


@pytest.mark.parametrize(("op", "fields"), BAD)
def test_what_makes_no_sense_ends_who_sends_it(
    world: World, client: Client, launcher: PlayedLauncher, op: str, fields: dict[str, object]
):
    user = container_of(world, client).user
    user.ask(op, **fields)
    world.turn()
    assert user.broken
    assert not launcher.asked


def test_a_client_has_no_ports(world: World, client: Client):
    for op in ("tunnel_open", "tunnel_close"):
        with pytest.raises(errors.InvalidError, match="knows no request"):
            client.request(op, port=8000, tunnel=1)


def test_the_daemon_keeps_no_listener(world: World, client: Client, launcher: PlayedLauncher):
    """The relay has it, which is played here, so that the port is free."""
    container = container_of(world, client)
    at = container.user.request("tunnel_open", port=8000)["port"]
    with socket.socket() as again:
        again.bind(("127.0.0.1", at))
