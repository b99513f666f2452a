"""Layers and records on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volantd.images.kept import books
from volantd.images.keys import Settings
from volantd.images.oci import OciError
from volantd.images.store import Record, Store

STEP = {"kind": "run", "commands": ["x"]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path))
    made.open()
    return made


def again(tmp_path: Path) -> Store:
    """The store as the next daemon opens it."""
    made = Store(str(tmp_path))
    made.open()
    return made


def make(store: Store, layer_id: str, name: str = "file", size: int = 0) -> str:
    place = store.begin()
    Path(place, "diff", name).write_bytes(os.urandom(size))
    return store.keep(place, layer_id)


def record(store: Store, key: str, *layers: str, parent: str | None = None) -> None:
    store.books.begin(key, STEP, parent).close()
    store.books.finish(key, Record(layers))


def left(tmp_path: Path, part: str) -> list[str]:
    return sorted(os.listdir(tmp_path / "images" / part))


# -- layers


def test_a_layer_is_there_once_it_is_kept(store: Store) -> None:
    place = store.begin()
    assert not store.has_layer("a")
    store.keep(place, "a")
    assert store.has_layer("a")
    store.discard(place)
    assert store.has_layer("a")


def test_what_is_discarded_leaves_nothing(store: Store, tmp_path: Path) -> None:
    place = store.begin()
    Path(place, "diff/file").touch()
    store.discard(place)
    assert left(tmp_path, "work") == left(tmp_path, "trash") == []


def test_a_layer_that_is_made_anew_leaves_the_other_to_who_runs_on_it(store: Store) -> None:
    assert (make(store, "a", "old"), make(store, "a", "new")) == ("a", "a.1")
    assert os.listdir(store.layer_path("a")) == ["old"]
    assert os.listdir(store.layer_path("a.1")) == ["new"]


def test_a_layer_is_measured_once_and_names_of_a_file_count_once(
    store: Store, tmp_path: Path
) -> None:
    place = store.begin()
    Path(place, "diff/one").write_bytes(os.urandom(1 << 20))
    os.link(Path(place, "diff/one"), Path(place, "diff/other"))
    store.keep(place, "a")
    make(store, "b", size=512 << 10)
    assert store.sizes["a"] == pytest.approx(1 << 20, abs=16 << 10)
    assert store.total_bytes == sum(store.sizes.values()) >= 1536 << 10
    record(store, "key", "a", "b")
    assert again(tmp_path).sizes == store.sizes


def test_the_directory_is_its_users_alone(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o700


# -- records


def test_a_record_says_what_was_written(store: Store, tmp_path: Path) -> None:
    make(store, "a")
    told = Record(("a",), Settings({"A": "ü"}, ("/bin/bash", "-c")))
    store.books.begin("key", STEP, "before").close()
    store.books.finish("key", told)
    for one in (store, again(tmp_path)):
        assert one.record("key") == told
        assert (one.books.entries["key"].parent, one.books.entries["key"].step) == ("before", STEP)
        assert one.record("other") is None


def test_a_record_whose_layer_is_gone_is_none(store: Store, tmp_path: Path) -> None:
    record(store, "key", "a")
    assert store.record("key") is None
    assert again(tmp_path).books.entries == {}
    assert left(tmp_path, "records") == []


def test_what_is_no_record_is_removed_and_what_it_had_with_it(store: Store, tmp_path: Path) -> None:
    make(store, "a")
    record(store, "key", "a")
    (tmp_path / "images/records/key.json").write_text('{"half": "of a rec')
    (tmp_path / "images/records/other.json.new").touch()
    assert again(tmp_path).sizes == {}
    assert left(tmp_path, "records") == left(tmp_path, "layers") == left(tmp_path, "logs") == []


def test_a_failed_step_is_known_by_its_attempt(store: Store, tmp_path: Path) -> None:
    store.books.begin("key", {**STEP, "force": True}, "before").close()
    assert again(tmp_path).books.drafts["key"].error.startswith("the daemon was killed")
    store.books.fail("key", "it failed")
    found = again(tmp_path).books.drafts["key"]
    assert (found.error, found.step, found.parent) == ("it failed", STEP, "before")
    record(store, "key")
    assert again(tmp_path).books.drafts == {}


def test_passwords_in_addresses_are_not_written_down(store: Store, tmp_path: Path) -> None:
    step = {
        "kind": "run", "packages": ["a @ https://me:hidden@host/a"], "b": {"x": ["ftp://hidden@h"]},
        "plain": "https://host/a@b:c",
    }  # fmt: skip
    store.books.begin("key", step, None).close()
    assert "hidden" not in (tmp_path / "images/drafts/key.json").read_text()
    shown = store.books.drafts["key"].step
    assert shown["packages"] == ["a @ https://***@host/a"]
    assert shown["plain"] == step["plain"]


def test_the_last_use_is_written_down_now_and_then(store: Store, tmp_path: Path) -> None:
    record(store, "key")
    assert not store.books.is_wanted("key")
    store.books.use("key")
    mark = tmp_path / "images/used/key"
    before = mark.stat().st_mtime_ns
    store.books.use("key")
    assert mark.stat().st_mtime_ns == before, "not at each use"
    assert store.books.is_wanted("key")
    opened = again(tmp_path)
    assert opened.books.is_wanted("key")
    assert opened.books.used_at("key") == pytest.approx(store.books.used_at("key"), abs=1)


def test_only_so_many_failed_builds_are_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "FAILED_MAX", 2)
    store.books.begin("0", STEP, None).close()
    for key in ("1", "2", "3", "4"):
        store.books.begin(key, STEP, None).close()
        store.books.fail(key, "it failed")
    store.books.begin("5", STEP, None).close()
    assert list(store.books.drafts) == ["0", "3", "4", "5"], "what is being built stays"
    assert left(tmp_path, "logs") == ["0.log", "3.log", "4.log", "5.log"]


# -- what goes


def test_what_a_killed_daemon_left_is_removed(store: Store, tmp_path: Path) -> None:
    """Half a layer, one that nobody knows, half a blob, and what was being removed."""
    store.begin()
    make(store, "unknown")
    make(store, "known")
    record(store, "key", "known")
    (tmp_path / "images/layers/half").mkdir()
    (tmp_path / "images/blobs/sha256").mkdir()
    (tmp_path / "images/blobs/sha256/.partial-x").touch()
    opened = again(tmp_path)
    opened.empty_trash()
    assert left(tmp_path, "layers") == ["known"]
    assert left(tmp_path, "work") == left(tmp_path, "blobs") == left(tmp_path, "trash") == []


def test_a_layer_goes_when_no_record_has_it_and_nothing_runs_on_it(
    store: Store, tmp_path: Path
) -> None:
    for layer in ("a", "b", "c"):
        make(store, layer, size=1 << 20)
    record(store, "one", "a", "b")
    record(store, "two", "a", "c", parent="one")
    store.books.forget("two")
    runs_on_it = {store.layer_path("c")}
    assert store.sweep(runs_on_it, float("inf")) == 1
    assert store.sweep((), 0.0) == 1, "a step that began before has looked for it"
    assert store.sweep((), float("inf")) == 0
    assert left(tmp_path, "layers") == ["a", "b"]


def test_what_an_image_frees_are_the_layers_that_no_other_has(store: Store) -> None:
    """Whatever waits to be swept."""
    for layer in ("a", "b", "c", "unknown"):
        make(store, layer, size=1 << 20)
    record(store, "one", "a", "b")
    record(store, "two", "a", "c", parent="one")
    assert store.bytes_of(set()) == 0
    assert store.bytes_of({"two"}) == store.sizes["c"]
    assert store.bytes_of({"one", "two"}) == store.total_bytes - store.sizes["unknown"]


def test_a_tree_that_somebody_hostile_made_is_removed(store: Store, tmp_path: Path) -> None:
    """Deeper than any path may be."""
    place = store.begin()
    fd = os.open(Path(place, "diff"), os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    assert store.keep(place, "deep") == "deep"
    store.sweep((), float("inf"))
    store.empty_trash()
    assert left(tmp_path, "layers") == left(tmp_path, "trash") == []


def test_what_a_step_has_closed_is_no_obstacle(store: Store, tmp_path: Path) -> None:
    """Steps write to the directories that they share, whose owner a normal user is."""
    cache, uv = Path(store.caches.directory("shared by steps")), Path(store.caches.uv)
    for path in (uv / "cache", uv / "out", cache / "inner"):
        path.mkdir()
    for path in (cache / "inner", cache, uv / "out", uv / "cache", uv):
        path.chmod(0)
    opened = again(tmp_path)
    assert os.listdir(uv) == ["cache"]
    for one in opened.caches.all():
        opened.clear_cache(one)
    opened.empty_trash()
    assert os.listdir(uv) == left(tmp_path, "caches") == left(tmp_path, "trash") == []


# -- layers on their way


def test_a_layer_travels_and_a_changed_one_is_refused(store: Store, tmp_path: Path) -> None:
    make(store, "a", "name", size=3000)
    blob = tmp_path / "a.tar.zst"
    packed = store.pack("a", blob)
    assert store.unpack(blob, packed, "b") == "b"
    assert Path(store.layer_path("b"), "name").read_bytes() == (
        Path(store.layer_path("a"), "name").read_bytes()
    )
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    with pytest.raises(OciError, match="was changed on its way"):
        store.unpack(blob, packed, "c")
    assert left(tmp_path, "layers") == ["a", "b"]
    assert left(tmp_path, "work") == []
