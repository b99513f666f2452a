"""Queues at the hub: order, waiting, hand-over, room, and what strangers send."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from tests.integration.hub.test_objects import again, asked, get as get_object
from tests.integration.hub.world import World
from volant import errors, ids
from volantd.hub.objects.queues import offers, partition as partitions, queues, requests
from volantd.store import queues as store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import Client


class Line:
    """A queue as a client sees it, which marks its changes as the SDK does."""

    def __init__(self, client: Client, object_id: str = "") -> None:
        self.client = client
        self.object_id = object_id or get_object(
            client, kind="queue", create=True, object_id=ids.new_id("qu")
        )["object_id"]  # fmt: skip
        self.client_id = ids.new_session()
        self.number = 0

    def ticket(self) -> list[Any]:
        self.number += 1
        return [self.client_id, 0, self.number]

    def begin(self, op: str, **fields: Any) -> int:
        """Ask, and wait for nothing."""
        number = self.client.ask(op, object_id=self.object_id, **{"partition": "", **fields})
        self.client.world.turn()
        return number

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return asked(self.client, op, object_id=self.object_id, **{"partition": "", **fields})

    def putting(self, *values: bytes, timeout_s: float | None = 0, **fields: Any) -> dict[str, Any]:
        known = {"timeout_s": timeout_s, "ttl_s": 60.0, "ticket": self.ticket()}
        return {"values": list(values), **known, **fields}

    def put(self, *values: bytes, **fields: Any) -> bool:
        return bool(self.ask("queue_put", **self.putting(*values, **fields))["put"])

    def offer(self, count: int = 1, timeout_s: float | None = 0, **fields: Any) -> dict[str, Any]:
        return self.ask("queue_get", count=count, timeout_s=timeout_s, **fields)

    def claim(self, offer: dict[str, Any]) -> bool:
        reply = asked(self.client, "queue_claim", offer=offer["offer"], ticket=self.ticket())
        return bool(reply["claimed"])

    def get(self, count: int = 1, **fields: Any) -> list[bytes]:
        offer = self.offer(count, **fields)
        assert not offer["items"] or self.claim(offer)
        return list(offer["items"])

    def len(self, partition: str | None = "") -> int:
        return int(self.ask("queue_len", partition=partition)["count"])

    def peek(self, after: int = 0, count: int = 10, timeout_s: float | None = 0) -> Any:
        return self.ask("queue_peek", after=after, count=count, timeout_s=timeout_s)

    def waits(self, number: int) -> bool:
        self.client.world.turn()
        return number not in self.client.replies

    def comes(self, number: int) -> dict[str, Any]:
        """The answer to what was begun."""
        self.client.world.until(lambda: number in self.client.replies)
        return self.client.reply(number)


@pytest.fixture
def line(world: World, client: Client) -> Line:
    return Line(client)


@pytest.fixture
def other(world: World, line: Line) -> Line:
    """The same queue, of another client."""
    return Line(world.client(), line.object_id)


def test_first_in_first_out(line: Line):
    """Behaviour 104."""
    assert line.get() == []
    assert line.put(b"1") and line.put(b"2", b"3", b"4")
    assert line.len() == 4
    assert line.get() == [b"1"]
    assert line.get(2) == [b"2", b"3"]
    assert line.get(5) == [b"4"]
    assert line.len() == 0


def test_partitions_are_queues_of_their_own(line: Line):
    """Behaviour 106."""
    line.put(b"a", partition="x")
    line.put(b"b")
    assert (line.len("x"), line.len(), line.len(None), line.len("y")) == (1, 1, 2, 0)
    assert line.get(5, partition="x") == [b"a"]
    line.put(b"c", partition="x")
    line.ask("queue_clear", partition="x", ticket=line.ticket())
    assert (line.len("x"), line.len()) == (0, 1)
    line.ask("queue_clear", partition=None, ticket=line.ticket())
    assert line.len(None) == 0


def test_getters_get_in_the_order_in_which_they_came(line: Line, other: Line):
    """Behaviour 104."""
    first, second = (one.begin("queue_get", count=1, timeout_s=None) for one in (line, other))
    third = line.begin("queue_get", count=5, timeout_s=None)
    assert line.waits(first) and other.waits(second)
    other.put(b"1", b"2", b"3", b"4")
    assert line.comes(first)["items"] == [b"1"]
    assert other.comes(second)["items"] == [b"2"]
    assert line.comes(third)["items"] == [b"3", b"4"]


def test_a_hundred_getters_wait_and_each_gets_one(world: World, line: Line):
    """Behaviour 142."""
    getters = [Line(world.client(), line.object_id) for _ in range(100)]
    asks = [(one, one.begin("queue_get", count=1, timeout_s=None)) for one in getters]
    line.put(*(b"%d" % at for at in range(100)))
    assert [one.comes(number)["items"] for one, number in asks] == [
        [b"%d" % at] for at in range(100)
    ]


@pytest.mark.parametrize("how", ["cancels", "leaves", "is slow"])
def test_what_a_getter_does_not_claim_goes_back_to_its_place(
    world: World, line: Line, other: Line, monkeypatch: pytest.MonkeyPatch, how: str
):
    if how == "is slow":
        monkeypatch.setattr(offers, "CLAIM_S", 0.0)
    line.put(b"1", b"2", b"3", b"4")
    offered = other.offer(2)
    if how == "cancels":
        other.client.event("cancel", call=offered["offer"])
        world.turn()
        assert not other.claim(offered)
    elif how == "leaves":
        other.client.close()
        world.turn()
    else:
        partition = world.hub.queues._queues[line.object_id][""]
        world.until(lambda: len(partition.ready) == 4)
        monkeypatch.undo()
        assert not other.claim(offered)
    assert line.get(5) == [b"1", b"2", b"3", b"4"]


def test_what_goes_back_is_offered_to_who_waits(world: World, line: Line, other: Line):
    line.put(b"1")
    offer = other.offer()
    waiting = line.begin("queue_get", count=1, timeout_s=None)
    assert line.waits(waiting)
    other.client.close()
    assert line.comes(waiting)["items"] == offer["items"] == [b"1"]


def test_who_waits_no_more_gets_nothing(world: World, line: Line, other: Line):
    gone = line.begin("queue_get", count=1, timeout_s=None)
    late = line.begin("queue_get", count=1, timeout_s=0.01)
    assert line.comes(late)["items"] == []
    line.client.event("cancel", call=gone)
    waiting = other.begin("queue_get", count=1, timeout_s=None)
    line.put(b"1")
    assert other.comes(waiting)["items"] == [b"1"]
    assert line.waits(gone)


def test_nothing_leaves_the_queue_before_it_is_claimed(tmp_path: Path):
    """What was offered and not claimed is there for the next hub, in its old place."""
    world = World(tmp_path)
    line = Line(world.client())
    line.put(b"1", b"2", b"3")
    assert line.get() == [b"1"]
    offer = line.offer(2)
    late = line.ticket()
    world = again(world, tmp_path)
    line.client = world.client()
    reply = asked(line.client, "queue_claim", offer=offer["offer"], ticket=late)
    assert reply["claimed"] is False
    assert line.len() == 2
    assert line.get(5) == [b"2", b"3"]
    assert line.put(b"4") and line.get() == [b"4"]
    world.close()


def test_puts_and_claims_that_are_sent_again_are_made_once(tmp_path: Path):
    world = World(tmp_path)
    line = Line(world.client())
    put = line.putting(b"1", b"2")
    assert line.ask("queue_put", **put)["put"] and line.ask("queue_put", **put)["put"]
    world = again(world, tmp_path)
    line.client = world.client()
    assert line.ask("queue_put", **put)["put"]
    assert line.len() == 2
    claim = {"offer": line.offer()["offer"], "ticket": line.ticket()}
    assert asked(line.client, "queue_claim", **claim)["claimed"]
    world = again(world, tmp_path)
    line.client = world.client()
    assert asked(line.client, "queue_claim", **claim)["claimed"]
    assert line.get(5) == [b"2"]
    world.close()


def test_what_was_handed_on_and_could_not_be_written_is_got_by_nobody(
    world: World, line: Line, other: Line, monkeypatch: pytest.MonkeyPatch
):
    """A getter that waits has an item before it is on the disk, and gets it when it is."""
    line.len()
    waiting = other.begin("queue_get", count=1, timeout_s=None)

    def fail(*_: object) -> None:
        raise errors.ResourceExhaustedError("the disk is full")

    monkeypatch.setattr(store, "put", fail)
    with pytest.raises(errors.ResourceExhaustedError, match="disk is full"):
        line.put(b"lost")
    offer = other.comes(waiting)
    assert offer["items"] == [b"lost"]
    assert not other.claim(offer)
    monkeypatch.undo()
    line.put(b"kept")
    assert (line.len(), line.get(5)) == (1, [b"kept"])


@pytest.mark.parametrize("how", ["claims", "cancels", "leaves"])
def test_what_was_handed_on_waits_for_the_disk(
    world: World, line: Line, other: Line, monkeypatch: pytest.MonkeyPatch, how: str
):
    line.len()
    waiting = other.begin("queue_get", count=1, timeout_s=None)
    held: list[Any] = []
    real = world.services.journal.write
    monkeypatch.setattr(world.services.journal, "write", lambda *words: held.append(words))
    putting = line.begin("queue_put", **line.putting(b"1", b"2"))
    offer = other.client.reply(waiting)
    assert offer["items"] == [b"1"]
    if how == "claims":
        claiming = other.begin("queue_claim", offer=offer["offer"], ticket=other.ticket())
        assert other.waits(claiming)
    elif how == "cancels":
        other.client.event("cancel", call=waiting)
    else:
        other.client.close()
    world.until(lambda: held)
    monkeypatch.undo()
    for words in held:
        real(*words)
    assert line.comes(putting)["put"]
    if how == "claims":
        assert other.comes(claiming)["claimed"]
    assert line.get(5) == ([b"2"] if how == "claims" else [b"1", b"2"])


def test_a_full_partition_takes_no_more(
    world: World, line: Line, other: Line, monkeypatch: pytest.MonkeyPatch
):
    """Behaviour 105."""
    monkeypatch.setattr(partitions, "ITEMS_MAX", 3)
    line.put(b"1", b"2")
    assert not line.put(b"3", b"4")  # together or not at all
    assert line.put(b"3")
    assert not line.put(b"4", timeout_s=0.01)
    first = other.begin("queue_put", **other.putting(b"4", b"5", timeout_s=None))
    second = line.begin("queue_put", **line.putting(b"6", timeout_s=None))
    offer = line.offer()
    assert other.waits(first)  # what was offered is still there
    assert line.claim(offer)
    assert other.waits(first) and line.waits(second)  # room for one, and the first wants two
    line.get()
    assert other.comes(first)["put"]
    line.get()
    assert line.comes(second)["put"]
    assert line.get(5) == [b"4", b"5", b"6"]
    monkeypatch.setattr(partitions, "BYTES_MAX", 10)
    assert not line.put(b"12345678901")


def test_a_putter_that_is_gone_puts_nothing(
    world: World, line: Line, other: Line, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(partitions, "ITEMS_MAX", 1)
    line.put(b"1")
    other.begin("queue_put", **other.putting(b"2", timeout_s=None))
    other.client.close()
    third = line.begin("queue_put", **line.putting(b"3", timeout_s=None))
    assert line.get() == [b"1"]
    assert line.comes(third)["put"]
    assert line.get(5) == [b"3"]


def test_looking_takes_nothing_and_sees_what_comes(line: Line, other: Line):
    """Behaviour 106."""
    assert line.peek()["items"] == []
    line.put(b"1", b"2", b"3")
    seen = line.peek(count=2)
    assert seen["items"] == [b"1", b"2"]
    last = line.peek(seen["last"])
    assert last["items"] == [b"3"]
    waiting = line.begin("queue_peek", after=last["last"], count=5, timeout_s=None)
    assert line.waits(waiting)
    other.put(b"4")
    seen = line.comes(waiting)
    assert seen["items"] == [b"4"]
    assert line.peek(seen["last"], timeout_s=0.01)["items"] == []
    assert line.get(9) == [b"1", b"2", b"3", b"4"]


def test_what_is_not_in_memory_is_read_in_its_order(
    world: World, line: Line, other: Line, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(partitions, "READY_ITEMS_MAX", 2)
    monkeypatch.setattr(queues, "FETCH_ITEMS", 2)
    for at in range(9):
        line.put(b"%d" % at)
    offer = other.offer(2)  # one of those that goes back
    assert line.get(1) == [b"2"]
    other.client.close()
    found = [line.get(1 + at % 2) for at in range(9)]
    values = [value for some in found for value in some]
    assert values == [b"0", b"1", *(b"%d" % at for at in range(3, 9))]
    assert offer["more"]
    assert world.hub.queues._ready_bytes == 0


def test_an_offer_has_a_limit_and_says_that_there_is_more(
    line: Line, monkeypatch: pytest.MonkeyPatch
):
    for module in (partitions, queues):
        monkeypatch.setattr(module, "OFFER_BYTES_MAX", 10)
    line.put(*(b"123456" for _ in range(3)))
    found = []
    while (offer := line.offer(5))["items"]:
        assert line.claim(offer)
        found.append((len(offer["items"]), offer["more"]))
    assert found == [(1, True), (1, True), (1, False)]


def test_a_partition_ends_when_nobody_puts_anything_into_it(
    world: World, line: Line, monkeypatch: pytest.MonkeyPatch
):
    clock = {"now": 1e9}
    monkeypatch.setattr(queues, "wall_clock", lambda: clock["now"])
    line.put(b"1", ttl_s=10.0)
    clock["now"] += 9
    line.put(b"2", ttl_s=10.0)
    clock["now"] += 9
    assert line.len() == 2
    line.put(b"other", partition="x", ttl_s=1.0)
    clock["now"] += 2
    assert line.len(None) == 0
    assert line.get() == []
    line.put(b"3", ttl_s=10.0)
    assert line.get(5) == [b"3"]
    line.put(b"4", ttl_s=10.0)
    world.hub.queues._queues.clear()  # as after a restart
    clock["now"] += 11
    world.loop.run_until_complete(world.hub.queues._sweep())
    assert line.len(None) == 0


def test_who_waits_at_a_queue_that_is_deleted_is_told(line: Line, other: Line):
    waiting = other.begin("queue_get", count=1, timeout_s=None)
    asked(line.client, "object_delete", kind="queue", object_id=line.object_id)
    with pytest.raises(errors.NotFoundError, match="there is no queue"):
        other.comes(waiting)
    with pytest.raises(errors.NotFoundError):
        line.put(b"1")


def test_what_is_cleared_is_gone_also_when_it_was_offered(line: Line, other: Line):
    line.put(b"1", b"2")
    other.offer()
    line.ask("queue_clear", ticket=line.ticket())
    assert line.len() == 0
    other.client.close()
    line.client.world.turn()
    assert line.get(5) == []
    line.put(b"3")
    assert (line.len(), line.get(5)) == (1, [b"3"])


def test_a_container_shares_queues(world: World, client: Client):
    """Behaviour 135."""
    client.open(function_spec())
    client.call(1)
    user = world.containers[-1].user
    user.hello()
    line = Line(user)
    line.ticket = lambda: None
    line.put(b"1", b"2")
    assert line.get() == [b"1"]
    assert Line(client, line.object_id).get() == [b"2"]


def test_what_one_client_may_hold_is_bounded(
    world: World, line: Line, other: Line, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queues, "WAITING_MAX", 2)
    monkeypatch.setattr(offers, "OFFERED_BYTES_MAX", 1)
    line.put(b"12", b"34", b"56")
    assert other.offer()["items"] == [b"12"]
    with pytest.raises(errors.ResourceExhaustedError, match="has not taken them"):
        other.offer()
    assert line.get() == [b"34"]
    for _ in range(2):
        line.begin("queue_get", count=1, timeout_s=None, partition="x")
    with pytest.raises(errors.ResourceExhaustedError, match="wait at queues"):
        line.offer(timeout_s=None, partition="x")
    monkeypatch.setattr(queues, "PARTITIONS_MAX", 2)
    with pytest.raises(errors.ResourceExhaustedError, match="2 partitions"):
        line.put(b"1", partition="y")


GOOD: dict[str, Any] = {
    "partition": "", "values": [b"1"], "ttl_s": 60.0, "timeout_s": 0, "count": 1, "after": 0,
    "offer": 1,
}  # fmt: skip
BAD: list[tuple[str, dict[str, Any]]] = [
    *itertools.product(["queue_put", "queue_get", "queue_peek"], [
        {"partition": None}, {"partition": "p" * 65}, {"partition": "\0"}, {"partition": 1},
        {"partition": "\ud800"}, {"timeout_s": -1}, {"timeout_s": float("nan")},
        {"timeout_s": "1"}, {"object_id": None},
    ]),
    *itertools.product(["queue_put"], [
        {"values": []}, {"values": None}, {"values": ["1"]}, {"values": [b"1"] * 5001},
        {"ttl_s": 0}, {"ttl_s": 1e9}, {"ttl_s": None}, {"ticket": None},
    ]),
    *itertools.product(["queue_get", "queue_peek"], [{"count": 0}, {"count": None}]),
    ("queue_peek", {"after": -1}), ("queue_claim", {"offer": -1}), ("queue_claim", {"offer": None}),
    ("queue_claim", {"ticket": 3}), ("queue_len", {"partition": 3}),
    ("queue_clear", {"partition": "p" * 65}), ("queue_clear", {"ticket": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "fields"), BAD)
def test_what_makes_no_sense_ends_who_sends_it(
    world: World, line: Line, op: str, fields: dict[str, Any]
):
    client = line.client
    known = {**GOOD, "object_id": line.object_id, "ticket": line.ticket()}
    client.ask(op, **{**known, **fields})
    world.turn()
    assert client.broken


@pytest.mark.parametrize("op", sorted(handler.__name__ for handler in requests.HANDLERS))
def test_a_field_that_is_missing_ends_who_leaves_it_out(world: World, line: Line, op: str):
    line.client.ask(op)
    world.turn()
    assert line.client.broken


def test_an_item_that_is_too_large_is_refused(line: Line):
    with pytest.raises(errors.RequestSizeError, match="at most 1048576"):
        line.put(b"1" * ((1 << 20) + 1))
