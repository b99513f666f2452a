"""Named objects and what is in them, over SQLite and over PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from volantd.hub.objects.dicts.changes import Clear, Pop, Put
from volantd.hub.objects.queues import changes as queued
from volantd.store import dicts, objects, queues
from volantd.store.records import EntryRow, EnvironmentRow, ObjectRow, TicketRow

if TYPE_CHECKING:
    from tests.contract.store.conftest import Session


def row(object_id: str, name: str | None = "index") -> ObjectRow:
    return ObjectRow(
        object_id=object_id, kind="dict", environment="main", name=name, created_at=10.125,
        created_by="ada", options=b"\0\xff",
    )  # fmt: skip


def entry(
    key: bytes, value: bytes | None = b"1", file: str | None = None, hour: int = 100
) -> EntryRow:
    return EntryRow(
        object_id="di-1", key_hash=key * 2, key=key, value=value, file=file, size=3, used_hour=hour
    )


def put(session: Session, *rows: EntryRow, if_absent: bool = False, has_files: bool = False) -> Put:
    made = Put(
        object_id="di-1", since=50, rows=rows, if_absent=if_absent, has_files=has_files
    )  # fmt: skip
    session.run(made.make)
    return made


def test_objects_are_kept_and_one_name_is_one_object(session: Session):
    kept = [row("di-1"), row("di-2", None), row("di-3", None)]
    session.run(lambda one: objects.add(one, kept))
    [main] = session.run(objects.load_environments)
    assert (main.environment_id, main.name, main.web_suffix) == ("main", "main", "")
    found = session.run(objects.load)
    assert sorted(found, key=lambda one: one.object_id) == kept
    with pytest.raises(IntegrityError):
        session.run(lambda one: objects.add(one, [row("di-4")]))
    session.run(lambda one: objects.remove(one, ["di-1", "di-3"]))
    assert session.run(objects.load) == [kept[1]]


def test_environments_are_kept_renamed_and_gone_when_nothing_is_in_them(session: Session):
    made = EnvironmentRow(
        environment_id="en-1", name="staging", created_at=10.125, web_suffix="staging"
    )
    session.run(lambda one: objects.add_environments(one, [made]))
    within = replace(row("di-1"), environment="en-1")
    session.run(lambda one: objects.add(one, [within, row("di-2")]))  # of one name
    session.run(lambda one: objects.change_environments(one, [("en-1", "preview", "test")]))
    renamed = replace(made, name="preview", web_suffix="test")
    assert [one for one in session.run(objects.load_environments) if one.name != "main"] == [
        renamed
    ]
    with pytest.raises(IntegrityError):
        session.run(
            lambda one: objects.add_environments(one, [replace(renamed, environment_id="en-2")])
        )
    with pytest.raises(IntegrityError):
        session.run(lambda one: objects.remove_environments(one, ["en-1"]))
    session.run(lambda one: objects.remove(one, ["di-1"]))
    session.run(lambda one: objects.remove_environments(one, ["en-1"]))
    assert [one.name for one in session.run(objects.load_environments)] == ["main"]


def test_the_last_change_on_each_line_is_known(session: Session):
    def note(*tickets: tuple[str, int, int, bytes]) -> None:
        rows = [
            TicketRow(client=client, line=line, number=number, made_at=number,
                      answer=lambda answer=answer: answer)
            for client, line, number, answer in tickets
        ]  # fmt: skip
        session.run(lambda one: objects.note_tickets(one, rows))

    note(("a", 0, 1, b"1"), ("a", 1, 1, b"2"), ("b", 0, 1 << 40, b"\0"))
    note(("a", 0, 2, b"3"), ("a", 0, 3, b"4"))
    assert sorted(session.run(lambda one: objects.tickets_of(one, "a"))) == [
        (0, 3, b"4"), (1, 1, b"2"),
    ]  # fmt: skip
    session.run(lambda one: objects.forget_tickets(one, 3.0))
    assert session.run(lambda one: objects.tickets_of(one, "a")) == [(0, 3, b"4")]
    assert session.run(lambda one: objects.tickets_of(one, "b")) == [(0, 1 << 40, b"\0")]


@pytest.mark.parametrize("has_files", [True, False])
def test_a_key_is_set_once_if_that_is_wished(session: Session, has_files: bool):
    assert put(session, entry(b"k"), if_absent=True, has_files=has_files).answer["stored"]
    again = put(session, entry(b"k", b"2"), if_absent=True, has_files=has_files)
    assert not again.answer["stored"]
    assert put(session, entry(b"k", b"3", hour=10), has_files=has_files).answer["stored"]
    # It was not used for long by now, so it is not there.
    assert put(session, entry(b"k", b"4"), if_absent=True, has_files=has_files).answer["stored"]
    found = session.run(lambda one: dicts.get(one, "di-1", b"kk", 50))
    assert (bytes(found.value), found.used_hour) == (b"4", 100)


def test_entries_come_in_pages_are_counted_and_cleared(session: Session):
    put(session, *(entry(b"%03d" % at) for at in range(600)))
    put(session, entry(b"old", hour=10), entry(b"large", None, "f" * 64))
    assert session.run(lambda one: dicts.count(one, "di-1", 50)) == 601
    pages = session.run(lambda one: dicts.page(one, "di-1", b"", 50, 1000))
    assert len(pages) == 601
    assert pages == sorted(pages)
    assert session.run(lambda one: dicts.page(one, "di-1", pages[2][0], 50, 2)) == pages[3:5]
    values = session.run(lambda one: dicts.values_of(one, "di-1", [page[0] for page in pages]))
    assert values[b"large" * 2] == (None, "f" * 64)
    assert bytes(values[b"007007"][0]) == b"1"
    assert session.run(dicts.with_files) == {"di-1"}
    session.run(lambda one: dicts.touch(one, "di-1", [b"oldold"], 200))
    assert session.run(lambda one: dicts.count(one, "di-1", 150)) == 1
    assert session.run(lambda one: dicts.clear(one, "di-1", 101)) == [("f" * 64, 3)]
    clear = Clear(object_id="di-1", since=0)
    session.run(clear.make)
    assert session.run(lambda one: dicts.count(one, "di-1", 0)) == 0


def test_what_is_replaced_or_popped_tells_its_file(session: Session):
    put(session, entry(b"k", None, "f" * 64))
    assert put(session, entry(b"k", None, "e" * 64), has_files=True).dropped == [("f" * 64, 3)]
    pop = Pop(object_id="di-1", since=50, key_hash=b"kk")
    session.run(pop.make)
    assert pop.answer == {"found": True, "file": "e" * 64, "size": 3}
    assert pop.dropped == [("e" * 64, 3)]
    pop = Pop(object_id="di-1", since=50, key_hash=b"kk")
    session.run(pop.make)
    assert pop.answer == {"found": False}


def test_items_come_in_their_order(session: Session):
    def make(*changes: Any) -> None:
        session.run(lambda one: queued._make(one, list(changes)))

    def of(partition: str, *ids: int, size: int = 1) -> queued.Put:
        return queued.Put.of("qu-1", partition, [(at, b"v" * size) for at in ids], 100.0 + ids[0])

    make(of("", 1, 2, 3), of("p", 4, 5), queued.Take([2]), queued.Take([5, 77]))
    found = session.run(lambda one: queues.partitions(one, "qu-1"))
    assert sorted((one.partition, one.count, one.size, one.last_id) for one in found) == [
        ("", 2, 2, 3), ("p", 1, 1, 4),
    ]  # fmt: skip
    assert {one.expires_at for one in found} == {101.0, 104.0}
    make(of("", 6, 7, 8, size=10), of("q", 9))
    where = {"object_id": "qu-1", "partition": ""}
    read = session.run(
        lambda one: queues.read(one, **where, after=1, upto=7, count_max=9, bytes_max=12)
    )
    assert [(at, bytes(value)) for at, value in read] == [(3, b"v"), (6, b"v" * 10)]
    assert session.run(queues.last_id) == 9
    assert session.run(lambda one: queues.expired(one, 105.0)) == [("qu-1", "p")]
    make(queued.Clear("qu-1", "p"), queued.Clear("qu-2", None), of("p", 10))
    assert session.run(lambda one: queues.expired(one, 105.0)) == []
    make(queued.Clear("qu-1", None))
    assert session.run(queues.last_id) == 0


def test_what_a_deleted_object_held_is_purged_in_parts(session: Session):
    put(session, *(entry(b"%d" % at) for at in range(5)))
    session.run(lambda one: queued._make(
        one, [queued.Put.of("qu-1", "", [(at, b"v") for at in range(1, 6)], 1.0)]
    ))  # fmt: skip
    for table, object_id in (("entries", "di-1"), ("items", "qu-1")):
        assert session.run(lambda one, table=table: objects.ownerless(one, table)) == [object_id]
        counts = [
            session.run(lambda one, at=(table, object_id): objects.purge(one, *at, 2))
            for _ in range(4)
        ]
        assert counts == [2, 2, 1, 0]
