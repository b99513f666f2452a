"""Named objects of any kind: found, made, listed, ended, and kept through the end of the hub."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from tests.integration.hub.world import World
from volant import errors, ids
from volantd.hub.objects import registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import Client


def asked(client: Client, op: str, **fields: Any) -> dict[str, Any]:
    """The reply to a request that waits for the disk."""
    number = client.ask(op, **fields)
    client.world.until(lambda: number in client.replies or client.broken)
    return client.reply(number)


def place(name: str = "index", **fields: Any) -> dict[str, Any]:
    return {
        "kind": "dict", "name": name, "environment": None, "object_id": ids.new_id("di"),
        "created_by": "ada", **fields,
    }  # fmt: skip


def get(client: Client, name: str = "index", *, create: bool = False, **fields: Any):
    return asked(client, "object_get", **place(name, create=create, **fields))


def listed(client: Client, **fields: Any) -> list[str]:
    wanted = {"environment": None, "max": None, "created_before": None, **fields}
    found = asked(client, "object_list", kind="dict", **wanted)["objects"]
    return [row["name"] for row in found]


def again(world: World, path: Path) -> World:
    """The hub after a kill: another one over the same home."""
    world.close()
    made = World(path)
    made.services.objects.opened = made.loop.create_future()
    made.loop.run_until_complete(made.services.objects.open())
    return made


def test_a_name_is_found_only_when_it_was_made(world: World, client: Client):
    """Behaviour 88: and how one is made is said."""
    with pytest.raises(errors.NotFoundError, match="there is no dict 'index'") as missing:
        get(client)
    assert missing.value.hint == (
        "`volant dict list` shows all; `volant dict create 'index'` makes it, as "
        "from_name(..., create_if_missing=True) does"
    )
    made = get(client, create=True)
    assert (made["name"], made["environment"], made["created_by"]) == ("index", "main", "ada")
    assert get(client)["object_id"] == get(client, create=True)["object_id"] == made["object_id"]
    found = asked(client, "object_find", kind="dict", object_id=made["object_id"])
    assert found["created_at"] == made["created_at"]


def test_all_who_ask_while_it_is_written_get_the_same(world: World, client: Client):
    others = [client, world.client(), world.client()]
    numbers = [one.ask("object_get", **place(create=True)) for one in others]
    pairs = list(zip(others, numbers, strict=True))
    world.until(lambda: all(number in one.replies for one, number in pairs))
    assert len({one.reply(number)["object_id"] for one, number in pairs}) == 1


def test_a_name_that_is_taken_is_refused_unless_that_is_allowed(world: World, client: Client):
    """Behaviour 99."""
    first = place(allow_existing=False)
    made = asked(client, "object_create", **first)
    assert asked(client, "object_create", **first)["object_id"] == made["object_id"]  # sent again
    with pytest.raises(errors.AlreadyExistsError, match="dict 'index'"):
        asked(client, "object_create", **place(allow_existing=False))
    found = asked(client, "object_create", **place(allow_existing=True))
    assert found["object_id"] == made["object_id"]


def test_the_newest_are_listed_first(world: World, client: Client, monkeypatch: pytest.MonkeyPatch):
    """Behaviour 99; also of those that were made within a millisecond."""
    clock = itertools.count(1_795_000_000_000_000, 10)
    monkeypatch.setattr(registry, "wall_clock", lambda: next(clock) / 1e6)
    moments = [get(client, name, create=True)["created_at"] for name in "abc"]
    assert listed(client) == ["c", "b", "a"]
    assert listed(client, max=2) == ["c", "b"]
    assert listed(client, created_before=moments[1]) == ["a"]
    assert listed(client, max=0) == []


def test_what_was_deleted_is_gone_and_its_name_is_free(world: World, client: Client):
    made = get(client, create=True)
    for _ in range(2):  # sent again
        asked(client, "object_delete", kind="dict", object_id=made["object_id"])
    with pytest.raises(errors.NotFoundError):
        get(client)
    with pytest.raises(errors.NotFoundError):
        asked(client, "object_find", kind="dict", object_id=made["object_id"])
    assert get(client, create=True)["object_id"] != made["object_id"]


def test_what_is_made_and_deleted_at_once_is_gone(world: World, client: Client):
    wanted = place(create=True)
    client.ask("object_get", **wanted)
    asked(client, "object_delete", kind="dict", object_id=wanted["object_id"])
    assert listed(client) == []


def test_objects_outlive_the_hub(tmp_path: Path):
    world = World(tmp_path)
    made = get(world.client(), create=True)
    world = again(world, tmp_path)
    assert get(world.client()) == {**made, "id": 2}
    world.close()


def test_an_object_without_a_name_ends_with_its_client(world: World, client: Client):
    """Behaviour 103."""
    other = world.client()
    wanted = place(name=None)
    del wanted["name"]
    for _ in range(2):  # sent again
        assert asked(client, "object_open", **wanted)["name"] is None
    find = {"kind": "dict", "object_id": wanted["object_id"]}
    assert asked(other, "object_find", **find)["object_id"] == wanted["object_id"]
    assert listed(other) == []
    with pytest.raises(errors.InvalidError, match="does not end with this client"):
        asked(other, "object_open", **wanted)
    client.close()
    world.turn()
    with pytest.raises(errors.NotFoundError):
        asked(other, "object_find", **find)


@pytest.mark.parametrize("returns", [True, False])
def test_an_object_of_a_dead_hub_waits_for_its_client(tmp_path: Path, returns: bool):
    world = World(tmp_path)
    wanted = place(name=None)
    del wanted["name"]
    asked(world.client(), "object_open", **wanted)
    world.services.stop("the test kills it")
    world = again(world, tmp_path)
    client, other = world.client(), world.client()
    if returns:
        asked(client, "object_open", **wanted)
    world.services.objects._end_orphans()
    find = {"kind": "dict", "object_id": wanted["object_id"]}
    if returns:
        asked(other, "object_find", **find)
    else:
        with pytest.raises(errors.NotFoundError):
            asked(other, "object_find", **find)
    world.close()


def test_a_client_has_a_limit_of_its_own(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(registry, "OWNED_MAX", 2)
    for _ in range(2):
        wanted = place(name=None)
        del wanted["name"]
        asked(client, "object_open", **wanted)
    wanted["object_id"] = ids.new_id("di")
    with pytest.raises(errors.ResourceExhaustedError, match="at most 100000 and 2"):
        asked(client, "object_open", **wanted)
    monkeypatch.setattr(registry, "OBJECTS_MAX", 2)
    with pytest.raises(errors.ResourceExhaustedError, match="at most 2 and 2"):
        get(client, create=True)


def test_what_a_container_makes_is_said_to_be_its_own(world: World, client: Client):
    """Behaviour 135."""
    client.open(function_spec())
    client.call(1)
    user = world.containers[-1].user
    user.hello()
    made = get(user, create=True)
    assert made["created_by"].startswith("ta-")
    assert get(client)["object_id"] == made["object_id"]


def test_an_environment_that_is_not_there_is_named(world: World, client: Client):
    for op, fields in (
        ("object_get", place(environment="prod", create=True)),
        ("object_create", place(environment="prod", allow_existing=True)),
        ("object_list", {"kind": "dict", "environment": "prod", "max": 1, "created_before": 1}),
    ):
        with pytest.raises(errors.NotFoundError, match="there is no environment 'prod'"):
            asked(client, op, **fields)


BAD: list[tuple[str, dict[str, Any]]] = [
    *itertools.product(["object_get"], [
        {"name": ""}, {"name": "a/b"}, {"name": "a" * 65}, {"name": None}, {"kind": "dicts"},
        {"kind": 3}, {"create": None}, {"object_id": "di-"}, {"object_id": "qu-1"},
        {"object_id": "di-" + "a" * 40}, {"object_id": "di-a/b"}, {"created_by": "a" * 65},
        {"created_by": "\x1b[2J"}, {"environment": 3},
    ]),
    ("object_create", {"allow_existing": 1}),
    ("object_open", {"object_id": 7}),
    ("object_find", {"object_id": None}),
    ("object_delete", {"object_id": []}),
    ("object_list", {"max": -1, "created_before": None}),
    ("object_list", {"max": None, "created_before": float("nan")}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "fields"), BAD)
@pytest.mark.parametrize("early", [True, False])
def test_what_makes_no_sense_ends_who_sends_it(
    world: World, client: Client, op: str, fields: dict[str, Any], early: bool
):
    if early:
        world.services.objects.opened = world.loop.create_future()
    client.ask(op, **{**place(create=True, allow_existing=True), **fields})
    world.turn()
    assert client.broken
    if early:
        world.services.objects.opened.set_result(None)
