"""Apps that are deployed: what is kept when, what user code in a container may deploy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from tests.integration.hub.test_nested import inside
from tests.integration.hub.test_uploads import file_of, send
from tests.integration.hub.world import World, silence_logs
from volant import errors
from volant.wire import values
from volantd.hub import blobs, checks
from volantd.hub.deployed import inside as rules
from volantd.hub.deployed.keeping import Keeping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.hub.world import Client, Container

SOURCES = {"1": b"one", "2": b"two"}


class Begin:
    """Starts daemons of a home, one after the other; each serves what was deployed there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._worlds: list[World] = []

    def __call__(self) -> World:
        world = self.unopened()
        world.loop.run_until_complete(world.services.deployments.open())
        return world

    def unopened(self) -> World:
        """One that has not looked what there is."""
        self.end()
        silence_logs()
        world = World(self.home)
        self._worlds.append(world)
        deployments = world.services.deployments
        deployments.opened = world.loop.create_future()
        deployments.keeping.read = world.loop.create_future()
        return world

    def end(self) -> None:
        """End the last one."""
        while self._worlds:
            world = self._worlds.pop()
            world.close()
            world.services.database.close()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    made = Begin(tmp_path)
    yield made
    made.end()


@pytest.fixture
def shop(begin: Begin) -> World:
    """A daemon that has a database."""
    return begin()


def asked(client: Client, **fields: Any) -> int:
    """Ask for a version to be deployed; it stays in the air."""
    base = {"strategy": "rolling", "deployed_by": "tests", "name": "shop"}
    return client.ask("app_deploy", **{**base, **fields})


def answered(client: Client, number: int) -> dict[str, Any]:
    client.world.until(lambda: number in client.replies)
    return client.reply(number)


def staged(client: Client, *functions: dict[str, Any], **fields: Any) -> str:
    described = description(*functions, **{"base": 1 << 17, **fields})
    return str(client.request("app_open", app=described, staged=True)["app_id"])


def version(client: Client, which: str, **fields: Any) -> str:
    """Stage a version with a source of its own."""
    app_id = staged(client, files=[file_of(SOURCES[which])], **fields)
    send(client, SOURCES[which])
    return app_id


def deployed(client: Client, app_id: str, **fields: Any) -> dict[str, Any]:
    return answered(client, asked(client, app_id=app_id, **fields))


class Stopping(Keeping):
    """Goes no further than to one step, as if the daemon died there, until it is let go on."""

    def __init__(self, world: World, step: str) -> None:
        services = world.services
        super().__init__(services.database, services.contents, services.blobs)
        self.read.set_result(None)
        self.step = step
        self.is_there = False
        self.goes_on = asyncio.get_running_loop().create_future()

    async def put(self, description: dict[str, Any], name: str) -> None:
        await self._pass("imported")
        await super().put(description, name)
        await self._pass("contents kept")

    async def add(self, *given: Any) -> None:
        await super().add(*given)
        await self._pass("version kept")

    async def _pass(self, step: str) -> None:
        if step == self.step:
            self.is_there = True
            await self.goes_on


def stopped_at(world: World, step: str) -> Stopping:
    async def make() -> Stopping:
        return Stopping(world, step)

    keeping = world.loop.run_until_complete(make())
    world.services.deployments.keeping = keeping
    return keeping


@pytest.mark.parametrize(
    ("step", "served"), [("imported", 1), ("contents kept", 1), ("version kept", 2)]
)
def test_a_deployment_is_there_whole_or_not_at_all_when_the_daemon_dies(
    begin: Begin, step: str, served: int
):
    first = begin()
    client = first.client()
    deployed(client, version(client, "1"))
    keeping = stopped_at(first, step)
    asked(client, app_id=version(client, "2"))
    first.until(lambda: keeping.is_there)
    client = begin().client()
    assert answered(client, client.ask("app_lookup", app="shop"))["version"] == served
    contents = [path for path in (begin.home / "blobs").rglob("*") if path.is_file()]
    assert {path.read_bytes() for path in contents} >= set([b"one", b"two"][:served])
    assert deployed(client, version(client, "2"))["version"] == 2


def test_look_ups_do_not_wait_until_all_versions_were_read(begin: Begin):
    client = begin().client()
    for which in ("1", "2"):
        deployed(client, version(client, which))
    second = begin.unopened()
    deployments = second.services.deployments
    opening = second.loop.create_task(deployments.open())
    second.loop.run_until_complete(deployments.opened)
    assert not deployments.keeping.read.done()
    assert second.client().request("app_lookup", app="shop")["version"] == 2
    second.loop.run_until_complete(opening)
    assert deployments.keeping.read.done()


def test_a_version_whose_client_is_gone_is_not_served(shop: World):
    client, other = shop.client(), shop.client()
    deployed(client, version(client, "1"))
    keeping = stopped_at(shop, "contents kept")
    asked(client, app_id=version(client, "2"))
    shop.until(lambda: keeping.is_there)
    client.close()
    shop.turn()
    keeping.goes_on.set_result(None)
    assert deployed(other, version(other, "1"))["changed"] is False
    assert other.request("app_lookup", app="shop")["version"] == 1


def test_one_whose_client_goes_when_it_is_kept_is_served(shop: World):
    client, other = shop.client(), shop.client()
    keeping = stopped_at(shop, "version kept")
    asked(client, app_id=version(client, "1"))
    shop.until(lambda: keeping.is_there)
    client.close()
    shop.turn()
    keeping.goes_on.set_result(None)
    assert deployed(other, version(other, "1"))["changed"] is False


def test_contents_for_which_there_is_no_room_are_not_waited_for(shop: World, tmp_path: Path):
    """The file of a large one cannot be made; what came before goes on."""
    client = shop.client()
    deployed(client, version(client, "1"))
    shop.services.blobs.directory = str(tmp_path / "none")
    client = shop.client()
    large = bytes(blobs.IN_MEMORY_MAX + 1)
    app_id = staged(client, files=[file_of(large)])
    send(client, large)
    with pytest.raises(errors.ResourceExhaustedError, match="a file could not be taken"):
        deployed(client, app_id)
    assert client.request("app_lookup", app="shop")["version"] == 1


# -- from inside


@pytest.fixture
def container(shop: World) -> Container:
    """A container of an app called `app`."""
    return inside(shop, shop.client(), memory=(64, 128), block_network=True)


def test_what_a_container_deploys_outlives_it_and_keeps_to_its_limits(
    begin: Begin, container: Container
):
    """Behaviour 135. The next daemon knows whose it is."""
    user = container.user
    told = deployed(user, staged(user, function_spec("f", memory=512), detach=True))
    assert (told["version"], told["changed"]) == (1, True)
    second = begin()
    client = second.client()
    assert client.request("app_lookup", app="shop")["deployed_by"] == "container of app"
    [app] = second.hub.apps.values()
    options = app.functions["f"].options
    assert (options["block_network"], options["memory_limit_mib"]) == (True, 128)
    user = inside(second, client).user
    assert deployed(user, staged(user, function_spec("g")))["version"] == 2


def test_a_container_has_few_bytes_kept(shop: World, container: Container, monkeypatch: Any):
    user = container.user
    deployed(user, version(user, "1"), name="first")
    monkeypatch.setattr(rules, "KEPT_BYTES_MAX", 2 * len(values.encode(description())))
    with pytest.raises(errors.ResourceExhaustedError, match="bytes, at most"):
        deployed(user, version(user, "2"), name="second")


def test_a_container_replaces_nothing_but_what_its_app_has_deployed(
    shop: World, container: Container
):
    client, user = shop.client(), container.user
    deployed(client, staged(client), name="yours")
    with pytest.raises(errors.PermissionDeniedError, match="cannot replace app `yours`"):
        deployed(user, staged(user), name="yours")
    deployed(user, staged(user, function_spec("f")), name="its")
    assert deployed(user, staged(user, function_spec("g")), name="its")["version"] == 2
    stranger = inside_of("other", shop)
    with pytest.raises(errors.PermissionDeniedError, match="of app `other`"):
        deployed(stranger.user, staged(stranger.user), name="its")
    assert deployed(client, staged(client), name="its")["version"] == 3
    with pytest.raises(errors.PermissionDeniedError):
        deployed(user, staged(user), name="its")


def inside_of(name: str, world: World) -> Container:
    client = world.client()
    client.open(function_spec("outer"), name=name)
    client.call(1)
    world.until(lambda: world.containers[-1].batches)
    return world.containers[-1]


def test_an_app_in_a_container_speaks_for_the_one_that_the_user_has_started(
    shop: World, container: Container
):
    """By whatever name it calls itself."""
    user = container.user
    user.open(function_spec("f"), name="other", base=1 << 20)
    user.call(1, function=1 << 20)
    shop.until(lambda: len(shop.containers) == 2 and shop.containers[1].batches)
    below = shop.containers[1].user
    assert deployed(below, staged(below))["version"] == 1
    assert shop.client().request("app_lookup", app="shop")["deployed_by"] == "container of app"


def test_a_container_deploys_few_apps(shop: World, container: Container):
    user = container.user
    for index in range(rules.APPS_MAX):
        deployed(user, staged(user), name=f"a{index}")
    with pytest.raises(errors.ResourceExhaustedError, match="16 apps"):
        deployed(user, staged(user), name="more")
    assert deployed(user, staged(user, function_spec("g")), name="a0")["version"] == 2


def test_what_containers_have_deployed_keeps_few_containers_ready(
    shop: World, container: Container
):
    user = container.user
    most = checks.NESTED_KEPT_MAX
    deployed(user, staged(user, function_spec("f", buffer_containers=most - 1)), name="a")
    with pytest.raises(errors.ResourceExhaustedError, match=f"{most + 1} containers"):
        deployed(user, staged(user, function_spec("f", buffer_containers=2)), name="b")


@pytest.mark.parametrize("op", ["app_roll", "app_history", "app_stop", "app_update"])
def test_a_container_may_not_do_more_with_what_is_deployed(container: Container, op: str):
    with pytest.raises(errors.InvalidError, match="knows no request"):
        container.user.request(op, app="shop")
