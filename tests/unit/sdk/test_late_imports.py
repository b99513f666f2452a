"""Local modules that nothing has imported yet, because functions will."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from volant.sdk import sources

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def entry(tmp_path: Path) -> sources.Entry:
    """A program with an import inside a function."""
    program = tmp_path / "program"
    program.mkdir()
    (program / "main.py").write_text("def f():\n    import late_one\n")
    return sources.Entry("main", "main.py", str(program))


def files(entry: sources.Entry) -> set[object]:
    return {path for path, *_ in sources.collect([entry]).files}


@pytest.mark.parametrize("kind", ["module", "package", "namespace"])
def test_what_a_function_imports_is_found_anywhere_on_the_path(
    entry: sources.Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    place = tmp_path / "elsewhere"
    name = {
        "module": "late_one.py",
        "package": "late_one/__init__.py",
        "namespace": "late_one/a.py",
    }
    (place / name[kind]).parent.mkdir(parents=True)
    (place / name[kind]).touch()
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.syspath_prepend(str(tmp_path / "not there"))
    assert name[kind] in files(entry)


def test_a_part_of_the_path_that_cannot_be_listed_hides_nothing(
    entry: sources.Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "late_one.py").touch()
    archive = tmp_path / "archive.zip"
    archive.touch()
    monkeypatch.setattr(sys, "path", [str(archive), str(tmp_path), *sys.path])
    assert "late_one.py" in files(entry)
