"""Modes of what lies in a layer of a normal user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volantd.images.kept.modes import settle_modes

if TYPE_CHECKING:
    from pathlib import Path


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_its_owner_may_read_all_and_nothing_runs_with_its_owners_rights(tmp_path: Path) -> None:
    diff = tmp_path / "diff"
    modes = {"": 0, "d": 0, "d/e": 0o2300, "d/e/file": 0o200, "d/e/program": 0o6711, "f": 0o444}
    for name in ("d/e/file", "d/e/program", "f"):
        (diff / name).parent.mkdir(parents=True, exist_ok=True)
        (diff / name).touch()
    for name, mode in sorted(modes.items(), reverse=True):
        (diff / name).chmod(mode)
    settle_modes(str(diff))
    assert {name: mode_of(diff / name) for name in modes} == {
        "": 0o500, "d": 0o500, "d/e": 0o2700, "d/e/file": 0o600, "d/e/program": 0o711, "f": 0o444,
    }  # fmt: skip


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    outside.chmod(0)
    (tmp_path / "diff").mkdir()
    (tmp_path / "diff/link").symlink_to(outside)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("diff", "link"):
        settle_modes(str(tmp_path / name))
    assert mode_of(outside) == 0


def test_pipes_and_devices_stay_as_they_are(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0)
    os.mknod(tmp_path / "gone", 0o020000, 0)
    settle_modes(str(tmp_path))
    assert (mode_of(tmp_path / "pipe"), mode_of(tmp_path / "gone")) == (0, 0)
