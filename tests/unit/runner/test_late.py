"""What is noted of imports in a container, and what is told of them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from volant.runner.libraries import late
from volant.wire import frames, values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Packages that are installed, and sources of the program.
MODULES = {
    "site/one.py": "import within", "site/within.py": "", "site/two/__init__.py": "",
    "site/two/part.py": "", "site/broken.py": "1 / 0", "site/odd-name.py": "",
    "site/setting.py": "import os\nos.environ['OF_AN_IMPORT'] = '1'\nimport within",
    "own/mine.py": "import one, two.part",
}  # fmt: skip
NAMES = {path.split("/")[1].removesuffix(".py") for path in MODULES} | {"two.part"}


class Container:
    """Imports by user code, and what the hub is told of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.told: list[bytes] = []

    def begin(self) -> None:
        """User code begins."""
        self.watch = late.Watch([str(self.place / "own")], self.told.append, worth_ns=0)

    def end(self) -> list[str]:
        """The names that are told."""
        self.watch.tell()
        if not self.told:
            return []
        [frame] = self.told
        [(kind, _, body)] = frames.FrameReader().feed(frame)
        assert kind == frames.EVENT
        names: list[str] = values.decode_map(body)["names"]
        return names


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    for name, content in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name in ("site", "own"):
        monkeypatch.syspath_prepend(str(tmp_path / name))
    monkeypatch.delenv("OF_AN_IMPORT", raising=False)
    monkeypatch.chdir(tmp_path)
    made = Container(tmp_path)
    yield made
    made.watch.tell()
    for name in NAMES:
        sys.modules.pop(name, None)


def test_what_a_statement_asks_for_is_told_in_its_order(container: Container) -> None:
    container.begin()
    for name in ("two.part", "one", "two"):
        __import__(name)
    assert container.end() == ["two", "two.part", "one"]


def test_sources_of_the_program_are_not_told_and_what_they_import_is(container: Container) -> None:
    container.begin()
    __import__("mine")
    assert container.end() == ["one", "two", "two.part"]


def test_what_cannot_be_imported_is_not_told(container: Container) -> None:
    container.begin()
    for name in ("broken", "not_there", "odd-name"):
        try:
            __import__(name)
        except (ZeroDivisionError, ImportError):
            continue
    __import__("one")
    assert container.end() == ["one"]


@pytest.mark.parametrize("change", ["variable", "directory", "path"])
def test_nothing_is_noted_any_more_once_user_code_has_changed_something(
    container: Container, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    container.begin()
    __import__("one")
    if change == "variable":
        monkeypatch.setenv("OF_AN_IMPORT", "2")
    elif change == "directory":
        os.chdir("/")
    else:
        monkeypatch.syspath_prepend("/nowhere")
    __import__("two")
    assert container.end() == ["one"]


def test_what_an_import_changes_does_not_matter(container: Container) -> None:
    container.begin()
    for name in ("setting", "two"):
        __import__(name)
    assert container.end() == ["setting", "two"]


def test_little_is_not_told(container: Container) -> None:
    container.begin()
    told: list[bytes] = []
    watch = late.Watch([], told.append)
    __import__("one")
    watch.tell()
    assert told == []


def test_the_watch_ends_once_it_has_told(container: Container) -> None:
    container.begin()
    __import__("one")
    assert container.end() == ["one"]
    assert container.watch not in sys.meta_path
    container.watch.tell()
    assert len(container.told) == 1
