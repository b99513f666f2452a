"""Snapshots in the books: pinned, also for the next daemon; and what is copied into their layer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from volantd.images.kept.books import EXPIRES_AT, SNAPSHOT, Books, Record
from volantd.images.kept.copying import BrokenOffError, Copy

if TYPE_CHECKING:
    from pathlib import Path


def test_a_snapshot_stays_pinned_until_it_is_forgotten(tmp_path: Path):
    books = Books(str(tmp_path))
    books.open(lambda layer: True)
    step = {"kind": SNAPSHOT, "path": "sb-1", EXPIRES_AT: 7.0}
    books.add("a" * 64, Record(("layer",)), step, "b" * 64)
    assert books.pinned == {"a" * 64}
    again = Books(str(tmp_path))
    again.open(lambda layer: True)
    assert again.pinned == {"a" * 64}
    assert again.entries["a" * 64].step[EXPIRES_AT] == 7.0
    again.forget("a" * 64)
    assert again.pinned == set()
    last = Books(str(tmp_path))
    last.open(lambda layer: True)
    assert last.pinned == set()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "below").mkdir(parents=True)
    (made / "below" / "file").write_text("source")
    (made / "top").write_text("source")
    return made


def _target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


def test_what_is_there_comes_first_and_hides_what_an_opaque_directory_hides(
    tmp_path: Path, source: Path
):
    target = _target(tmp_path)
    (target / "at" / "below").mkdir(parents=True)
    os.setxattr(target / "at" / "below", "user.overlay.opaque", b"y")
    (target / "at" / "top").write_text("target")
    (source / "more").write_text("source")
    Copy(str(target), None).add(str(source), below="at")
    assert (target / "at" / "top").read_text() == "target"
    assert (target / "at" / "more").read_text() == "source"
    assert os.listdir(target / "at" / "below") == []


def test_what_is_left_out_is_not_copied_and_links_stay_links(tmp_path: Path, source: Path):
    target = _target(tmp_path)
    (source / "link").symlink_to("/etc/passwd")
    os.link(source / "top", source / "twice")
    Copy(str(target), None).add(str(source), leave_out=["below/file"])
    assert os.listdir(target / "below") == []
    assert os.readlink(target / "link") == "/etc/passwd"
    assert (target / "top").samefile(target / "twice")


def test_a_copy_that_nobody_wants_is_broken_off(tmp_path: Path, source: Path):
    copy = Copy(str(_target(tmp_path)), None)
    copy.is_wanted = False
    with pytest.raises(BrokenOffError):
        copy.add(str(source))
