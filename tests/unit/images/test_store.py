"""Layers and records on disk, and paths through the links of an image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volantd.images.keys import Settings
from volantd.images.store import Record, Store, find


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path))
    made.open()
    return made


def make(store: Store, layer_id: str, name: str = "file") -> None:
    place = store.begin()
    Path(place, "diff", name).touch()
    store.keep(place, layer_id)


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
    assert os.listdir(tmp_path / "images/work") == []


def test_a_layer_can_be_made_anew(store: Store) -> None:
    make(store, "a", "old")
    make(store, "a", "new")
    assert os.listdir(store.layer_path("a")) == ["new"]


def test_what_a_killed_daemon_was_making_is_removed(store: Store, tmp_path: Path) -> None:
    store.begin()
    for name in ("out/half", "cache"):
        Path(store.uv, name).mkdir(parents=True)
    again = Store(str(tmp_path))
    again.open()
    assert os.listdir(tmp_path / "images/work") == []
    assert os.listdir(store.uv) == ["cache"]


def test_a_record_says_what_was_written(store: Store) -> None:
    make(store, "a")
    record = Record(("a",), Settings({"A": "ü"}, ("/bin/bash", "-c")))
    store.write_record("key", record)
    assert store.record("key") == record
    assert store.record("other") is None


def test_a_record_whose_layer_is_gone_is_none(store: Store) -> None:
    store.write_record("key", Record(("a",)))
    assert store.record("key") is None


def test_the_directory_is_its_users_alone(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    low, high = tmp_path / "low", tmp_path / "high"
    (low / "usr/bin").mkdir(parents=True)
    (low / "bin").symlink_to("usr/bin")
    (low / "abs").symlink_to("/usr")
    (low / "circle").symlink_to("circle")
    (low / "up").symlink_to("../../../../etc")
    (low / "replaced").symlink_to("usr")
    (high / "replaced").mkdir(parents=True)
    return [str(low), str(high)]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "/"),
        ("/usr/bin/x", "/usr/bin/x"),
        ("/bin/x", "/usr/bin/x"),
        ("/abs/bin", "/usr/bin"),
        ("/up/passwd", "/etc/passwd"),
        ("/replaced/x", "/replaced/x"),
        ("/nowhere/at/all", "/nowhere/at/all"),
        ("/circle/x", None),
    ],
)
def test_links_lead_to_files_of_the_image(layers: list[str], path: str, found: str | None) -> None:
    assert find(layers, path) == found
