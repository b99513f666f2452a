"""`Dict`: a mapping on the disk, shared by programs and containers."""

from __future__ import annotations

import asyncio
import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import storing
from tests.behaviours.programs import at_home
from tests.support import same
from volant.errors import (
    AlreadyExistsError,
    AsyncUsageWarning,
    DeserializationError,
    InvalidError,
    NotFoundError,
    RequestSizeError,
    SerializationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.behaviours.programs import Program


@pytest.fixture
def entries() -> Iterator[volant.Dict]:
    with volant.Dict.ephemeral() as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    with storing.app.run():
        yield


def test_a_missing_key(entries: volant.Dict) -> None:
    """Behaviour 100: KeyError, or a default; None is a value."""
    with pytest.raises(KeyError, match="'a'"):
        entries["a"]
    with pytest.raises(KeyError):
        entries.pop("a")
    with pytest.raises(KeyError):
        del entries["a"]
    assert entries.get("a") is None
    assert entries.get("a", 3) == 3
    assert entries.pop("a", 4) == 4
    entries["a"] = None
    assert entries.get("a", 3) is None
    assert entries.pop("a", 4) is None
    assert entries.get("a", 3) == 3


def test_setting_finding_listing(entries: volant.Dict) -> None:
    """Behaviour 101."""
    assert entries.put("a", 1, skip_if_exists=True) is True
    assert entries.put("a", 2, skip_if_exists=True) is False
    assert entries.put("b", 2) is True
    entries.update({"b": 3, "c": 4}, d=5)
    entries.update()
    assert "a" in entries and "x" not in entries and entries.contains("a")
    assert len(entries) == entries.len() == 4
    assert sorted(entries.keys()) == ["a", "b", "c", "d"]
    assert sorted(entries.values()) == [1, 3, 4, 5]
    assert dict(entries.items()) == {"a": 1, "b": 3, "c": 4, "d": 5}
    del entries["a"]
    assert "a" not in entries
    entries.clear()
    assert (len(entries), bool(entries)) == (0, True)


def test_keys_are_the_same_if_their_pickles_are(entries: volant.Dict) -> None:
    """Whatever was the same object when they were made."""
    word = "".join(["wo", "rd"])
    entries[word, word] = 1
    assert entries["".join(["wor", "d"]), "word"] == 1
    entries[1], entries[True], entries[1.0] = "int", "bool", "float"
    assert [entries[key] for key in (1, True, 1.0)] == ["int", "bool", "float"]
    entries[frozenset({3})] = entries[None] = entries[b"raw"] = 0
    assert len(entries) == 7


def test_all_of_it_is_awaited_as_well(entries: volant.Dict) -> None:
    async def use() -> list[Any]:
        await entries.put.aio("a", 1)
        await entries.update.aio({"b": 2})
        async with volant.Dict.ephemeral.aio() as other:
            await other.put.aio("x", 1)
            assert [key async for key in other.keys.aio()] == ["x"]
        pairs = [pair async for pair in entries.items.aio()]
        values = [value async for value in entries.values.aio()]
        with pytest.warns(AsyncUsageWarning, match=r"`d\[key\]` blocks .* `await d.get.aio"):
            entries["a"]
        with pytest.warns(AsyncUsageWarning, match=r"use `await dict\.len\.aio\(\.\.\.\)`"):
            entries.len()
        return [sorted(pairs), sorted(values), await entries.pop.aio("a"), await entries.len.aio()]

    assert asyncio.run(use()) == [[("a", 1), ("b", 2)], [1, 2], 1, 1]


def test_large_values(entries: volant.Dict) -> None:
    """Up to 100 MiB; each whole, also when they are listed."""
    values = {"small": b"1", "large": os.urandom(300 << 10), "huge": os.urandom(9 << 20)}
    entries.update(values)
    assert dict(entries.items()) == values
    assert same(entries.pop("huge"), values["huge"])
    with pytest.raises(RequestSizeError, match=r"'x' has 1048576\d\d bytes as a pickle, at most"):
        entries["x"] = bytes((100 << 20) + 1)
    with pytest.raises(InvalidError, match="10001 entries in one update, at most 10000"):
        entries.update({at: at for at in range(10_001)})


def test_what_cannot_be_pickled_or_unpickled(entries: volant.Dict) -> None:
    """Behaviour 102: the key and the dict are named."""
    with pytest.raises(SerializationError, match="the value of 'lock' cannot be pickled"):
        entries["lock"] = (at for at in "ab")
    made = type("Gone", (), {"__module__": "tests.behaviours.apps.storing"})
    storing.Gone = made  # type: ignore[attr-defined]  # for a moment
    entries["thing"] = made()
    del storing.Gone  # type: ignore[attr-defined]
    with pytest.raises(DeserializationError, match=r"value of 'thing' in <volant\.Dict di-.*Gone"):
        entries["thing"]
    with pytest.raises(DeserializationError, match="value of 'thing'"):
        list(entries.items())
    assert list(entries.keys()) == ["thing"]


def test_a_name_is_looked_for_when_it_is_used() -> None:
    """Behaviour 88."""
    lost = volant.Dict.from_name("not-there")
    assert (lost.name, lost.object_id) == ("not-there", None)
    for use in (lost.hydrate, lost.info, lost.len, lambda: lost["a"]):
        with pytest.raises(NotFoundError, match="there is no dict 'not-there'"):
            use()
    with pytest.raises(NotFoundError, match="there is no dict 'di-1'"):
        volant.Dict.from_id("di-1").get("a")
    with pytest.raises(NotFoundError, match="there is no environment 'nowhere'"):
        volant.Dict.from_name("x", environment_name="nowhere", create_if_missing=True).len()


@pytest.mark.parametrize("name", ["a b", "a/b", "a" * 65, "", None])
def test_names_that_cannot_be(name: Any) -> None:
    """Behaviour 98: refused where they are written."""
    for use in (volant.Dict.from_name, volant.Dict.objects.create, volant.Dict.objects.delete):
        with pytest.raises(InvalidError, match="cannot be the name of a Dict"):
            use(name)
    with pytest.raises(InvalidError, match="cannot be the name of an environment"):
        volant.Dict.from_name("x", environment_name=name or "a b")
    with pytest.raises(InvalidError, match="such ids begin with `di-`"):
        volant.Dict.from_id(name)


@pytest.mark.parametrize("kind", [volant.Dict, volant.Queue, volant.Secret, volant.Volume])
def test_all_kinds_are_named_made_and_deleted_alike(kind: Any) -> None:
    """Behaviours 98 and 99."""
    given = ({"A": "1"},) if kind is volant.Secret else ()
    for wrong in ("a b", "a/b", "x" * 65, ""):
        with pytest.raises(InvalidError, match="cannot be the name of a"):
            kind.from_name(wrong)
        with pytest.raises(InvalidError, match="cannot be the name of a"):
            kind.objects.create(wrong, *given)
    kind.objects.create("alike", *given)
    with pytest.raises(AlreadyExistsError):
        kind.objects.create("alike", *given)
    kind.objects.create("alike", *given, allow_existing=True)
    assert [one.name for one in kind.objects.list(max_objects=1)] == ["alike"]
    kind.objects.delete("alike")
    with pytest.raises(NotFoundError):
        kind.objects.delete("alike")
    kind.objects.delete("alike", allow_missing=True)


def test_named_ones_are_made_listed_deleted() -> None:
    """Behaviours 98, 99."""
    names = ["first", "second"]
    for name in names:
        assert volant.Dict.objects.create(name) is None
        with pytest.raises(AlreadyExistsError, match=f"there is a dict '{name}' already"):
            volant.Dict.objects.create(name)
        volant.Dict.objects.create(name, allow_existing=True)
    found = volant.Dict.objects.list()
    assert [one.name for one in found if one.name in names] == names[::-1]
    assert len(volant.Dict.objects.list(max_objects=1)) == 1
    assert volant.Dict.objects.list(max_objects=0) == []
    with pytest.raises(InvalidError, match="max_objects"):
        volant.Dict.objects.list(max_objects=-1)
    found = [one for one in found if one.name == "second"]
    info = found[0].info()
    assert (info.name, info.created_by) != ("second", "")
    assert info.created_at.tzinfo is not None
    before = volant.Dict.objects.list(created_before=info.created_at)
    assert [one.name for one in before if one.name in names] == ["first"]
    assert volant.Dict.objects.list(created_before="2026-01-01") == []
    found[0]["kept"] = 1
    assert volant.Dict.from_name("second")["kept"] == 1
    assert volant.Dict.from_id(str(found[0].object_id)).hydrate().name == "second"
    for name in names[1:]:
        volant.Dict.objects.delete(name)
    volant.Dict.delete(names[0])
    with pytest.raises(NotFoundError):
        volant.Dict.objects.delete("first")
    volant.Dict.objects.delete("first", allow_missing=True)
    with pytest.raises(NotFoundError):
        found[0].get("kept")  # nor does its old handle find what now has the name
    with pytest.raises(InvalidError, match="client must be"):
        volant.Dict.from_name("x", client=object())  # type: ignore[arg-type]  # which is none


def test_an_ephemeral_one_ends_with_its_block() -> None:
    """Behaviour 103."""
    with volant.Dict.ephemeral() as made:
        made["a"] = 1
        again = volant.Dict.from_id(str(made.object_id))
        assert again["a"] == 1
        assert made.info().name is None
    for handle in (made, again):
        with pytest.raises(NotFoundError):
            handle.get("a")
    assert all(one.object_id != made.object_id for one in volant.Dict.objects.list())


@pytest.mark.usefixtures("running")
def test_handles_travel(entries: volant.Dict) -> None:
    """Behaviour 136: as arguments, results, and in dicts, found or not yet found."""
    back = storing.note.remote(entries, "a", {"nested": entries})
    assert isinstance(back, volant.Dict)
    assert back["a"]["nested"]["a"]["nested"].object_id == entries.object_id
    with volant.Queue.ephemeral() as queue:
        queue.put("through")
        entries["queue"] = queue
        assert storing.unpack.remote(entries, "queue") == "through"
    unused = volant.Dict.from_name("travels", create_if_missing=True)
    arrived = pickle.loads(pickle.dumps(unused))
    storing.note.remote(arrived, "b", 2)
    assert unused["b"] == 2
    volant.Dict.objects.delete("travels")


@pytest.mark.usefixtures("running")
def test_containers_find_and_make_their_own() -> None:
    """Behaviour 135."""
    found = volant.Dict.from_name("shared", create_if_missing=True)
    found["from outside"] = 1
    assert storing.find_by_name.remote("shared") == 1
    assert found["from inside"] == 2
    volant.Dict.objects.delete("shared")
    assert storing.use_an_ephemeral_one.remote() == "own"


@pytest.mark.usefixtures("running")
def test_one_of_many_takes_a_lock(entries: volant.Dict) -> None:
    """Behaviour 142."""
    taken = list(storing.take_lock.map([entries] * 40, range(40)))
    assert taken.count(True) == 1
    assert entries["lock"] == taken.index(True)


def test_classes_of_the_program_itself(start: Callable[..., Program]) -> None:
    """Behaviour 134: `__main__` here, a module in containers, and back."""
    assert start("storing.py").end()[:2] == (0, "well\n")


def test_what_was_set_is_there_after_the_daemon_has_ended(
    own_home: Path, start: Callable[..., Program]
) -> None:
    program = (
        "import volant; d = volant.Dict.from_name('kept', create_if_missing=True);"
        " d['n'] = d.get('n', 0) + 1; print(d['n'])"
    )
    from tests.support import stop_daemon

    for count in (1, 2):
        with at_home(own_home):
            assert start("-c", program, home=own_home).line() == str(count)
        stop_daemon(own_home)
