"""What is counted as written, on directories and open files of this very process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from volantd import usage
from volantd.agent import disk, written

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def fill(path: Path, mebibytes: int = 1) -> Path:
    path.write_bytes(os.urandom(MIB) * mebibytes)
    return path


def mebibytes(size: int) -> int:
    return round(size / MIB)


def test_everything_below_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    fill(tmp_path / "one")
    fill(tmp_path / "a/two", 2)
    os.link(fill(tmp_path / "a/b/three", 3), tmp_path / "again")
    assert mebibytes(usage.bytes_below(str(tmp_path))) == 6


def test_what_has_a_name_elsewhere_is_not_alone(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    fill(own / "one")
    os.link(fill(own / "two", 2), own / "twice")
    os.link(fill(own / "four", 4), tmp_path / "elsewhere")
    assert mebibytes(usage.bytes_below(str(own))) == 7
    assert mebibytes(usage.bytes_below(str(own), is_alone=True)) == 3


def test_no_link_is_followed_the_topmost_neither(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fill(elsewhere / "file", 4)
    own = tmp_path / "own"
    own.mkdir()
    (own / "inner").symlink_to(elsewhere)
    (own / "file").symlink_to(elsewhere / "file")
    (tmp_path / "top").symlink_to(elsewhere)
    assert mebibytes(usage.bytes_below(str(own))) == 0
    assert usage.bytes_below(str(tmp_path / "top")) == 0
    assert usage.bytes_below(str(tmp_path / "missing")) == 0
    os.mkfifo(tmp_path / "fifo")
    assert usage.bytes_below(str(tmp_path / "fifo")) == 0


def test_what_lies_at_the_places_of_others_is_theirs(tmp_path: Path) -> None:
    for name in ("s1", "s2", "s11"):
        (tmp_path / "scratch" / name).mkdir(parents=True)
        fill(tmp_path / "scratch" / name / "file", 2)
    others = frozenset({str(tmp_path / "scratch/s1"), str(tmp_path / "elsewhere")})
    assert mebibytes(usage.bytes_below(str(tmp_path), others)) == 4


@pytest.mark.parametrize("part", ["d", "d" * 250])
def test_no_depth_hides_a_file(tmp_path: Path, part: str) -> None:
    """Deeper than Python recurses, and than a path may be long."""
    depth = 3000 if part == "d" else 40
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(part, dir_fd=fd)
        inner = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    with open(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as file:
        file.write(os.urandom(64 * MIB))
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    assert mebibytes(usage.bytes_below(str(tmp_path))) >= 64
    assert len(os.listdir("/proc/self/fd")) == before
    subprocess.run(["rm", "-r", tmp_path / part], check=True)


def test_files_without_a_name_are_counted_while_somebody_has_them(tmp_path: Path) -> None:
    others = _descendants()
    named = fill(tmp_path / "named", 2)
    path = fill(tmp_path / "file", 3)
    with path.open("rb") as file, path.open("rb"), named.open("rb"):
        path.unlink()
        in_memory = os.memfd_create("memory")
        os.write(in_memory, bytes(MIB))
        assert mebibytes(sum(written.files_unlinked({os.getpid()}, str(tmp_path)).values())) == 3
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[file.fileno()]
        )
        pids = written.Processes().of(os.getpid()) - others
        assert child.pid in pids
        assert mebibytes(sum(written.files_unlinked(pids, str(tmp_path)).values())) == 3
        child.communicate(b"\n")
        os.close(in_memory)
    assert sum(written.files_unlinked({os.getpid()}, str(tmp_path)).values()) == 0
    assert written.files_unlinked({os.getpid()}, str(tmp_path / "missing")) == {}


def _descendants() -> set[int]:
    """Processes below this one that are no part of a test here: daemons of other tests, say."""
    return written.Processes().of(os.getpid()) - {os.getpid()}


def test_a_writer_is_measured_without_the_others_among_its_own(tmp_path: Path) -> None:
    others = _descendants()
    (tmp_path / "scratch/s1").mkdir(parents=True)
    fill(tmp_path / "by-import", 3)
    fill(tmp_path / "scratch/s1/file", 2)
    own = fill(tmp_path / "own")
    theirs = fill(tmp_path / "theirs", 5)
    with own.open("rb") as mine, theirs.open("rb") as file:
        code = "import os; os.write(1, b'x'); input()"
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[file.fileno()],
        )  # fmt: skip
        assert child.stdout is not None
        child.stdout.read(1)
        file.close()
        for path in (own, theirs):
            path.unlink()
        container = written.Writer(path=str(tmp_path / "scratch/s1"), pid=child.pid)
        zygote = written.Writer(
            path=str(tmp_path), pid=os.getpid(), others=frozenset({container.path}),
            other_pids=frozenset({child.pid, *others}),
        )  # fmt: skip
        sizes = written.measure([container, zygote])
        child.communicate(b"\n")
        assert [mebibytes(size) for size in sizes] == [2 + 5, 3 + 1]
        assert not mine.closed


def test_who_wrote_most_is_guilty() -> None:
    assert disk.guilty([20 << 20, 90 << 20, 30 << 20], 1) == 1


def test_nobody_is_guilty_who_wrote_little() -> None:
    assert disk.guilty([], 1) is None
    assert disk.guilty([disk.GUILTY_BYTES_MIN - 1], 1) is None
    assert disk.guilty([disk.GUILTY_BYTES_MIN], 1) == 0


def test_nobody_is_guilty_who_explains_little_of_what_is_missing() -> None:
    assert disk.guilty([90 << 20, 99 << 20], 2000 << 20) is None
    assert disk.guilty([90 << 20, 101 << 20], 2000 << 20) == 1
