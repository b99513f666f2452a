"""Caches of build steps: what they take up, when they were used, and their end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volantd.images.kept.caches import UV, UV_NAME, Caches
from volantd.images.kept.unsettled import Unsettled

MIB = 1 << 20


@pytest.fixture
def caches(tmp_path: Path) -> Caches:
    made = Caches(str(tmp_path), Unsettled(str(tmp_path)))
    made.open()
    return made


def again(tmp_path: Path) -> Caches:
    made = Caches(str(tmp_path), Unsettled(str(tmp_path)))
    made.open()
    return made


def fill(directory: str, name: str = "file", mebibytes: int = 1) -> Path:
    path = Path(directory, name)
    path.write_bytes(os.urandom(MIB) * mebibytes)
    return path


def mebibytes(caches: Caches) -> dict[str, int]:
    return {one.name: round(one.size_bytes / MIB) for one in caches.all().values()}


def test_a_cache_is_told_by_its_name_and_measured(caches: Caches, tmp_path: Path) -> None:
    fill(caches.directory("archives"), mebibytes=2)
    caches.use_uv()
    fill(caches.uv)
    assert mebibytes(caches) == {"archives": 0, UV_NAME: 0}
    assert not caches.is_measured
    caches.measure()
    assert caches.is_measured
    assert mebibytes(caches) == mebibytes(again(tmp_path)) == {"archives": 2, UV_NAME: 1}
    assert round(caches.total_bytes / MIB) == 3


def test_what_a_layer_shares_with_a_cache_is_the_layers(caches: Caches, tmp_path: Path) -> None:
    caches.use_uv()
    os.link(fill(caches.uv, "shared"), tmp_path / "layer")
    os.link(fill(caches.uv, "twice"), Path(caches.uv, "again"))
    caches.measure()
    assert mebibytes(caches) == {UV_NAME: 1}
    (tmp_path / "layer").unlink()
    caches.doubt()
    assert not caches.is_measured
    caches.measure()
    assert mebibytes(caches) == {UV_NAME: 2}


def test_a_cache_that_is_used_keeps_its_size_until_it_is_measured_again(caches: Caches) -> None:
    fill(caches.directory("a"))
    caches.measure()
    fill(caches.directory("a"), "more")
    assert (mebibytes(caches), caches.is_measured) == ({"a": 1}, False)
    caches.measure()
    assert (mebibytes(caches), caches.is_measured) == ({"a": 2}, True)


def test_the_last_use_is_known_to_the_next_daemon(caches: Caches, tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        caches.directory(name)
    for one in (caches, again(tmp_path)):
        used = {cache.name: cache.used_at for cache in one.all().values()}
        assert used["b"] < used["a"]


def test_what_goes_is_forgotten_and_uvs_directory_stays(caches: Caches, tmp_path: Path) -> None:
    place = caches.directory("a")
    caches.use_uv()
    fill(caches.uv, "x")
    (one,) = caches.all().keys() - {UV}
    assert caches.forget(one) == [place]
    assert caches.forget(UV) == [str(Path(caches.uv, "x"))]
    assert caches.all() == {}
    os.rmdir(place)
    Path(caches.uv, "x").unlink()
    assert again(tmp_path).all() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"name": "x"}}'])
def test_caches_that_nothing_is_known_of_go_first(
    caches: Caches, tmp_path: Path, text: str
) -> None:
    fill(caches.directory("a"))
    fill(caches.uv)
    (tmp_path / "caches.json").write_text(text)
    found = again(tmp_path)
    found.measure()
    assert sorted(round(one.size_bytes / MIB) for one in found.all().values()) == [1, 1]
    assert {one.used_at for one in found.all().values()} == {0.0}


def test_a_name_of_any_length_is_one(caches: Caches) -> None:
    caches.directory("x" * 10_000)
    ((_, cache),) = caches.all().items()
    assert len(cache.name) == 100
