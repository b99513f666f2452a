"""Removal of trees that somebody hostile has filled."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from volantd import removal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trash(tmp_path: Path) -> str:
    (tmp_path / "trash").mkdir()
    return str(tmp_path / "trash")


def test_a_tree_goes_and_its_links_targets_stay(tmp_path: Path, trash: str) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "kept").write_text("kept")
    doomed = tmp_path / "doomed"
    (doomed / "a/b").mkdir(parents=True)
    (doomed / "a/link").symlink_to(outside)
    (doomed / "a/b/file-link").symlink_to(outside / "kept")
    (doomed / "a/b/file").write_text("x")
    os.mkfifo(doomed / "a/pipe")
    removal.remove_tree(str(doomed), trash)
    assert not doomed.exists()
    assert os.listdir(trash) == []
    assert (outside / "kept").read_text() == "kept"
    assert (outside / "inner").is_dir()


def test_depth_does_not_matter(tmp_path: Path, trash: str) -> None:
    """Deeper than a path or the stack of a recursive removal could be."""
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    here = os.open(doomed, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    removal.remove_tree(str(doomed), trash)
    assert not doomed.exists()
    assert os.listdir(trash) == []


def test_a_locked_directory_is_moved(tmp_path: Path, trash: str) -> None:
    for mode in (0o500, 0):
        (tmp_path / "doomed/inner").mkdir(parents=True)
        (tmp_path / "doomed").chmod(mode)
        removal.remove_tree(str(tmp_path / "doomed"), trash)
        assert os.listdir(trash) == []
    with pytest.raises(FileNotFoundError):
        removal.move(str(tmp_path / "doomed"), str(tmp_path / "other"))


def test_locked_directories_are_opened(tmp_path: Path, trash: str) -> None:
    locked = tmp_path / "doomed/locked"
    locked.mkdir(parents=True)
    (locked / "inner").mkdir()
    (locked / "inner/file").touch()
    (locked / "inner").chmod(0)
    locked.chmod(0)
    removal.remove_tree(str(tmp_path / "doomed"), trash)
    assert os.listdir(trash) == []


def test_a_link_itself_is_removed(tmp_path: Path, trash: str) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    removal.remove_tree(str(tmp_path / "link"), trash)
    assert not os.path.lexists(tmp_path / "link")
    assert (tmp_path / "target").is_dir()


def test_what_is_not_there_is_no_error(tmp_path: Path, trash: str) -> None:
    removal.remove_tree(str(tmp_path / "nothing"), trash)


def test_a_run_goes_with_what_an_earlier_removal_left(tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    (run / "trash/12-old/x").mkdir(parents=True)
    (run / "z/z1/scratch").mkdir(parents=True)
    (run / "base").mkdir()
    removal.remove_run_dir(str(run))
    assert not run.exists()
    removal.remove_run_dir(str(run))


def test_directories_lie_apart_where_the_file_system_can_be_told(tmp_path: Path) -> None:
    removal.spread(str(tmp_path))
    flags = subprocess.run(
        ["lsattr", "-d", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if flags.returncode:
        pytest.skip("it has no flags, or nobody here shows them")
    assert "T" in flags.stdout.split()[0]
    (tmp_path / "one").mkdir()


def test_a_file_system_that_cannot_be_told_is_left_alone() -> None:
    removal.spread("/proc/self")
