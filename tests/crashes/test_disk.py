"""The disk of a record: what a cut leaves of what was synced, and of what was not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.crashes.power.disk import SECTORS, Disk, Entry, Mode, Op, entries, told
from tests.crashes.power.recording import compiled
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: What a program does that keeps its files, and one that does not; run under the library.
KEEPS = """
import os, sys
from volantd import syncing
os.chdir(sys.argv[1])
syncing.make_directory("below/deep")
syncing.replace("below/deep/file", b"first")
syncing.replace("below/deep/file", b"second")
"""
FORGETS = """
import os, sys
os.chdir(sys.argv[1])
os.makedirs("below/deep")
with open("below/deep/file.new", "wb") as file:
    file.write(b"second")
os.rename("below/deep/file.new", "below/deep/file")
with open("whole", "wb") as file:
    file.write(bytes(4096))
    os.fsync(file.fileno())
"""


class Tape:
    """A record that a test makes up."""

    def __init__(self) -> None:
        self.disk = Disk()
        self._at = 0
        self.do(Op.ROOT, inode=1)

    def do(self, op: Op, path: str = "", other: str = "", *, inode: int = 0, offset: int = 0,
           data: bytes = b"") -> None:  # fmt: skip
        self._at += 1
        at = self._at
        self.disk.take(Entry(at, op, 0o700, inode, offset, path, other, data))

    def sync(self, inode: int) -> None:
        self.do(Op.SYNC, inode=inode, offset=self._at + 1)


def there(disk: Disk, place: Path, mode: Mode, seed: int = 0) -> dict[str, bytes]:
    disk.cut(place, mode, random.Random(seed))
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else b"/"
        for path in sorted(place.rglob("*"))
    }


@pytest.fixture
def tape() -> Tape:
    return Tape()


def test_bytes_need_a_sync_of_the_file_and_names_one_of_the_directory(tape, tmp_path: Path):
    tape.do(Op.CREATE, "a", inode=2)
    tape.do(Op.WRITE, inode=2, data=b"text")
    assert there(tape.disk, tmp_path / "0", Mode.NOTHING) == {}
    assert there(tape.disk, tmp_path / "1", Mode.NAMES) == {"a": b""}
    assert there(tape.disk, tmp_path / "2", Mode.ALL) == {"a": b"text"}
    tape.sync(2)
    assert there(tape.disk, tmp_path / "3", Mode.NOTHING) == {}
    tape.sync(1)
    assert there(tape.disk, tmp_path / "4", Mode.NOTHING) == {"a": b"text"}
    tape.do(Op.WRITE, inode=2, offset=2, data=b"st")
    tape.do(Op.TRUNCATE, inode=2, offset=3)
    assert there(tape.disk, tmp_path / "5", Mode.NOTHING) == {"a": b"text"}
    assert there(tape.disk, tmp_path / "6", Mode.BYTES) == {"a": b"tes"}


def test_what_is_written_while_a_sync_runs_may_be_lost(tape, tmp_path: Path):
    tape.do(Op.CREATE, "a", inode=2)
    tape.sync(1)
    began = 3
    tape.do(Op.WRITE, inode=2, data=b"text")
    tape.do(Op.SYNC, inode=2, offset=began)
    assert there(tape.disk, tmp_path / "0", Mode.NOTHING) == {"a": b""}


def test_a_renamed_file_has_one_of_both_names_and_takes_a_place_as_a_whole(tape, tmp_path: Path):
    for inode, name in ((2, "new"), (3, "old")):
        tape.do(Op.CREATE, name, inode=inode)
        tape.do(Op.WRITE, inode=inode, data=name.encode())
        tape.sync(inode)
    tape.sync(1)
    tape.do(Op.RENAME, "new", "old")
    found = [there(tape.disk, tmp_path / str(seed), Mode.SOME, seed) for seed in range(20)]
    before, after = {"new": b"new", "old": b"old"}, {"old": b"new"}
    assert before in found and after in found
    assert all(one in (before, after) for one in found)


def test_a_file_that_moves_to_another_directory_is_nowhere_missing(tape, tmp_path: Path):
    tape.do(Op.MKDIR, "there", inode=2)
    tape.do(Op.CREATE, "a", inode=3)
    tape.sync(1)
    tape.do(Op.RENAME, "a", "there/a")
    tape.sync(1)  # of where it was, not of where it is
    assert there(tape.disk, tmp_path / "0", Mode.NOTHING) == {"a": b"", "there": b"/"}
    for seed in range(20):
        found = there(tape.disk, tmp_path / f"some{seed}", Mode.SOME, seed)
        assert "a" in found or "there/a" in found
    tape.sync(2)
    tape.sync(1)
    assert there(tape.disk, tmp_path / "1", Mode.NOTHING) == {"there": b"/", "there/a": b""}


def test_writes_are_torn_at_sectors(tape, tmp_path: Path):
    tape.do(Op.CREATE, "a", inode=2)
    tape.do(Op.WRITE, inode=2, data=b"x" * 4 * max(SECTORS))
    tape.sync(2)
    tape.sync(1)
    tape.do(Op.WRITE, inode=2, offset=100, data=b"y" * 3 * max(SECTORS))
    kinds = set()
    for seed in range(20):
        content = there(tape.disk, tmp_path / str(seed), Mode.SOME, seed)["a"]
        borders = [at for at in range(1, len(content)) if content[at - 1] != content[at]]
        assert all(at % min(SECTORS) == 0 or at in (100, 100 + 3 * max(SECTORS)) for at in borders)
        kinds.add(len(borders))
    assert len(kinds) > 3


def test_an_inode_that_is_given_to_another_file_is_another_file(tape, tmp_path: Path):
    tape.do(Op.CREATE, "a", inode=2)
    tape.do(Op.WRITE, inode=2, data=b"first")
    tape.sync(2)
    tape.sync(1)
    tape.do(Op.UNLINK, "a")
    tape.do(Op.CREATE, "b", inode=2)
    tape.do(Op.WRITE, inode=2, data=b"second")
    assert there(tape.disk, tmp_path / "0", Mode.BYTES) == {"a": b"first"}
    assert there(tape.disk, tmp_path / "1", Mode.ALL) == {"b": b"second"}


def test_a_record_that_is_cut_off_ends_with_what_is_whole():
    record = told(b"one") + told(b"two")
    assert [entry.data for entry in entries(record)] == [b"one", b"two"]
    assert [entry.data for entry in entries(record[:-1])] == [b"one"]


@pytest.mark.parametrize(("program", "left"), [
    (KEEPS, {"below": b"/", "below/deep": b"/", "below/deep/file": b"second"}),
    (FORGETS, {}),
])  # fmt: skip
def test_what_a_program_does_is_recorded(program: str, left: dict[str, bytes], tmp_path: Path):
    record, root = tmp_path / "record", tmp_path / "root"
    record.touch()
    root.mkdir()
    environ = {**os.environ, "POWER_RECORD": str(record), "POWER_ROOT": str(root),
               "LD_PRELOAD": str(compiled(tmp_path)), "PYTHONPATH": str(ROOT / "src")}  # fmt: skip
    words = [sys.executable, "-c", program, str(root), "volantd", "--ready-fd"]
    subprocess.run(words, env=environ, check=True)
    disk = Disk()
    for entry in entries(record.read_bytes()):
        disk.take(entry)
    assert there(disk, tmp_path / "nothing", Mode.NOTHING) == left
    everything = there(disk, tmp_path / "all", Mode.ALL)
    assert everything["below/deep/file"] == b"second"
