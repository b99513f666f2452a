"""Moments in layers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volantd.images.times import SETTLED_S, settle

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
