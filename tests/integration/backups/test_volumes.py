"""Contents of volumes in a backup: all of them, checked, and put back beside what is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import same
from volant.errors import DataLossError
from volant.wire import chunks
from volantd.backups import volumes
from volantd.blobs.contents import Contents
from volantd.volumes.service import CONTENTS_DIR

if TYPE_CHECKING:
    from pathlib import Path

LARGE = os.urandom(9 << 20)


def report(*_: object) -> None:
    """Nobody looks."""


def fill(home: Path) -> str:
    """A small and a large content in a home; what the large one is known by."""
    contents = Contents(str(home / CONTENTS_DIR))
    contents.put([(chunks.digest_of(b"small"), b"small")])
    fd, path = contents.unfinished()
    os.write(fd, LARGE)
    digest = chunks.digest_of_file(fd, len(LARGE))[0]
    os.close(fd)
    contents.finish(path, digest)
    contents.close()
    return digest


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    fill(tmp_path / "home")
    made = tmp_path / "backup"
    made.mkdir()
    volumes.back_up(tmp_path / "home", made, report)
    return made


def test_what_was_backed_up_is_put_back(tmp_path: Path, backup: Path) -> None:
    volumes.check(backup, report)
    volumes.place(backup, tmp_path / "other", report)
    contents = Contents(str(tmp_path / "other" / CONTENTS_DIR))
    digest = fill(tmp_path / "home")
    assert contents.get(chunks.digest_of(b"small")) == b"small"
    assert contents.claim([digest], is_large=True) == {digest}
    with open(contents.path(digest), "rb") as file:
        assert same(file.read(), LARGE)
    contents.close()


def test_a_home_without_volumes_is_backed_up_as_such(tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    volumes.back_up(tmp_path / "home", tmp_path / "backup", report)
    volumes.check(tmp_path / "backup", report)
    volumes.place(tmp_path / "backup", tmp_path / "other", report)
    assert list((tmp_path / "backup").iterdir()) == []


@pytest.mark.parametrize("name", ["small.db", "large"])
def test_a_damaged_backup_is_told(backup: Path, name: str) -> None:
    path = backup / "volumes" / name
    if name == "large":
        path = next(one for one in path.rglob("*") if one.is_file())
    data = path.read_bytes()
    path.unlink()  # the large one is one of the home's as well
    path.write_bytes(data.replace(b"small", b"smell") if name == "small.db" else data[:-1])
    with pytest.raises(DataLossError, match="damaged"):
        volumes.check(backup, report)
