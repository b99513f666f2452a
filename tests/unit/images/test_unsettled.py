"""Layers and caches that a power cut may have taken a part of are made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.images.test_store import left, make, record
from volantd import syncing
from volantd.images.kept.unsettled import FILE_NAME
from volantd.images.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path))
    made.open()
    return made


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """There while something may not be on the disk."""
    return tmp_path / "images" / FILE_NAME


def restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store as a daemon finds it after the machine was started again."""
    monkeypatch.setattr(syncing, "boot", lambda: "another")
    made = Store(str(tmp_path))
    made.open()
    return made


def test_what_was_not_settled_is_made_again_after_another_start_of_the_machine(
    store: Store, tmp_path: Path, marked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, "kept", make(store, "a"))
    store.unsettled.settle()
    assert not marked.exists()
    record(store, "lost", make(store, "b"))
    Path(store.caches.directory("words"), "file").touch()
    assert marked.exists()
    again = restarted(tmp_path, monkeypatch)
    assert list(again.books.entries) == ["kept"]
    assert left(tmp_path, "layers") == ["a"]
    assert again.caches.all() == {}
    assert left(tmp_path, "caches") == []
    assert not marked.exists()


def test_a_cache_alone_is_not_settled_either(
    store: Store, tmp_path: Path, marked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.caches.use_uv()
    Path(store.caches.uv, "file").touch()
    assert marked.exists()
    restarted(tmp_path, monkeypatch)
    assert left(tmp_path, "uv") == []


def test_in_the_same_start_of_the_machine_all_stays_and_is_still_not_settled(
    store: Store, tmp_path: Path, marked: Path
) -> None:
    record(store, "there", make(store, "a"))
    again = Store(str(tmp_path))
    again.open()
    assert list(again.books.entries) == ["there"]
    assert marked.exists()
    again.unsettled.settle()
    assert not marked.exists()


def test_what_begins_while_all_is_synced_is_not_settled(
    store: Store, marked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(store, "a")
    real = syncing.sync_file_system

    def meanwhile(path: str) -> None:
        monkeypatch.setattr(syncing, "sync_file_system", real)
        real(path)
        make(store, "b")

    monkeypatch.setattr(syncing, "sync_file_system", meanwhile)
    store.unsettled.settle()
    assert marked.exists()
    store.unsettled.settle()
    assert not marked.exists()
    store.unsettled.settle()  # there is nothing to be settled


def test_what_cannot_be_synced_stays_unsettled(
    store: Store, marked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(store, "a")

    def broken(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(syncing, "sync_file_system", broken)
    with pytest.raises(OSError, match="Input/output"):
        store.unsettled.settle()
    assert marked.exists()
