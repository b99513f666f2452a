"""Files and directories that are synced; what a power cut leaves is in tests/crashes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from volantd import syncing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are synced, in order."""
    found: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        found.append(os.readlink(f"/proc/self/fd/{fd}"))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_a_directory_is_made_with_all_above_it(tmp_path: Path, synced: list[str]):
    for _ in range(2):  # the second time it is there, and its names may still be on their way
        synced.clear()
        syncing.make_directory(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
        assert synced[:3] == [str(tmp_path / "a"), str(tmp_path), str(tmp_path.parent)]


def test_what_may_not_be_read_above_is_left_out(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
):
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777) -> int:
        if path == str(tmp_path):
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    (tmp_path / "file").touch()
    syncing.sync_above(tmp_path / "file")
    assert str(tmp_path) not in synced
    assert str(tmp_path.parent) in synced


def test_a_file_takes_the_place_of_another_behind_its_sync(tmp_path: Path, synced: list[str]):
    path = str(tmp_path / "file")
    (tmp_path / "file.new").write_bytes(b"left by who was killed")
    for content in (b"first", b"second"):
        synced.clear()
        syncing.replace(path, content)
        assert synced == [f"{path}.new", str(tmp_path)]
        assert (tmp_path / "file").read_bytes() == content
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_database_is_synced_with_the_log_that_it_has(tmp_path: Path, synced: list[str]):
    path = str(tmp_path / "a.db")
    syncing.sync_database(path)
    assert synced == []
    for name in ("a.db", "a.db-wal"):
        (tmp_path / name).touch()
    syncing.sync_database(path)
    assert synced == [path, f"{path}-wal"]
