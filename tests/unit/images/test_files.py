"""Files in layers, and their moments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volantd.images.files import SETTLED_S, put, settle

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_younger_gets_the_settled_time_and_older_keeps_its_own(tmp_path: Path) -> None:
    for name, time_s in (("old", 1000), ("new", 3000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time_s, time_s))
    (tmp_path / "link").symlink_to("/nonexistent")
    settle(str(tmp_path), 2000)
    assert (tmp_path / "old").stat().st_mtime == 1000
    assert (tmp_path / "new").stat().st_mtime == SETTLED_S
    assert (tmp_path / "link").lstat().st_mtime == SETTLED_S
    assert tmp_path.stat().st_mtime == SETTLED_S


def test_without_a_moment_all_is_settled_and_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    os.utime(outside, (5000, 5000))
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    settle(str(inside))
    assert outside.stat().st_mtime == 5000


def test_a_file_is_put_with_its_mode_into_directories_that_are_made(tmp_path: Path) -> None:
    target = tmp_path / "a/b/program"
    before = os.umask(0o022)
    try:
        put(str(target), b"first", 0o777)
        put(str(target), b"2nd")
    finally:
        os.umask(before)
    assert target.read_bytes() == b"2nd"
    assert target.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
