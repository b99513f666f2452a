"""Layers as files: the same on every machine, and unpacked to what they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.images.test_unpack import zstd_module
from volantd.images.kept.packing import TIME_S, Packed, pack, unpack
from volantd.images.oci import OciError

pytestmark = pytest.mark.skipif(zstd_module() is None, reason="there is no module for zstd")

#: Mode and owner of a file: what a layer of a normal user cannot have is unpacked by none.
OWNED = (0o4755, 7, 8) if os.geteuid() == 0 else (0o755, os.geteuid(), os.getegid())

#: When the step began.
BEGAN_S = 1_700_000_000.0
OLD_S = 1_600_000_000


def fill(layer: Path, order: list[str], now_s: float) -> Path:
    """A layer with one of each kind, made in some order at some time."""
    layer.mkdir()
    for name in order:
        (layer / name).write_text(name)
        os.utime(layer / name, (now_s, now_s))
    (layer / "old").write_text("from a package")
    os.chown(layer / "old", *OWNED[1:])
    (layer / "old").chmod(OWNED[0])
    os.utime(layer / "old", (OLD_S, OLD_S))
    os.link(layer / "a", layer / "linked")
    (layer / "link").symlink_to("/etc/passwd")
    (layer / "hidden").mkdir()
    os.setxattr(layer / "hidden", "user.overlay.opaque", b"y")
    os.mknod(layer / "hidden/gone", 0o020000, 0)
    os.mkfifo(layer / "pipe")
    (layer / "mod.pyc").write_bytes(code(int(now_s)))
    (layer / os.fsdecode(b"\xff odd")).touch()
    (layer / ("long" * 60)).touch()
    for path in layer.rglob("*"):
        if path.lstat().st_mtime > BEGAN_S:
            os.utime(path, (now_s, now_s), follow_symlinks=False)
    return layer


def code(source_s: int) -> bytes:
    return b"mark" + bytes(4) + source_s.to_bytes(4, "little") + b"size" + b"the code"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return fill(tmp_path / "layer", ["b", "a", "c"], BEGAN_S + 10)


def test_the_same_layer_is_the_same_file_wherever_it_was_built(layer: Path, tmp_path: Path) -> None:
    """Issue 3, 2: whatever the order of its directory, and later on another machine."""
    one = pack(str(layer), tmp_path / "one", written_from=BEGAN_S)
    other = fill(tmp_path / "other", ["c", "b", "a"], BEGAN_S + 9000)
    assert pack(str(other), tmp_path / "two", written_from=BEGAN_S + 8000) == one
    assert (tmp_path / "one").stat().st_size == one.size_bytes
    (other / "c").write_text("C")
    changed = pack(str(other), tmp_path / "three", written_from=BEGAN_S + 8000)
    assert changed.diff_id != one.diff_id


def test_it_is_unpacked_to_what_it_was(layer: Path, tmp_path: Path) -> None:
    packed = pack(str(layer), tmp_path / "file", written_from=BEGAN_S)
    found = tmp_path / "found"
    unpack(tmp_path / "file", found, packed)
    assert sorted(os.listdir(found)) == sorted(os.listdir(layer))
    old, link, gone = found / "old", found / "link", found / "hidden/gone"
    info = old.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == OWNED
    assert (info.st_mtime, (found / "a").stat().st_mtime) == (OLD_S, TIME_S)
    assert (found / "a").stat().st_ino == (found / "linked").stat().st_ino
    assert os.readlink(link) == "/etc/passwd"
    assert os.getxattr(found / "hidden", "user.overlay.opaque") == b"y"
    assert (gone.lstat().st_mode & 0o170000, gone.lstat().st_rdev) == (0o020000, 0)
    assert (found / "mod.pyc").read_bytes() == code(TIME_S), "byte code fits its source"
    again = pack(str(found), tmp_path / "again", written_from=BEGAN_S)
    assert again == packed


@pytest.mark.parametrize("at", [0, 20, -5])
def test_a_file_that_was_changed_is_refused(layer: Path, tmp_path: Path, at: int) -> None:
    """Issue 3, fault tests: a tampered blob."""
    packed = pack(str(layer), tmp_path / "file", written_from=BEGAN_S)
    data = bytearray((tmp_path / "file").read_bytes())
    data[at] ^= 4
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(OciError, match="it was changed on its way"):
        unpack(tmp_path / "file", tmp_path / "found", packed)
    assert not (tmp_path / "found").exists()


def test_a_file_that_holds_another_layer_is_refused(layer: Path, tmp_path: Path) -> None:
    packed = pack(str(layer), tmp_path / "file", written_from=BEGAN_S)
    other = Packed(packed.digest, "sha256:" + "0" * 64, packed.size_bytes)
    with pytest.raises(OciError, match="the layer is sha256"):
        unpack(tmp_path / "file", tmp_path / "found", other)
    assert not (tmp_path / "found").exists()


def test_what_has_no_form_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer/.wh.x").touch()
    with pytest.raises(OciError, match="taken for a whiteout"):
        pack(str(tmp_path / "layer"), tmp_path / "file", written_from=BEGAN_S)
    deep = tmp_path / "deep"
    Path(deep, *["d"] * 220).mkdir(parents=True)
    with pytest.raises(OciError, match="too deep"):
        pack(str(deep), tmp_path / "file", written_from=BEGAN_S)
    assert not (tmp_path / "file").exists()
