"""Files in layers, and their moments."""

from __future__ import annotations

import importlib.util
import os
import py_compile
from pathlib import Path

from volantd.images.files import SETTLED_S, put, settle
from volantd.removal import remove_tree


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


def test_byte_code_goes_on_to_fit_its_source(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("X = 1\n")
    code = Path(py_compile.compile(str(source), doraise=True))
    code.chmod(0o444)
    settle(str(tmp_path), source.stat().st_mtime - 1)
    assert code.stat().st_mode & 0o777 == 0o444
    told = importlib.util.cache_from_source(str(source))
    assert str(code) == told
    assert int.from_bytes(code.read_bytes()[8:12], "little") == SETTLED_S
    assert source.stat().st_mtime == code.stat().st_mtime == SETTLED_S


def test_byte_code_of_an_older_source_stays_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("X = 1\n")
    os.utime(source, (1000, 1000))
    code = Path(py_compile.compile(str(source), doraise=True))
    before = code.read_bytes()
    settle(str(tmp_path), 2000)
    assert code.read_bytes() == before
    (tmp_path / "short.pyc").write_bytes(b"x")
    (tmp_path / "link.pyc").symlink_to("/nonexistent")
    settle(str(tmp_path))


def test_no_depth_is_too_deep_to_be_settled(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    settle(str(tmp_path))
    assert os.fstat(fd).st_mtime == SETTLED_S
    os.close(fd)
    (tmp_path / "trash").mkdir()
    remove_tree(str(tmp_path / "d"), str(tmp_path / "trash"))


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
