"""Dicts at the hub: entries, large values, what is answered once, and what strangers send."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from tests.integration.hub.test_objects import again, asked, get as get_object
from tests.integration.hub.world import World
from tests.support import same
from volant import errors, ids
from volantd.hub.objects.dicts import dicts, requests
from volantd.store import objects as store_of_objects

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import Client

LARGE = os.urandom(requests.PIECE_BYTES_MAX + 5)


class Entries:
    """A dict as a client sees it, which marks its changes as the SDK does."""

    def __init__(self, client: Client, object_id: str = "") -> None:
        self.client = client
        self.object_id = object_id or get_object(client, create=True)["object_id"]
        self.ticket_of = ids.new_session()
        self.number = 0

    def ticket(self) -> list[Any]:
        self.number += 1
        return [self.ticket_of, 0, self.number]

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return asked(self.client, op, object_id=self.object_id, **fields)

    def put(self, key: bytes, value: bytes | str, *, if_absent: bool = False) -> dict[str, Any]:
        fields = {"entries": [[key, value]], "if_absent": if_absent, "ticket": self.ticket()}
        return self.ask("dict_put", **fields)

    def get(self, key: bytes) -> dict[str, Any]:
        return self.ask("dict_get", key=key)

    def pop(self, key: bytes) -> dict[str, Any]:
        return self.ask("dict_pop", key=key, ticket=self.ticket())

    def upload(self, value: bytes, name: str = "up") -> str:
        for at in range(0, len(value), requests.PIECE_BYTES_MAX):
            piece = value[at : at + requests.PIECE_BYTES_MAX]
            asked(
                self.client, "dict_upload", upload=name, size=len(value), offset=at, data=piece
            )  # fmt: skip
        return name

    def read(self, reply: dict[str, Any]) -> bytes:
        found = b""
        while len(found) < reply["size"]:
            found += asked(self.client, "dict_read", file=reply["file"], offset=len(found))["data"]
        return found


@pytest.fixture
def entries(world: World, client: Client) -> Entries:
    return Entries(client)


def files(world: World) -> list[str]:
    return [name for _, _, names in os.walk(world.home / dicts.DIRECTORY) for name in names]


def test_entries_are_put_found_and_taken_out(entries: Entries):
    """Behaviours 100 and 101."""
    assert entries.get(b"a")["found"] is False
    assert entries.put(b"a", b"1")["stored"]
    assert entries.get(b"a")["value"] == b"1"
    assert entries.put(b"a", b"2")["stored"]
    assert entries.ask("dict_contains", key=b"a")["found"] is True
    assert entries.ask("dict_len")["count"] == 1
    assert entries.pop(b"a")["value"] == b"2"
    assert entries.pop(b"a")["found"] is False
    assert entries.ask("dict_contains", key=b"a")["found"] is False


def test_a_free_key_is_taken_by_one_of_all_who_try(world: World, entries: Entries):
    """Behaviour 142: whatever is written in one transaction."""
    others = [Entries(world.client(), entries.object_id) for _ in range(20)]
    asks = [
        (one.client, one.client.ask(
            "dict_put", object_id=one.object_id, entries=[[b"lock", b"%d" % at]], if_absent=True,
            ticket=one.ticket(),
        ))
        for at, one in enumerate(others)
    ]  # fmt: skip
    world.until(lambda: all(number in client.replies for client, number in asks))
    stored = [client.reply(number)["stored"] for client, number in asks]
    assert stored.count(True) == 1
    assert entries.get(b"lock")["value"] == b"%d" % stored.index(True)


def test_a_change_that_is_sent_again_is_made_once(world: World, entries: Entries):
    entries.put(b"a", b"1")
    change = {"object_id": entries.object_id, "key": b"a", "ticket": entries.ticket()}
    asks = [
        (client, client.ask("dict_pop", **change)) for client in (entries.client, world.client())
    ]
    world.until(lambda: all(number in client.replies for client, number in asks))
    assert [client.reply(number)["value"] for client, number in asks] == [b"1", b"1"]
    assert asked(world.client(), "dict_pop", **change)["value"] == b"1"
    later = {**change, "ticket": entries.ticket()}
    assert asked(entries.client, "dict_pop", **later)["found"] is False
    with pytest.raises(errors.ConflictError, match="after its client has made another"):
        asked(entries.client, "dict_pop", **change)


def test_nothing_is_made_while_it_is_not_known_whether_it_was(
    world: World, entries: Entries, monkeypatch: pytest.MonkeyPatch
):
    entries.put(b"a", b"1")
    change = {"object_id": entries.object_id, "key": b"a", "ticket": entries.ticket()}

    def away(*_: object) -> None:
        raise errors.ServiceError("the database is away")

    monkeypatch.setattr(store_of_objects, "note_tickets", away)
    with pytest.raises(errors.ServiceError, match="is away"):
        asked(entries.client, "dict_pop", **change)
    monkeypatch.setattr(store_of_objects, "tickets_of", away)
    with pytest.raises(errors.ServiceError, match="is away"):
        asked(entries.client, "dict_pop", **change)
    monkeypatch.undo()
    assert asked(entries.client, "dict_pop", **change)["value"] == b"1"
    assert asked(entries.client, "dict_pop", **change)["value"] == b"1"


def test_what_was_answered_is_kept_and_made_once_over_the_end_of_the_hub(tmp_path: Path):
    world = World(tmp_path)
    entries = Entries(world.client())
    entries.put(b"a", b"1")
    entries.put(b"b", entries.upload(LARGE))
    lock = {
        "object_id": entries.object_id, "entries": [[b"lock", b"mine"]], "if_absent": True,
        "ticket": entries.ticket(),
    }  # fmt: skip
    assert asked(entries.client, "dict_put", **lock)["stored"]
    world = again(world, tmp_path)
    client = entries.client = world.client()
    assert asked(client, "dict_put", **lock)["stored"]  # the answer was lost with the hub
    other = Entries(world.client(), entries.object_id)
    assert not other.put(b"lock", b"theirs", if_absent=True)["stored"]
    assert entries.get(b"a")["value"] == b"1"
    assert same(entries.read(entries.get(b"b")), LARGE)
    world.close()


@pytest.fixture
def nothing_lingers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that no entry has any more go at once."""
    monkeypatch.setattr("volantd.hub.objects.dicts.files.LEAVING_S", 0.0)


@pytest.mark.usefixtures("nothing_lingers")
def test_a_large_value_lies_in_a_file_as_long_as_an_entry_has_it(world: World, entries: Entries):
    entries.put(b"a", entries.upload(LARGE))
    found = entries.get(b"a")
    assert "value" not in found
    assert same(entries.read(found), LARGE)
    page = entries.ask("dict_page", after=b"", values=True)
    assert page["entries"] == [[b"a", [found["file"], len(LARGE)]]]
    entries.put(b"a", b"small")
    world.until(lambda: files(world) == [])
    with pytest.raises(errors.NotFoundError, match="not there any more"):
        entries.read(found)


def test_a_large_value_that_no_entry_has_can_be_read_for_a_while(
    world: World, entries: Entries, monkeypatch: pytest.MonkeyPatch
):
    entries.put(b"a", entries.upload(LARGE))
    replaced = entries.get(b"a")
    entries.put(b"a", entries.upload(LARGE[::-1]))
    found = entries.pop(b"a")
    assert same(entries.read(replaced), LARGE)
    assert same(entries.read(found), LARGE[::-1])
    monkeypatch.setattr(world.hub.dicts.files, "_leaving_bytes", 1 << 40)
    entries.put(b"b", entries.upload(LARGE))
    entries.pop(b"b")
    world.until(lambda: files(world) == [])


@pytest.mark.usefixtures("nothing_lingers")
def test_large_values_go_with_what_they_are_in(world: World, entries: Entries):
    for key in (b"a", b"b"):
        entries.put(key, entries.upload(LARGE))
    entries.ask("dict_clear", ticket=entries.ticket())
    world.until(lambda: files(world) == [])
    entries.put(b"a", entries.upload(LARGE))
    asked(entries.client, "object_delete", kind="dict", object_id=entries.object_id)
    world.until(lambda: files(world) == [])
    with pytest.raises(errors.NotFoundError, match="there is no dict"):
        entries.get(b"a")


def test_what_never_arrived_whole_is_removed(world: World, entries: Entries):
    client = entries.client
    asked(client, "dict_upload", upload="up", size=10, offset=0, data=b"half")
    assert len(files(world)) == 1
    assert entries.put(b"a", "up") == {"id": client.number, "missing": True}
    assert asked(client, "dict_upload", upload="up", size=10, offset=0, data=b"half")["missing"]
    client.close()
    world.until(lambda: files(world) == [])


@pytest.mark.usefixtures("nothing_lingers")
def test_files_that_a_dead_hub_left_are_removed(tmp_path: Path):
    world = World(tmp_path)
    entries = Entries(world.client())
    entries.put(b"a", entries.upload(LARGE))
    world.services.stop("the test kills it")
    world.hub.dicts.files.remove = lambda _: None  # type: ignore[method-assign]  # it is dead
    entries.upload(LARGE, "other")
    assert len(files(world)) == 2
    world = again(world, tmp_path)
    world.until(lambda: len(files(world)) == 1)
    entries.client = world.client()
    assert same(entries.read(entries.get(b"a")), LARGE)
    world.close()


def test_pages_hold_all_entries_once(entries: Entries, monkeypatch: pytest.MonkeyPatch):
    """Behaviour 101."""
    monkeypatch.setattr(requests, "PAGE_ENTRIES", 3)
    for at in range(10):
        entries.put(b"%d" % at, b"v%d" % at)
    found, after, pages = [], b"", 0
    while after is not None:
        page = entries.ask("dict_page", after=after, values=True)
        found += page["entries"]
        after, pages = page["next"], pages + 1
    assert sorted(found) == [[b"%d" % at, b"v%d" % at] for at in range(10)]
    assert pages == 4
    monkeypatch.setattr(requests, "PAGE_BYTES", 1)
    assert len(entries.ask("dict_page", after=b"", values=True)["entries"]) == 1
    assert entries.ask("dict_page", after=b"", values=False)["entries"][0][1] is None


def test_what_nobody_used_for_a_week_is_not_there(
    world: World, entries: Entries, monkeypatch: pytest.MonkeyPatch
):
    clock = {"hour": 1000}
    for module in (dicts, requests):
        monkeypatch.setattr(module, "hour", lambda: clock["hour"])
    for key in (b"used", b"unused", b"listed"):
        entries.put(key, b"1")
    clock["hour"] += 100
    assert entries.get(b"used")["found"]
    entries.pop(b"listed")
    clock["hour"] += 100
    assert not entries.get(b"unused")["found"]
    assert not entries.ask("dict_contains", key=b"unused")["found"]
    assert entries.ask("dict_len")["count"] == 1
    assert entries.put(b"unused", b"2", if_absent=True)["stored"]
    clock["hour"] += 100
    assert entries.ask("dict_page", after=b"", values=True)["entries"] == [[b"unused", b"2"]]
    world.loop.run_until_complete(world.hub.dicts._sweep())
    clock["hour"] -= 200
    assert entries.ask("dict_len")["count"] == 1  # the other was removed


def test_a_full_disk_is_said(world: World, entries: Entries):
    world.services.objects._reserve_bytes = 1 << 62
    for ask in (lambda: entries.put(b"a", b"1"), lambda: entries.upload(b"large")):
        with pytest.raises(errors.ResourceExhaustedError, match="full but for its reserve"):
            ask()


def test_a_container_has_dicts_and_needs_no_tickets(world: World, client: Client):
    """Behaviour 135."""
    client.open(function_spec())
    client.call(1)
    user = world.containers[-1].user
    user.hello()
    entries = Entries(user)
    entries.ticket = lambda: None
    entries.put(b"a", b"1")
    assert Entries(client, entries.object_id).pop(b"a")["value"] == b"1"
    assert not world.services.objects.tickets._present.get(entries.ticket_of)


GOOD: dict[str, Any] = {
    "key": b"a", "entries": [[b"a", b"1"]], "if_absent": False, "after": b"", "values": True,
    "upload": "up", "size": 1, "offset": 0, "data": b"1", "file": "0" * 64,
}  # fmt: skip
BAD: list[tuple[str, dict[str, Any]]] = [
    *itertools.product(["dict_put"], [
        {"entries": []}, {"entries": None}, {"entries": [[b"a"]]}, {"entries": [b"a", b"b"]},
        {"entries": [["a", b"b"]]}, {"entries": [[b"a", None]]}, {"object_id": None},
        {"entries": [[b"a", b"1"]] * 10_001}, {"if_absent": 1},
        {"entries": [[b"a", b"1"]] * 2, "if_absent": True}, {"ticket": None}, {"ticket": []},
        {"ticket": ["x", 0, 1]}, {"ticket": ["0" * 16, -1, 1]}, {"ticket": ["0" * 16, 0, 0]},
        {"ticket": ["0" * 16, 0, 1, 1]},
        {"entries": [[b"a", b"1" * (requests.INLINE_BYTES_MAX + 1)]]},
    ]),
    *itertools.product(["dict_get", "dict_contains", "dict_pop"], [{"key": "a"}, {"key": None}]),
    *itertools.product(["dict_page"], [{"after": None}, {"values": None}]),
    *itertools.product(["dict_upload"], [
        {"upload": ""}, {"upload": "u" * 41}, {"size": 0}, {"size": (100 << 20) + 1},
        {"offset": 1}, {"data": b""}, {"data": "1"}, {"offset": -1},
    ]),
    *itertools.product(["dict_read"], [
        {"file": ""}, {"file": "../" * 21 + "0"}, {"file": "0" * 63}, {"offset": -1},
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("op", "fields"), BAD)
def test_what_makes_no_sense_ends_who_sends_it(
    world: World, entries: Entries, op: str, fields: dict[str, Any]
):
    client = entries.client
    known = {**GOOD, "object_id": entries.object_id, "ticket": entries.ticket()}
    client.ask(op, **{**known, **fields})
    world.turn()
    assert client.broken


@pytest.mark.parametrize("op", sorted(handler.__name__ for handler in requests.HANDLERS))
def test_a_field_that_is_missing_ends_who_leaves_it_out(world: World, entries: Entries, op: str):
    entries.client.ask(op)
    world.turn()
    assert entries.client.broken


def test_a_key_that_is_too_long_is_refused(entries: Entries):
    with pytest.raises(errors.InvalidError, match="at most 65536"):
        entries.get(b"k" * 65537)


def test_uploads_of_one_client_are_bounded(
    world: World, entries: Entries, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("volantd.hub.objects.dicts.files.ARRIVING_BYTES_MAX", 10)
    entries.upload(b"12345678", "one")
    with pytest.raises(errors.ResourceExhaustedError, match="at most 10"):
        entries.upload(b"123", "two")
