"""Requests about volumes: what they answer, and whatever a stranger makes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from tests.integration.hub.test_objects import asked
from volant import errors, ids
from volant.wire import chunks

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

WITHIN_S = 20.0


def made(client: Client, name: str = "files", **fields: Any) -> str:
    found = asked(
        client, "object_get", kind="volume", name=name, environment=None, created_by="ada",
        create=True, **{"object_id": ids.new_id("vo"), "version": None, **fields},
    )  # fmt: skip
    object_id: str = found["object_id"]
    return object_id


def digest(data: bytes) -> bytes:
    return bytes.fromhex(chunks.digest_of(data))


def change() -> dict[str, Any]:
    return {"change_id": ids.new_id("cg"), "made_by": "ada"}


def store(client: Client, volume: str, data: bytes) -> None:
    asked(client, "volume_store", object_id=volume, digests=digest(data), sizes=[len(data)],
          data=data)  # fmt: skip


def row(data: bytes) -> list[Any]:
    return ["f", 0o644, 0, 0, 0, len(data), digest(data).hex(), [], ""]


def write(
    client: Client, volume: str, entries: Any, *, force: bool = False, **given: Any
) -> dict[str, Any]:
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    fields = {"object_id": volume, "entries": raw, "force": force, **change(), **given}
    return asked(client, "volume_write", **fields)


def listed(client: Client, volume: str, path: str = "", **given: Any) -> list[str]:
    fields = {"recursive": True, "at": "", "skip": 0, **given}
    reply = asked(client, "volume_list", object_id=volume, path=path, **fields)
    return [one[0].decode() for one in reply["rows"]]


def test_contents_are_sent_named_and_read(world: World, client: Client) -> None:
    volume = made(client)
    digests = digest(b"one") + digest(b"two")
    assert asked(client, "volume_missing", object_id=volume, digests=digests)["missing"] == [0, 1]
    store(client, volume, b"one")
    assert asked(client, "volume_missing", object_id=volume, digests=digests)["missing"] == [1]
    assert write(client, volume, [["d/a", row(b"one")], ["e", None]])["number"] == 1
    assert listed(client, volume) == ["d", "d/a", "e"]
    found = asked(client, "volume_stat", object_id=volume, path="d/a")
    read = asked(
        client, "volume_read", object_id=volume, content=found["content"], size=3, offset=1,
        count=10,
    )  # fmt: skip
    assert read["data"] == b"ne"


def test_what_is_named_has_to_be_there(world: World, client: Client) -> None:
    volume = made(client)
    assert write(client, volume, [["a", row(b"nobody sent it")]])["problem"] == "contents"
    assert listed(client, volume) == []


def test_a_change_that_is_sent_again_is_made_once(world: World, client: Client) -> None:
    volume = made(client)
    store(client, volume, b"x")
    once = change()
    first = write(client, volume, [["a", row(b"x")]], **once)
    asked(client, "volume_remove", object_id=volume, path="a", recursive=False, **change())
    assert write(client, volume, [["a", row(b"x")]], **once)["number"] >= first["number"]
    assert listed(client, volume) == []


def test_a_listing_is_of_one_moment(world: World, client: Client) -> None:
    volume = made(client)
    store(client, volume, b"x")
    write(client, volume, [[name, row(b"x")] for name in "abc"])
    at = asked(client, "volume_list", object_id=volume, path="", recursive=True, at="", skip=0)[
        "at"
    ]
    asked(client, "volume_remove", object_id=volume, path="b", recursive=False, **change())
    assert listed(client, volume, at=at, skip=1) == ["b", "c"]
    assert listed(client, volume) == ["a", "c"]


def test_problems_of_paths_are_told_as_such(world: World, client: Client) -> None:
    volume = made(client)
    store(client, volume, b"x")
    write(client, volume, [["d/a", row(b"x")]])
    assert write(client, volume, [["d/a", row(b"x")]])["problem"] == "taken"
    assert write(client, volume, [["d", row(b"x")]], force=True)["problem"] == "kind"
    for op, fields in (
        ("volume_stat", {"path": "no"}),
        ("volume_list", {"path": "no", "recursive": True, "at": "", "skip": 0}),
        ("volume_remove", {"path": "no", "recursive": True, **change()}),
        ("volume_copy", {"sources": ["no"], "target": "x", "recursive": True, **change()}),
    ):
        assert asked(client, op, object_id=volume, **fields)["problem"] == "missing"


@pytest.mark.parametrize(
    "entries",
    [b"", b"{", b"{}", b"[1]", b'[["a"]]', b'[["../a",null]]', b'[["",["f"]]]', b"[" * 100_000,
     b'[["a",["f",1,0,0,0,1,"x",[],""]]]', b'[["a",["d",1,0,0,0,0,"",[],""]]]', b"\xff"],
)  # fmt: skip
def test_entries_that_cannot_be_change_nothing(
    world: World, client: Client, entries: bytes
) -> None:
    volume = made(client)
    with pytest.raises(errors.Error):
        write(client, volume, entries)
    assert listed(client, volume) == []


def good(volume: str) -> dict[str, dict[str, Any]]:
    """A request of each kind with which nothing is wrong."""
    one = {"object_id": volume}
    return {
        "volume_stat": {**one, "path": ""},
        "volume_list": {**one, "path": "", "recursive": True, "at": "", "skip": 0},
        "volume_read": {**one, "content": "a" * 64, "size": 1, "offset": 0, "count": 1},
        "volume_history": {**one, "max": None},
        "volume_missing": {**one, "digests": b"x" * 32},
        "volume_store": {**one, "digests": digest(b"x"), "sizes": [1], "data": b"x"},
        "volume_begin": {**one, "path": "a", "size": 70_000, "chunks": b"x" * 32},
        "volume_chunk": {**one, "content": "a" * 64, "index": 0, "data": b"x"},
        "volume_write": {**one, "entries": b"[]", "force": False, **change()},
        "volume_remove": {**one, "path": "a", "recursive": True, **change()},
        "volume_copy": {**one, "sources": ["a"], "target": "b", "recursive": True, **change()},
        "volume_restore": {**one, "number": 1, **change()},
    }


WRONG = [..., None, -1, 1 << 62, "../..", b"x", [1], {}, True]


@pytest.mark.parametrize("op", sorted(good("")))
@pytest.mark.parametrize("is_container", [False, True])
def test_whatever_is_wrong_with_a_field_harms_nobody(
    world: World, client: Client, op: str, is_container: bool
) -> None:
    volume = made(client)
    fields = good(volume)[op]
    asker: Any = None
    for name in fields:
        for wrong in WRONG[:4] if is_container else WRONG:
            sent = {**fields, name: wrong}
            if wrong is ...:
                del sent[name]
            if asker is None or asker.broken:
                asker = user_of_a_container(world) if is_container else world.client()
            number = asker.ask(op, **sent)
            world.until(lambda: asker.broken or number in asker.replies, WITHIN_S)  # noqa: B023
    world.check()


def user_of_a_container(world: World) -> Any:
    """The user code of a container that has just started."""
    owner = world.client()
    owner.open()
    owner.call()
    world.turn()
    user = world.live()[-1].user
    user.hello()
    return user


@pytest.mark.parametrize(
    "volumes",
    [
        [{"path": "/", "volume": "vo-1", "sub_path": "", "read_only": False}],
        [{"path": "/tmp", "volume": "vo-1", "sub_path": "", "read_only": False}],
        [{"path": "/proc/x", "volume": "vo-1", "sub_path": "", "read_only": False}],
        [{"path": "/a/../b", "volume": "vo-1", "sub_path": "", "read_only": False}],
        [{"path": "/a", "volume": "vo-1", "sub_path": "../x", "read_only": False}],
        [{"path": "/a", "volume": "vo-1", "sub_path": "", "read_only": 1}],
        [{"path": "/a", "volume": 1, "sub_path": "", "read_only": False}],
        [{"path": "/a", "volume": "vo-1", "sub_path": "", "read_only": False}] * 2,
        [1],
        {},
    ],
)
def test_a_function_has_no_volumes_that_cannot_be(
    world: World, client: Client, volumes: Any
) -> None:
    spec = function_spec()
    spec["options"] = {**spec["options"], "volumes": volumes}
    number = client.ask("app_open", app=description(spec))
    world.until(lambda: number in client.replies or client.broken)
    assert client.broken or "fault" in client.replies[number]


def test_only_containers_with_it_commit_and_reload(world: World, client: Client) -> None:
    volume = made(client)
    for op in ("volume_commit", "volume_reload"):
        with pytest.raises(errors.InvalidError):
            asked(client, op, object_id=volume)


def test_versions_are_kept(world: World, client: Client) -> None:
    """Behaviour 96."""
    made(client, version=1)
    made(client)
    with pytest.raises(errors.InvalidError, match="of version 1, not 2"):
        made(client, version=2)
