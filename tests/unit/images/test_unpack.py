"""Layers as directories: what overlayfs needs, and what hostile layers try."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import os
import stat
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.images.making import digest_of, entry, layer_of, unpack
from volantd.images.oci import LayerLimits, OciError, unpack_layer

if TYPE_CHECKING:
    from pathlib import Path

DIR, LINK, HARD, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE
CHAR, BLOCK = tarfile.CHRTYPE, tarfile.BLKTYPE
OPAQUE = "user.overlay.opaque"
TIME = 1_700_000_000


def names_below(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def is_whiteout(path: Path) -> bool:
    info = path.lstat()
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return OPAQUE in os.listxattr(path)


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to others")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_layer_becomes_a_directory(tmp_path: Path, form: int, compress) -> None:
    layer = layer_of(
        entry("./", DIR, mode=0o750, mtime=TIME),
        entry("bin", LINK, linkname="usr/bin", mtime=TIME),
        entry("usr/", DIR, mode=0o555, mtime=TIME),
        entry("usr/bin/", DIR, mode=0o1777, mtime=TIME + 1),
        (entry("usr/bin/tool", mode=0o751, mtime=TIME + 2), b"x" * 1000),
        entry("usr/bin/same", HARD, linkname="usr/bin/tool"),
        entry("pipe", FIFO, mode=0o622, mtime=TIME),
        entry("usr/implied/empty", mode=0o400, mtime=TIME),
        form=form,
    )
    unpacked = unpack(compress(layer), tmp_path)
    place = tmp_path / "diff"
    assert unpacked.size == 1000
    assert unpacked.entries == 9
    assert names_below(place) == {
        "bin", "usr", "usr/bin", "usr/bin/tool", "usr/bin/same", "pipe", "usr/implied",
        "usr/implied/empty",
    }  # fmt: skip
    for name, mode, mtime in [
        ("", 0o40750, TIME),
        ("bin", 0o120777, TIME),
        ("usr", 0o40555, TIME),
        ("usr/bin", 0o41777, TIME + 1),
        ("usr/bin/tool", 0o100751, TIME + 2),
        ("pipe", 0o10622, TIME),
        ("usr/implied", 0o40755, 0),
        ("usr/implied/empty", 0o100400, TIME),
    ]:
        info = (place / name).lstat()
        assert (oct(info.st_mode), info.st_mtime) == (oct(mode), mtime), name
    assert (place / "usr/bin/tool").read_bytes() == b"x" * 1000
    assert (place / "usr/bin/tool").samefile(place / "usr/bin/same")
    assert os.readlink(place / "bin") == "usr/bin"


def test_owners_and_setuid_are_kept(tmp_path: Path) -> None:
    needs_root()
    layer = layer_of(
        entry("etc", DIR, uid=3, gid=4, mode=0o2755),
        entry("etc/su", uid=5, gid=6, mode=0o6755),
        entry("etc/link", LINK, linkname="su", uid=7, gid=8),
        entry("etc/pipe", FIFO, uid=9, gid=10),
        entry("etc/high", uid=3_000_000_000, gid=4_000_000_000),
        entry("deep/below", uid=1, gid=1),
    )
    unpack(layer, tmp_path)
    owners = {}
    for path in (tmp_path / "diff").rglob("*"):
        info = path.lstat()
        owners[path.name] = (info.st_uid, info.st_gid, oct(stat.S_IMODE(info.st_mode)))
    assert owners == {
        "etc": (3, 4, "0o2755"),
        "su": (5, 6, "0o6755"),
        "link": (7, 8, "0o777"),
        "pipe": (9, 10, "0o644"),
        "high": (3_000_000_000, 4_000_000_000, "0o644"),
        "deep": (0, 0, "0o755"),
        "below": (1, 1, "0o644"),
    }


def test_times_with_fractions_and_beyond_all_bounds_are_kept_as_far_as_they_go(
    tmp_path: Path,
) -> None:
    times = {"a": "12.5", "b": "-3.5", "c": "9" * 19, "d": "7"}
    layer = layer_of(*(entry(name, pax_headers={"mtime": t}) for name, t in times.items()))
    unpack(layer, tmp_path)
    found = {name: (tmp_path / "diff" / name).lstat().st_mtime_ns for name in times}
    assert (found["a"], found["b"], found["d"]) == (12_500_000_000, 0, 7_000_000_000)
    assert found["c"] >= (1 << 31) * 10**9 - 1


def test_extended_attributes_are_dropped(tmp_path: Path) -> None:
    attributes = {
        f"SCHILY.xattr.{name}": "y"
        for name in (
            "security.capability",
            "user.overlay.opaque",
            "user.x",
            "trusted.overlay.opaque",
        )
    }
    layer = layer_of(entry("d", DIR, pax_headers=attributes), entry("f", pax_headers=attributes))
    unpack(layer, tmp_path)
    assert os.listxattr(tmp_path / "diff/d") == []
    assert os.listxattr(tmp_path / "diff/f") == []


def test_whiteouts_take_the_form_of_overlayfs(tmp_path: Path) -> None:
    layer = layer_of(
        entry("etc/.wh.motd"),
        entry("var/.wh..wh..opq"),
        entry("var/new"),
        entry(".wh..wh.plnk", DIR),
        entry(".wh..wh.plnk/1.2"),
        entry(".wh..wh.aufs"),
    )
    unpack(layer, tmp_path)
    place = tmp_path / "diff"
    assert names_below(place) == {"etc", "etc/motd", "var", "var/new"}
    assert is_whiteout(place / "etc/motd")
    assert is_opaque(place / "var")
    assert not is_opaque(place / "etc")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_whiteout_beside_its_own_name_hides_only_what_is_lower(
    tmp_path: Path, is_first: bool
) -> None:
    whiteouts = [entry(".wh.dir"), entry(".wh.file"), entry(".wh.implied")]
    others = [entry("dir", DIR, mode=0o700), (entry("file"), b"new"), entry("implied/x")]
    unpack(layer_of(*(whiteouts + others if is_first else others + whiteouts)), tmp_path)
    place = tmp_path / "diff"
    assert names_below(place) == {"dir", "file", "implied", "implied/x"}
    assert is_opaque(place / "dir")
    assert is_opaque(place / "implied")
    assert (place / "file").read_bytes() == b"new"


def test_an_entry_that_comes_again_counts_last(tmp_path: Path) -> None:
    layer = layer_of(
        (entry("a"), b"first"),
        entry("b", HARD, linkname="a"),
        entry("d", DIR, mode=0o700),
        entry("d/x"),
        (entry("a"), b"second"),
        entry("d", DIR, mode=0o711),
        entry("l", LINK, linkname="a"),
        (entry("l"), b"a file"),
        entry(".wh.twice"),
        entry(".wh.twice"),
    )
    unpack(layer, tmp_path)
    place = tmp_path / "diff"
    assert (place / "a").read_bytes() == b"second"
    assert (place / "b").read_bytes() == b"first"
    assert (place / "l").read_bytes() == b"a file"
    assert oct((place / "d").stat().st_mode) == "0o40711"
    assert is_whiteout(place / "twice")


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    names = [b"caf\xe9", "café".encode(), b"line\nfeed", b"-rf", b" ", b"\\", b"x" * 255]
    layer = layer_of(*(entry(os.fsdecode(name)) for name in names), form=tarfile.GNU_FORMAT)
    unpack(layer, tmp_path)
    assert set(os.listdir(os.fsencode(tmp_path / "diff"))) == set(names)


def test_devices_below_dev_are_left_to_the_container(tmp_path: Path) -> None:
    unpack(layer_of(entry("dev/null", CHAR, devmajor=1, devminor=3), entry("x")), tmp_path)
    assert names_below(tmp_path / "diff") == {"x"}


def test_links_may_say_anything(tmp_path: Path) -> None:
    links = {"a": "/etc/passwd", "b": "../../../etc", "c": "c", "d": "nowhere", "e": "x" * 4000}
    unpack(layer_of(*(entry(n, LINK, linkname=to) for n, to in links.items())), tmp_path)
    assert {name: os.readlink(tmp_path / "diff" / name) for name in links} == links


HOSTILE = {
    "absolute": ([entry("/etc/passwd")], "'/etc/passwd' in the layer has an absolute path"),
    "up": ([entry("a/../../x")], r"'a/\.\./\.\./x' in the layer has a path with `\.\.`"),
    "up at the end": ([entry("a/..", DIR)], "has a path with"),
    "through a link": (
        [entry("a", LINK, linkname=".."), entry("a/x")],
        "'a' in the layer is used as a directory, which it is not",
    ),
    "through a link in a link": (
        [entry("a", LINK, linkname="."), entry("a/a/x")],
        "'a' in the layer is used as a directory",
    ),
    "link becomes directory": (
        [entry("a", LINK, linkname="/"), entry("a", DIR), entry("a/x")],
        "'a' in the layer is used as a directory",
    ),
    "directory becomes link": (
        [entry("a", DIR), entry("a", LINK, linkname="/"), entry("a/x")],
        "'a' in the layer would replace a directory",
    ),
    "implied directory becomes link": (
        [entry("a/b"), entry("a", LINK, linkname="/")],
        "'a' in the layer would replace a directory",
    ),
    "through a file": ([entry("a"), entry("a/b")], "'a' in the layer is used as a directory"),
    "root is a link": ([entry("./", LINK, linkname="/etc")], "'./' in the layer has no name"),
    "no name": ([entry("")], "'' in the layer has no name"),
    "hard link out": ([entry("a", HARD, linkname="/etc/passwd")], "has an absolute path"),
    "hard link up": ([entry("a", HARD, linkname="../x")], "has a path with"),
    "hard link to nothing": ([entry("a", HARD, linkname="b")], "which is not in this layer"),
    "hard link to itself": ([entry("a"), entry("a", HARD, linkname="a")], "no file of this"),
    "hard link to a directory": (
        [entry("d", DIR), entry("a", HARD, linkname="d")], "no file of this layer"
    ),
    "hard link to the root": ([entry("a", HARD, linkname=".")], "no file of this layer"),
    "hard link to a whiteout": (
        [entry(".wh.w"), entry("a", HARD, linkname="w")], "no file of this layer"
    ),
    "hard link through a link": (
        [entry("l", LINK, linkname="/etc"), entry("a", HARD, linkname="l/passwd")],
        "no file of this layer",
    ),
    "hard link over a directory": (
        [entry("f"), entry("d", DIR), entry("d", HARD, linkname="f")], "would replace a directory"
    ),
    "device": ([entry("null", CHAR, devmajor=1, devminor=3)], "'null' in the layer is a device"),
    "whiteout of overlayfs": ([entry("x", CHAR)], "'x' in the layer is a device"),
    "disk": ([entry("usr/disk", BLOCK, devmajor=8)], "'usr/disk' in the layer is a device"),
    "long name": ([entry("x" * 256)], "has a path that is too long"),
    "long path": ([entry("x/" * 2100 + "x")], "has a path that is too long"),
    "deep path": ([entry("x/" * 201 + "x")], "has a path that is too long"),
    "link to nothing": ([entry("a", LINK)], "is a link to 0 characters"),
    "link to too much": ([entry("a", LINK, linkname="x" * 4096)], "is a link to 4096"),
    "whiteout of nothing": ([entry(".wh.")], "hides nothing that can be named"),
    "whiteout of itself": ([entry("a/.wh..")], "hides nothing that can be named"),
    "whiteout of the parent": ([entry("a/.wh...")], "hides nothing that can be named"),
    "in a whiteout": ([entry(".wh.a/b")], "lies in a whiteout"),
    "sparse": ([entry("x", pax_headers={"GNU.sparse.major": "1"})], "is a sparse file"),
    "negative size": ([entry("x", pax_headers={"size": "-1"})], "has a size of '-1'"),
    "huge size": ([entry("x", pax_headers={"size": "9" * 18})], "ends in the middle of a file"),
    "endless size": ([entry("x", pax_headers={"size": "9" * 40})], "has a size of '9999"),
    "wrong time": ([entry("x", pax_headers={"mtime": "soon"})], "has a time of 'soon'"),
    "nobody": ([entry("x", pax_headers={"uid": str((1 << 32) - 1)})], "which nobody is"),
    "NUL": ([entry("x", pax_headers={"path": "a\0b"})], "has a NUL"),
    "unknown kind": ([entry("x", b"V")], "is of an unknown kind, 'V'"),
    "long header": ([entry("x", pax_headers={"a": "b" * (1 << 20)})], "has a header of 1048"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_layer_is_refused_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    entries, problem = HOSTILE[what]
    with pytest.raises(OciError, match=problem):
        unpack(layer_of(entry("fine"), *entries), tmp_path)
    assert os.listdir(tmp_path) == ["blob"]


def raw_header(**fields: bytes) -> bytes:
    """A header of old tar with these bytes in its fields, and a right sum."""
    places = {"name": 0, "mode": 100, "size": 124, "kind": 156, "link": 157, "magic": 257}
    block = bytearray(512)
    for name, value in fields.items():
        block[places[name] : places[name] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (b"", None),
        (bytes(512), None),
        (bytes(1024), None),
        (bytes(1024) + b"anything", None),
        (raw_header(name=b"a", size=b"0"), None),
        (raw_header(name=b"old/"), None),
        (raw_header(name=b"a", size=b"\x80" + bytes(10) + b"\x01") + b"x" * 512, None),
        (b"text" * 200, "not a tar archive"),
        (b"x", "in the middle of a block"),
        (bytes(512) + b"x" * 512, "goes on behind its end"),
        (raw_header(name=b"a", size=b"\xff" * 12), "has a size of -1"),
        (raw_header(name=b"a", size=b"\x80" + b"\xff" * 11), "in the middle of a file"),
        (raw_header(name=b"a", size=b"-1"), "has a size of '-1'"),
        (raw_header(name=b"a", size=b"1_0"), "has a size of '1_0'"),
        (raw_header(name=b"a", mode=b"9"), "has a mode of '9'"),
        (raw_header(name=b"a", kind=b"S"), "'a' in the layer is a sparse file"),
        (raw_header(name=b"a", size=b"2000") + b"x" * 512, "in the middle of a file"),
        (raw_header(name=b"a", size=b"2") + b"xx", "in the middle of a block"),
        (raw_header(kind=b"x", size=b"4") + b"4 a\n".ljust(512), "broken record: '4 a"),
        (raw_header(kind=b"x", size=b"6") + b"9 a=b\n".ljust(512), "broken record: '9 a=b"),
        (raw_header(kind=b"x", size=b"6") + b"6 =ab\n".ljust(512), "broken record"),
        (raw_header(kind=b"x", size=b"6") + b"0 a=b\n".ljust(512), "broken record"),
        (raw_header(kind=b"L", size=b"1") + b"a".ljust(512), "in the middle of an entry"),
        (raw_header(kind=b"L", size=b"77777777777"), "has a header of"),
    ],
)
def test_an_archive_is_read_to_its_end_or_refused(
    tmp_path: Path, layer: bytes, problem: str | None
) -> None:
    if problem is None:
        unpack(layer, tmp_path)
        return
    with pytest.raises(OciError, match=problem):
        unpack(layer, tmp_path)
    assert os.listdir(tmp_path) == ["blob"]


def test_a_layer_of_another_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OciError, match=r"the layer is sha256:.*; the image's config says"):
        unpack(layer_of(entry("x")), tmp_path, diff_id=digest_of(b"another"))
    assert os.listdir(tmp_path) == ["blob"]
    with pytest.raises(OciError, match="no digest that can be verified"):
        unpack(b"", tmp_path, diff_id="crc32:00000000")


def test_what_follows_the_archive_is_part_of_the_digest(tmp_path: Path) -> None:
    layer = layer_of(entry("x"))
    with pytest.raises(OciError, match="config says"):
        unpack(gzip.compress(layer + b"more"), tmp_path, diff_id=digest_of(layer))


def test_another_algorithm_is_verified_too(tmp_path: Path) -> None:
    layer = layer_of(entry("x"))
    unpack(layer, tmp_path, diff_id=f"sha512:{hashlib.sha512(layer).hexdigest()}")


def test_gzip_may_come_in_members(tmp_path: Path) -> None:
    layer = layer_of((entry("x"), b"y" * 300_000))
    parts = [layer[start : start + 10_000] for start in range(0, len(layer), 10_000)]
    unpack(b"".join(gzip.compress(part) for part in parts), tmp_path, diff_id=digest_of(layer))
    assert (tmp_path / "diff/x").read_bytes() == b"y" * 300_000


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: data[:-4], "ends in the middle"),
        (lambda data: data[:-8] + b"xxxx" + data[-4:], "is broken"),
        (lambda data: data + b"x", "ends in the middle|is broken"),
        (lambda data: data[:5], "ends in the middle"),
    ],
)
def test_broken_gzip_is_refused(tmp_path: Path, damage, problem: str) -> None:
    layer = layer_of(entry("x"))
    with pytest.raises(OciError, match=problem):
        unpack(damage(gzip.compress(layer)), tmp_path, diff_id=digest_of(layer))
    assert os.listdir(tmp_path) == ["blob"]


def zstd_module() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def test_zstd_is_read_where_there_is_a_module_for_it(tmp_path: Path) -> None:
    layer = layer_of((entry("x"), b"y" * 300_000))
    zstd = zstd_module()
    if zstd is None:
        with pytest.raises(OciError, match="compressed with zstd") as caught:
            unpack(b"\x28\xb5\x2f\xfd" + layer, tmp_path)
        assert "backports.zstd" in (caught.value.hint or "")
        return
    data = zstd.compress(layer[:1000]) + zstd.compress(layer[1000:])
    unpack(data, tmp_path, diff_id=digest_of(layer))
    assert (tmp_path / "diff/x").read_bytes() == b"y" * 300_000
    for broken in (data[:-9], data[:50] + b"x" * 9, data + b"x"):
        (tmp_path / "blob").write_bytes(broken)
        with pytest.raises(OciError, match=r"zstd (is broken|ends)"):
            unpack_layer(tmp_path / "blob", tmp_path / "other", diff_id=digest_of(layer))


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (LayerLimits(bytes_max=1 << 20), "more than the 1048576 bytes allowed"),
        (LayerLimits(ratio_free_bytes=1 << 20), r"a compression bomb: [0-9]+ bytes of it hold"),
        (LayerLimits(entries_max=2), "more than the 2 entries allowed"),
    ],
)
def test_limits_hold(tmp_path: Path, limits: LayerLimits, problem: str) -> None:
    layer = layer_of((entry("a/b/c"), bytes(10 << 20)))
    with pytest.raises(OciError, match=problem):
        unpack(gzip.compress(layer), tmp_path, limits=limits)
    assert os.listdir(tmp_path) == ["blob"]


def test_a_bomb_in_what_follows_the_archive_is_one_too(tmp_path: Path) -> None:
    bomb = zlib.compressobj(9, wbits=31)
    data = b"".join([bomb.compress(bytes(4 << 20)), bomb.flush()])
    with pytest.raises(OciError, match="a compression bomb"):
        unpack(data, tmp_path, limits=LayerLimits(ratio_free_bytes=1 << 20))


def test_a_target_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "diff").mkdir()
    (tmp_path / "diff/precious").write_text("")
    with pytest.raises(OciError, match="cannot be made: File exists"):
        unpack(layer_of(entry("x")), tmp_path)
    assert names_below(tmp_path / "diff") == {"precious"}


def test_a_blob_that_is_gone_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(OciError, match="cannot be read: No such file"):
        unpack_layer(tmp_path / "blob", tmp_path / "diff", diff_id=digest_of(b""))
    assert os.listdir(tmp_path) == []


def test_what_progress_raises_ends_the_work(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(_: int) -> None:
        raise StoppedError

    (tmp_path / "blob").write_bytes(layer_of(entry("x")))
    with pytest.raises(StoppedError):
        unpack_layer(tmp_path / "blob", tmp_path / "diff", diff_id=digest_of(b""), progress=stop)
    assert os.listdir(tmp_path) == ["blob"]


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    unpack(layer_of(entry("a/b/c/d/e"), entry("f", HARD, linkname="a/b/c/d/e")), tmp_path)
    with pytest.raises(OciError):
        unpack(layer_of(entry("a/b/c/d/e"), entry("..")), tmp_path / "diff")
    assert len(os.listdir("/proc/self/fd")) == before
