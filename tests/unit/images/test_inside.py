"""What is made of packages that uv has laid aside: times, byte code, its place in the cache."""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from pathlib import Path

import pytest

from volantd.images.packages import inside

TAG = sys.implementation.cache_tag
#: In no image.
TOP = "nowhere-at-all/site-packages"


class Aside:
    """A cache with one wheel, and what a step has of it."""

    def __init__(self, place: Path) -> None:
        self.cache = place / "cache"
        self.archive = self.cache / "archive-v0/abc"
        self.root = place / "root"
        self.site = self.root / TOP
        self.add("pack/__init__.py", "X = 1\n")
        self.add("pack/data.txt", "data")
        self.add("pack-1.dist-info/METADATA", "Name: pack\n")

    def add(self, name: str, text: str) -> None:
        source = self.archive / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        self.link(name, self.site)

    def link(self, name: str, site: Path) -> None:
        target = site / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.archive / name, target)

    def settle(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give directories the owners that they have in an image")
        inside.settle(str(self.root), [str(self.site)], str(self.cache))


@pytest.fixture
def aside(tmp_path: Path) -> Aside:
    return Aside(tmp_path)


def compiled(directory: Path, name: str = "__init__") -> Path:
    return directory / "pack/__pycache__" / f"{name}.{TAG}.pyc"


def test_byte_code_is_made_and_shared_with_the_cache(aside: Aside) -> None:
    aside.settle()
    made = compiled(aside.site)
    assert made.samefile(compiled(aside.archive))
    code = marshal.loads(made.read_bytes()[16:])
    assert code.co_filename == "pack/__init__.py", "no image's own path"


def test_byte_code_is_what_python_looks_for(aside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    aside.settle()
    os.utime(compiled(aside.site), ns=(5, 5))
    monkeypatch.syspath_prepend(str(aside.site))
    assert importlib.import_module("pack").X == 1
    assert compiled(aside.site).stat().st_mtime_ns == 5, "it was not made anew"


def test_all_times_are_alike(aside: Aside) -> None:
    aside.settle()
    times = {path.lstat().st_mtime_ns for path in aside.root.rglob("*")}
    assert times == {inside.TIME_NS}


def test_byte_code_of_the_cache_is_not_made_again(aside: Aside, tmp_path: Path) -> None:
    aside.settle()
    before = compiled(aside.archive).stat().st_ino
    second = tmp_path / "second"
    for path in aside.archive.rglob("*"):
        if path.is_file():
            aside.link(str(path.relative_to(aside.archive)), second / TOP)
    inside.settle(str(second), [str(second / TOP)], str(aside.cache))
    assert compiled(second / TOP).stat().st_ino == before


@pytest.mark.parametrize("name", ["__init__.cpython-27.pyc", "gone.pyc"])
def test_byte_code_of_other_pythons_is_dropped(aside: Aside, name: str) -> None:
    aside.settle()
    (aside.site / "pack/__pycache__" / name).write_text("")
    aside.settle()
    assert os.listdir(aside.site / "pack/__pycache__") == [compiled(aside.site).name]


def test_byte_code_that_came_with_a_package_is_made_anew(aside: Aside) -> None:
    aside.add(f"pack/__pycache__/__init__.{TAG}.pyc", "theirs")
    aside.settle()
    assert compiled(aside.site).read_bytes() != b"theirs"
    assert compiled(aside.site).stat().st_mtime_ns == inside.TIME_NS


def test_what_is_no_python_has_no_byte_code(aside: Aside) -> None:
    aside.add("pack/template.py", "class {{ name }}:\n")
    aside.settle()
    assert not compiled(aside.site, "template").exists()
    assert compiled(aside.site).exists()


@pytest.mark.skipif(not Path("/bin").is_symlink(), reason="needs a directory that is a link")
def test_a_directory_that_would_hide_a_link_is_refused(aside: Aside) -> None:
    (aside.root / "bin").mkdir()
    with pytest.raises(inside.PlainError):
        aside.settle()
