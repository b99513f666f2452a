"""Published names: what they mean survives, whatever happens while it is written."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from volantd.images.kept import names as names_module
from volantd.images.kept.names import Names

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"k1", "k2"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "names.json"


def opened(path: Path) -> Names:
    names = Names(str(path))
    names.open(KEYS)
    return names


def test_a_name_means_what_was_published_last(path: Path) -> None:
    names = opened(path)
    names.publish("base:1", "k1", 5.0)
    names.publish("base:2", "k1", 6.0)
    names.publish("base:1", "k2", 7.0)
    for one in (names, opened(path)):
        assert (one.key_of("base:1"), one.key_of("base:2"), one.key_of("x")) == ("k2", "k1", None)
        assert one.of("k1") == ["base:2"]
        assert one.all()["base:1"].published_at == 7.0


def test_a_deleted_name_means_nothing(path: Path) -> None:
    names = opened(path)
    names.publish("base:1", "k1", 5.0)
    names.delete({"base:1", "other"})
    assert names.all() == opened(path).all() == {}


def test_a_name_whose_image_is_gone_means_nothing(path: Path) -> None:
    opened(path).publish("base:1", "gone", 5.0)
    assert opened(path).key_of("base:1") is None


def test_what_cannot_be_written_has_not_happened(path: Path) -> None:
    names = opened(path)
    names.publish("base:1", "k1", 5.0)
    os.mkdir(f"{path}.new")
    with pytest.raises(OSError, match=r"names\.json"):
        names.publish("base:1", "k2", 6.0)
    assert names.key_of("base:1") == opened(path).key_of("base:1") == "k1"


def test_there_is_an_end_to_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "NAMES_MAX", 1)
    names = opened(path)
    names.publish("a:1", "k1", 5.0)
    names.publish("a:1", "k2", 6.0)
    with pytest.raises(ValueError, match="which is the most"):
        names.publish("b:1", "k1", 7.0)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"key": "k1"}}'])
def test_a_file_that_is_none_is_left_as_it_is(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=r"names|Expecting"):
        opened(path)
    assert path.read_text() == text


def test_the_file_is_plain(path: Path) -> None:
    opened(path).publish("base:1", "k1", 5.0)
    assert json.loads(path.read_text()) == {"base:1": {"key": "k1", "published_at": 5.0}}
