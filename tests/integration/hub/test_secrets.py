"""Stored secrets at the hub: requests right, wrong and hostile, and what starts with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from tests.integration.hub.test_nested import inside
from tests.integration.hub.test_objects import again, asked, get as get_object
from tests.integration.hub.world import World
from volant import errors, ids
from volantd.hub.environments.record import MAIN
from volantd.hub.secrets import stored
from volantd.sealing.sealer import place_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import Client


def fields(name: str = "db", **given: Any) -> dict[str, Any]:
    return {
        "kind": "secret", "name": name, "environment": None, "object_id": ids.new_id("st"),
        "created_by": "ada", "variables": {"A": "1"}, "allow_existing": False, "replace": False,
        "ticket": ticket(), **given,
    }  # fmt: skip


def ticket() -> list[Any]:
    return [ids.new_session(), 0, 1]


def update(
    client: Client, made: dict[str, Any], variables: dict[str, str], mark: list[Any] | None = None
) -> None:
    given = {"object_id": made["object_id"], "variables": variables, "ticket": mark or ticket()}
    asked(client, "secret_update", **given)


def reference(name: str = "db", *keys: str) -> dict[str, Any]:
    return {"name": name, "environment": None, "keys": list(keys)}


def values_of(world: World, *layers: dict[str, Any]) -> dict[str, str]:
    return world.hub.secrets.layered(layers, MAIN)


def test_a_secret_is_stored_replaced_and_added_to(world: World, client: Client):
    first = fields()
    made = asked(client, "secret_put", **first)
    assert asked(client, "secret_put", **first)["object_id"] == made["object_id"]  # sent again
    assert values_of(world, reference()) == {"A": "1"}
    with pytest.raises(errors.AlreadyExistsError, match="secret 'db'"):
        asked(client, "secret_put", **fields(variables={"A": "2"}))
    asked(client, "secret_put", **fields(variables={"A": "3"}, allow_existing=True))
    assert values_of(world, reference()) == {"A": "1"}
    asked(
        client, "secret_update", object_id=made["object_id"], variables={"B": "2"}, ticket=ticket()
    )
    assert values_of(world, reference()) == {"A": "1", "B": "2"}
    asked(client, "secret_put", **fields(variables={"C": "3"}, replace=True, ticket=ticket()))
    assert values_of(world, reference()) == {"C": "3"}
    asked(client, "object_delete", kind="secret", object_id=made["object_id"])
    with pytest.raises(errors.NotFoundError, match="there is no secret 'db'"):
        values_of(world, reference())


def test_changes_at_once_are_made_one_on_the_other(world: World, client: Client):
    made = asked(client, "secret_put", **fields())
    others = [(world.client(), {name: "1"}) for name in "BCD"]
    numbers = [
        (one, one.ask("secret_update", object_id=made["object_id"], variables=added,
                      ticket=ticket()))
        for one, added in others
    ]  # fmt: skip
    world.until(lambda: all(number in one.replies for one, number in numbers))
    assert values_of(world, reference()) == dict.fromkeys("ABCD", "1")


def test_no_reply_has_a_value(world: World, client: Client):
    replies = [
        asked(client, "secret_put", **fields(variables={"A": "canary"})),
        asked(client, "object_get", **fields(create=False)),
        asked(client, "object_list", kind="secret", environment=None, max=None,
              created_before=None),
    ]  # fmt: skip
    assert "canary" not in repr(replies)


@pytest.mark.parametrize("name", sorted(fields()))
def test_a_field_that_is_missing_ends_the_connection(world: World, client: Client, name: str):
    given = fields()
    del given[name]
    client.ask("secret_put", **given)
    world.until(lambda: client.broken)


@pytest.mark.parametrize(
    "wrong",
    [
        {"variables": ["A"]}, {"variables": {"A": 1}}, {"variables": {"": "1"}},
        {"variables": {"A=B": "1"}}, {"variables": {"A\0": "1"}}, {"variables": {"A": "\0"}},
        {"variables": {"A": "x" * (stored.VALUE_CHARS_MAX + 1)}},
        {"variables": {"A" * (stored.NAME_CHARS_MAX + 1): "1"}},
        {"name": "a b"}, {"name": "x" * 65}, {"object_id": "di-1"}, {"kind": "dict"},
        {"kind": "none"}, {"replace": 1}, {"environment": 1}, {"created_by": "\n"},
    ],
)  # fmt: skip
def test_what_cannot_be_a_secret_is_told_without_its_value(
    world: World, client: Client, wrong: dict[str, Any]
):
    client.ask("secret_put", **fields(**{"variables": {"A": "canary"}, **wrong}))
    world.until(lambda: client.broken)
    assert "canary" not in repr(client.events)
    assert world.hub.objects.all("secret", MAIN) == []


def test_there_are_no_more_variables_than_fit(world: World, client: Client):
    many = {f"A{number}": "" for number in range(stored.VARIABLES_MAX)}
    made = asked(client, "secret_put", **fields(variables=many))
    with pytest.raises(errors.InvalidError, match="1001 variables"):
        asked(
            client,
            "secret_update",
            object_id=made["object_id"],
            variables={"B": ""},
            ticket=ticket(),
        )


def test_secrets_are_made_by_their_own_requests_alone(world: World, client: Client):
    for op in ("object_get", "object_create", "object_open"):
        other = world.client()
        other.ask(op, **fields(create=True))
        world.until(lambda other=other: other.broken)  # type: ignore[misc]


def test_a_container_can_neither_ask_nor_name_what_it_was_not_given(world: World, client: Client):
    made = asked(client, "secret_put", **fields())
    asked(client, "secret_put", **fields("own"))
    own, other = [reference("own")], [reference("db")]
    container = inside(world, client, secrets=(own, {}))
    for op, given in (
        ("object_get", fields(create=False)),
        ("object_find", {"kind": "secret", "object_id": made["object_id"]}),
        ("object_list", {"kind": "secret", "environment": None, "max": None,
                         "created_before": None}),
        ("object_delete", {"kind": "secret", "object_id": made["object_id"]}),
    ):  # fmt: skip
        with pytest.raises(errors.PermissionDeniedError, match="may not ask about a secret"):
            asked(container.user, op, **given)
    container.user.open(function_spec("inner", secrets=(own, {})))
    with pytest.raises(errors.PermissionDeniedError, match="the secret `db`, which its own"):
        container.user.open(function_spec("thief", secrets=(other, {})))
    assert values_of(world, reference()) == {"A": "1"}


def test_layers_are_applied_in_their_order(world: World, client: Client):
    asked(client, "secret_put", **fields(variables={"A": "stored", "B": "stored"}))
    before, behind = {"values": {"A": "before", "C": "before"}}, {"values": {"B": "behind"}}
    assert values_of(world, before, reference(), behind) == {
        "A": "stored", "B": "behind", "C": "before",
    }  # fmt: skip
    with pytest.raises(errors.NotFoundError, match="secret 'db' has no X, Y") as caught:
        values_of(world, reference("db", "A", "X", "Y"))
    assert "it has A, B" in str(caught.value.hint)


def test_steps_of_images_get_what_is_stored(world: World, client: Client):
    asked(client, "secret_put", **fields(variables={"TOKEN": "t", "NAME": "n"}))
    layers = {"1": {"secrets": [reference()]}, "0": {"auth": [reference()]}}
    given = {"1": {"secrets": {"NAME": "mine"}}, "2": {"secrets": {"Z": "z"}}}
    found = world.loop.run_until_complete(world.hub.secrets.of_steps(layers, given, MAIN))
    assert found == {
        "0": {"auth": {"TOKEN": "t", "NAME": "n"}},
        "1": {"secrets": {"TOKEN": "t", "NAME": "mine"}}, "2": {"secrets": {"Z": "z"}},
    }  # fmt: skip


def test_versions_with_another_value_are_others(world: World, client: Client):
    made = asked(client, "secret_put", **fields(variables={"A": "a long value"}))
    app_id = client.open(function_spec("f", secrets=([reference()], {"B": "b"})))
    [function] = world.hub.apps[app_id].functions.values()

    def resolved() -> Any:
        return world.loop.run_until_complete(world.hub.secrets.resolved(function.version))

    first, same = resolved(), resolved()
    assert (first.env, first.hidden) == ({"A": "a long value", "B": "b"}, ("a long value",))
    assert first.key == same.key != function.version.key
    assert first.told_key == function.version.key
    asked(
        client,
        "secret_update",
        object_id=made["object_id"],
        variables={"A": "another"},
        ticket=ticket(),
    )
    assert resolved().key != first.key


def test_secrets_outlive_the_hub_sealed(tmp_path: Path):
    world = World(tmp_path)
    made = asked(world.client(), "secret_put", **fields(variables={"A": "canary"}))
    assert b"canary" not in (tmp_path / "volant.db-wal").read_bytes()
    assert made["object_id"].encode() in (tmp_path / "volant.db-wal").read_bytes()
    world = again(world, tmp_path)
    assert values_of(world, reference()) == {"A": "canary"}
    world.close()


@pytest.mark.parametrize("what", ["key", "value"])
def test_what_cannot_be_read_is_told_when_it_is_used(tmp_path: Path, what: str):
    world = World(tmp_path)
    made = asked(world.client(), "secret_put", **fields())
    if what == "value":
        sealed = world.services.database.sealer.seal(place_of("secrets.value", "other"), b"\x80")
        work = world.services.database.submit(lambda connection: stored.PUT.apply(
            connection, [(made["object_id"], _Ready(sealed))]
        ))  # fmt: skip
        world.until(work.done)
    else:
        (tmp_path / "sealing.key").chmod(0o644)
    world = again(world, tmp_path)
    error = errors.NotFoundError if what == "value" else errors.PermissionDeniedError
    with pytest.raises(error, match=r"secret 'db' cannot be read|sealing\.key"):
        values_of(world, reference())
    world.close()


class _Ready:
    def __init__(self, value: bytes) -> None:
        self._value = value

    def sealed(self) -> bytes:
        return self._value


def test_a_change_of_a_secret_hides_no_change_that_an_earlier_hub_has_made(tmp_path: Path):
    world = World(tmp_path)
    client, me = world.client(), ids.new_session()
    made = asked(client, "secret_put", **fields())
    queue = get_object(client, kind="queue", create=True, object_id=ids.new_id("qu"))["object_id"]
    put = {
        "object_id": queue, "partition": "", "values": [b"once"], "ttl_s": 60.0, "timeout_s": 0.0,
        "ticket": [me, 0, 1],
    }  # fmt: skip
    assert asked(client, "queue_put", **put)["put"]
    world = again(world, tmp_path)
    client = world.client()
    given = {"object_id": made["object_id"], "variables": {"B": "2"}, "ticket": [me, 1, 1]}
    client.ask("secret_update", **given)  # at once, as a client sends what it has no answer to
    assert asked(client, "queue_put", **put)["put"]  # it was lost with the hub
    assert asked(client, "queue_len", object_id=queue, partition=None)["count"] == 1
    update(client, made, {"B": "3"}, [me, 1, 2])
    update(client, made, {"B": "3"}, [me, 1, 2])
    assert values_of(world, reference()) == {"A": "1", "B": "3"}
    world.close()
