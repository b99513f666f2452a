"""Environments at the hub: names in one mean nothing in another, whatever they are names of."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from tests.integration.hub.test_deploying import Begin, answered, asked as asked_to_deploy
from tests.integration.hub.test_leases import web_spec
from tests.integration.hub.test_objects import asked, get, listed
from volant import errors, ids
from volantd.hub.environments import book
from volantd.hub.environments.record import MAIN, Environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.hub.world import Client, World

_lines = itertools.count(1)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    made = Begin(tmp_path)
    yield made
    made.end()


@pytest.fixture
def both(begin: Begin) -> tuple[World, Client, Client]:
    """A daemon with environment `staging`, and a client in `main` and in that."""
    world = begin()
    main = world.client()
    create(main, "staging")
    return world, main, within(world, "staging")


def ticket() -> list[Any]:
    return ["0123456789abcdef", next(_lines), 1]


def create(client: Client, name: str, *, allow_existing: bool = False) -> dict[str, Any]:
    return asked(
        client, "environment_create", name=name, allow_existing=allow_existing, ticket=ticket()
    )


def update(client: Client, name: str, **fields: Any) -> dict[str, Any]:
    wanted = {"new_name": None, "web_suffix": None, **fields}
    return asked(client, "environment_update", name=name, ticket=ticket(), **wanted)


def delete(client: Client, name: str, *, force: bool = False) -> dict[str, Any]:
    return asked(client, "environment_delete", name=name, force=force)


def within(world: World, name: str) -> Client:
    """A client of an environment."""
    client = world.client(hello=False)
    client.session = asked(
        client, "hello", protocol=1, version="x", session=ids.new_session(), pid=os.getpid(),
        environment=name,
    )["session"]  # fmt: skip
    return client


def deploy(client: Client, *functions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    described = description(*functions, base=1 << 17)
    staged = asked(client, "app_open", app=described, staged=True, **fields)
    return answered(client, asked_to_deploy(client, app_id=staged["app_id"]))


def lookup(client: Client, **fields: Any) -> dict[str, Any]:
    wanted = {"app": "shop", "name": "f", "version": None, "number": 7, "function_id": None,
              "is_class": False, "environment": None, **fields}  # fmt: skip
    return asked(client, "function_lookup", **wanted)


def names(client: Client) -> list[str]:
    return [row["name"] for row in asked(client, "environment_list")["environments"]]


# -- apps


def test_apps_of_one_name_do_not_know_of_each_other(both: tuple[World, Client, Client]):
    """Behaviour 142."""
    _, main, staging = both
    here, there = deploy(main), deploy(staging, function_spec("g"))
    assert here["app_id"] != there["app_id"]
    assert (here["version"], there["version"]) == (1, 1)
    for client, known in ((main, here), (staging, there)):
        [row] = client.request("app_list")["apps"]
        assert (row["app_id"], row["environment"]) == (
            known["app_id"], "main" if client is main else "staging",
        )  # fmt: skip
        assert asked(client, "app_lookup", app="shop")["app_id"] == known["app_id"]
        assert [one["app_id"] for one in client.request("function_list")["functions"]] == [
            known["app_id"]
        ]
        [version] = asked(client, "app_history", app="shop")["versions"]
        assert version["served"]
    assert asked(staging, "app_stop", app="shop")["app_id"] == there["app_id"]
    assert [row["state"] for row in main.request("app_list")["apps"]] == ["deployed"]
    [version] = asked(staging, "app_history", app="shop")["versions"]
    assert not version["served"]


def test_a_lookup_takes_the_environment_of_its_session_or_the_one_it_names(
    both: tuple[World, Client, Client],
):
    """Behaviour 77."""
    _, main, staging = both
    here, there = deploy(main), deploy(staging, function_spec("g"))
    assert lookup(main)["app_id"] == here["app_id"]
    assert lookup(staging, name="g")["app_id"] == there["app_id"]
    assert lookup(main, name="g", environment="staging")["app_id"] == there["app_id"]
    assert lookup(staging, environment="main")["app_id"] == here["app_id"]
    failed = "Lookup failed for Function 'f' from the 'shop' app"
    with pytest.raises(errors.NotFoundError, match=f"^{failed} in the 'staging' environment: "):
        lookup(main, environment="staging")
    with pytest.raises(errors.NotFoundError, match=f"^{failed} in the 'staging' environment: "):
        lookup(staging)
    with pytest.raises(errors.NotFoundError, match="from the 'shop' app: version 1 has no such"):
        lookup(main, name="g")
    with pytest.raises(errors.NotFoundError, match="in the 'stagin' environment: there is no env"):
        lookup(main, environment="stagin")


def test_an_app_is_opened_where_its_client_says(both: tuple[World, Client, Client]):
    world, main, staging = both
    opened = asked(main, "app_open", app=description(), environment="staging")
    assert world.hub.apps[opened["app_id"]].environment.name == "staging"
    assert main.request("app_list")["apps"] == []
    assert [row["app_id"] for row in staging.request("app_list")["apps"]] == [opened["app_id"]]
    with pytest.raises(errors.NotFoundError, match="there is no environment 'nowhere'"):
        main.request("app_open", app=description(), environment="nowhere")


def test_an_environment_that_is_not_there_is_told_when_something_is_asked(world: World):
    client = within(world, "stagin")
    create(client, "staging")  # it may be what it is there for
    for op in ("app_list", "function_list", "container_list", "schedule_list"):
        with pytest.raises(errors.NotFoundError, match="there is no environment 'stagin'") as found:
            asked(client, op)
        assert found.value.hint == "did you mean staging, main?"
    assert asked(client, "server_status")["apps"] == 0
    create(client, "stagin")
    assert asked(client, "app_list") == {"id": client.number, "apps": []}


def test_containers_are_where_their_app_is(both: tuple[World, Client, Client]):
    world, main, staging = both
    staging.open(function_spec("outer"))
    staging.call(1)
    [container] = world.containers
    made = get(container.user, "index", create=True)
    assert made["environment"] == "staging"
    assert listed(main) == []
    assert listed(main, environment="staging") == ["index"]
    nested = container.user.open(function_spec("inner"))
    assert world.hub.apps[nested].environment.name == "staging"
    with pytest.raises(errors.PermissionDeniedError, match="'staging' opens its apps there"):
        container.user.request("app_open", app=description(), environment="main")
    for op in ("environment_create", "environment_delete", "environment_list"):
        with pytest.raises(errors.InvalidError, match="knows no request"):
            container.user.request(op, name="x", force=True)
    assert [row["app_id"] for row in staging.request("container_list")["containers"]] != []
    assert main.request("container_list")["containers"] == []


def test_addresses_of_one_environment_are_never_those_of_another(
    both: tuple[World, Client, Client],
):
    _, main, staging = both

    def address(client: Client) -> str:
        [[_, _, url]] = deploy(client, web_spec("f"))["urls"]
        return str(url)

    assert address(main) == "/shop-f/"
    assert address(staging) == "/shop-f--staging/"
    update(main, "staging", web_suffix="test")
    assert asked(staging, "app_lookup", app="shop")["urls"] == [["f", None, "/shop-f--test/"]]
    assert asked(main, "app_lookup", app="shop")["urls"] == [["f", None, "/shop-f/"]]
    for wrong in ("", "Test", "a--b", "-a", "x" * 25):
        with pytest.raises(errors.InvalidError, match="cannot be the end of addresses"):
            update(main, "staging", web_suffix=wrong)
    create(main, "Test")
    ends = {row["web_suffix"] for row in asked(main, "environment_list")["environments"]}
    assert ends == {"", "test", "test-2"}
    with pytest.raises(errors.AlreadyExistsError, match="'Test' end with 'test-2' already"):
        update(main, "staging", web_suffix="test-2")


# -- objects


def test_a_name_is_another_object_in_each_environment(both: tuple[World, Client, Client]):
    _, main, staging = both
    here, there = get(main, create=True), get(staging, create=True)
    assert here["object_id"] != there["object_id"]
    assert (here["environment"], there["environment"]) == ("main", "staging")
    assert get(main, environment="staging")["object_id"] == there["object_id"]
    assert listed(main) == listed(staging) == ["index"]
    with pytest.raises(errors.NotFoundError, match="no dict 'lost' in environment 'staging'"):
        get(staging, "lost")


def test_secrets_are_those_of_the_environment_of_the_app(both: tuple[World, Client, Client]):
    world, main, staging = both
    for client, value in ((main, "one"), (staging, "two")):
        asked(
            client, "secret_put", kind="secret", name="db", environment=None, created_by="ada",
            object_id=ids.new_id("st"), variables={"PW": value}, allow_existing=False,
            replace=False, ticket=ticket(),
        )  # fmt: skip
    layer = {"name": "db", "environment": None, "keys": []}

    def resolved(client: Client, layer: dict[str, Any]) -> Any:
        spec = function_spec()
        spec["options"]["stored"] = [layer]
        app = world.hub.apps[client.open(spec)]
        version = app.functions["f"].version
        return version, world.loop.run_until_complete(world.hub.secrets.resolved(version))

    (here, mine), (there, theirs) = resolved(main, layer), resolved(staging, layer)
    assert (mine.env["PW"], theirs.env["PW"]) == ("one", "two")
    assert len({here.key, there.key, mine.key, theirs.key}) == 4  # they share no zygote
    _, named = resolved(main, {**layer, "environment": "staging"})
    assert named.env["PW"] == "two"


# -- changes


def test_environments_are_made_once_listed_and_renamed(both: tuple[World, Client, Client]):
    _, main, staging = both
    assert names(main) == ["main", "staging"]
    with pytest.raises(errors.AlreadyExistsError):
        create(main, "staging")
    assert create(main, "staging", allow_existing=True)["name"] == "staging"
    made = get(staging, create=True)
    deploy(staging)
    assert update(main, "staging", new_name="preview")["web_suffix"] == "staging"
    assert names(staging) == ["main", "preview"]
    assert get(main, environment="preview")["object_id"] == made["object_id"]
    assert get(staging)["environment"] == "preview"  # who was in it still is
    [row] = staging.request("app_list")["apps"]
    assert row["environment"] == "preview"
    with pytest.raises(errors.NotFoundError, match="there is no environment 'staging'"):
        get(main, environment="staging")
    create(main, "staging")
    with pytest.raises(errors.AlreadyExistsError):
        update(main, "preview", new_name="staging")
    assert listed(main, environment="staging") == []


def test_main_stays_as_it_is(world: World, client: Client):
    with pytest.raises(errors.InvalidError, match="'main' stays as it is"):
        update(client, "main", new_name="other")
    with pytest.raises(errors.InvalidError, match="cannot be deleted"):
        delete(client, "main", force=True)
    assert world.hub.environments.find("main") is MAIN


def test_a_change_that_is_sent_again_is_made_once(world: World, client: Client):
    fields = {"name": "staging", "allow_existing": False, "ticket": ticket()}
    first = asked(client, "environment_create", **fields)
    again = asked(client, "environment_create", **fields)
    assert {**first, "id": 0} == {**again, "id": 0}
    assert names(client) == ["main", "staging"]


def test_there_are_at_most_so_many(world: World, client: Client):
    for number in range(2, book.ENVIRONMENTS_MAX):
        world.hub.environments.by_id[str(number)] = Environment(
            environment_id=str(number), name=f"e{number}", web_suffix=f"e{number}"
        )
    create(client, "staging")
    with pytest.raises(errors.ResourceExhaustedError, match="1500 environments, which is the most"):
        create(client, "another")


def test_an_environment_is_deleted_with_all_that_is_in_it(
    both: tuple[World, Client, Client], begin: Begin
):
    world, main, staging = both
    kept = get(main, create=True)["object_id"]
    here, there = deploy(main), deploy(staging)
    run = staging.open(function_spec("g"), name="run", base=1 << 18)
    get(staging, create=True)
    with pytest.raises(errors.ConflictError, match="'staging' has 2 apps and 1 objects"):
        delete(main, "staging")
    assert listed(staging) == ["index"]
    told = delete(main, "staging", force=True)
    assert (told["apps"], told["objects"]) == (2, 1)
    assert names(main) == ["main"]
    assert not {there["app_id"], run} & {app.app_id for app in world.hub.apps.values()}
    assert here["app_id"] in world.hub.apps
    for op in ("app_list", "function_list"):
        with pytest.raises(errors.NotFoundError, match="environment 'staging' has been deleted"):
            asked(staging, op)
    with pytest.raises(errors.NotFoundError):
        delete(main, "staging", force=True)
    create(main, "staging")  # another of that name has nothing of it
    later = within(world, "staging")
    assert listed(later) == []
    assert later.request("app_list")["apps"] == []
    with pytest.raises(errors.NotFoundError, match="there is no app 'shop'"):
        asked(later, "app_history", app="shop")
    assert get(main)["object_id"] == kept


def test_environments_outlive_the_daemon(both: tuple[World, Client, Client], begin: Begin):
    _, main, staging = both
    here, there = deploy(main), deploy(staging)
    update(main, "staging", new_name="preview", web_suffix="test")
    made = get(staging, create=True)["object_id"]
    world = begin()
    world.services.objects.opened = world.loop.create_future()
    world.loop.run_until_complete(world.services.objects.open())
    later, main = within(world, "preview"), world.client()
    assert get(later)["object_id"] == made
    assert asked(later, "app_lookup", app="shop")["app_id"] == there["app_id"]
    assert asked(main, "app_lookup", app="shop")["app_id"] == here["app_id"]
    [_, row] = asked(main, "environment_list")["environments"]
    assert (row["name"], row["web_suffix"], row["apps"], row["objects"]) == (
        "preview",
        "test",
        1,
        1,
    )


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("environment_create", {"name": "a b", "allow_existing": False}),
        ("environment_create", {"name": "x" * 65, "allow_existing": False}),
        ("environment_create", {"name": "staging"}),
        ("environment_get", {"name": 7}),
        ("environment_update", {"name": "main", "new_name": "/", "web_suffix": None}),
        ("environment_update", {"name": "main", "new_name": None, "web_suffix": 7}),
        ("environment_delete", {"name": "staging"}),
        ("environment_delete", {"name": "", "force": True}),
        ("app_list", {"environment": 7}),
        ("app_open", {"app": description(), "environment": "a/b"}),
        ("hello", {"session": "0" * 16, "environment": "\n"}),
    ],
)  # fmt: skip
def test_who_says_what_cannot_be_is_hung_up_on(
    world: World, client: Client, op: str, fields: dict[str, Any]
):
    client.ask(op, ticket=ticket(), **fields)
    world.until(lambda: client.broken)
    assert list(world.hub.environments.by_id) == ["main"]
