"""Layers of chance: nothing next to a layer's own directory changes, whatever they hold.

Also, what well-formed archives hold is what Python's own reader says.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from tests.unit.images.making import digest_of, entry, layer_of
from volantd.images.oci import LayerLimits, OciError, unpack_layer
from volantd.images.oci.archive import Archive, Kind
from volantd.images.oci.stream import LayerStream

if TYPE_CHECKING:
    from pathlib import Path

chance = settings(max_examples=300, derandomize=True, database=None, deadline=None)

#: Few words, so that entries meet each other; `canary` is what lies beside the directory.
words = st.sampled_from(
    ["a", "b", "c", "", ".", "..", "canary", "dev", ".wh.a", ".wh.b", ".wh.", ".wh...",
     ".wh..wh..opq", ".wh..wh.x", "\udcff", "x" * 256]
)  # fmt: skip
tame = st.sampled_from(["a", "b", "c", ".wh.a", ".wh.b", ".wh..wh..opq"])
paths = (st.lists(words, max_size=4) | st.lists(tame, min_size=1, max_size=3)).map("/".join)
links = paths | st.sampled_from(
    ["../canary/secret", "../canary", "/", "..", "a/secret", "b", "/proc/self/root"]
)
KINDS = [
    tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
    tarfile.CHRTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE,
]  # fmt: skip
#: The kinds that do something come more often.
kinds = st.sampled_from(KINDS[:4]) | st.sampled_from(KINDS)


@st.composite
def entries(draw: st.DrawFn, names: st.SearchStrategy[str] = paths) -> tuple:
    kind = draw(kinds)
    info = entry(
        draw(names),
        kind,
        linkname=draw(links) if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "",
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 1 << 33)),
        mtime=draw(st.integers(-10, 1 << 40)),
    )
    is_file = kind in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
    return info, draw(st.binary(max_size=20)) if is_file else b""


@st.composite
def attacks(draw: st.DrawFn) -> list[tuple[tarfile.TarInfo, bytes]]:
    """A way out, and what would take it; entries in between may build or break it."""
    name = draw(st.sampled_from(["a", "b", "a/b"]))
    out = "../" * name.count("/") + "../canary"
    way = (entry(name, tarfile.SYMTYPE, linkname=draw(st.sampled_from([out, "..", "."]))), b"")
    target, content = draw(entries())
    ends = ["secret", "new", ".wh.secret", "canary/secret"]
    target.name = f"{name}/{draw(st.sampled_from(ends))}"
    if draw(st.booleans()):
        target.name, target.linkname, target.type = "c", target.name, tarfile.LNKTYPE
        target.size, content = 0, b""
    between = draw(st.lists(entries(st.sampled_from(["a", "b", "c"])), max_size=1))
    return [way, *between, (target, content)]


layers = st.builds(
    lambda parts, form: layer_of(*parts, form=form),
    st.lists(entries(), max_size=8) | attacks(),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A layer with some bytes changed, most of them in headers, and their sums made right again."""
    layer = bytearray(draw(layers.filter(lambda layer: len(layer) > 2048)))
    for _ in range(draw(st.integers(1, 3))):
        block = 512 * draw(st.integers(0, min(8, len(layer) // 512 - 1)))
        place = block + draw(st.sampled_from([0, 100, 108, 124, 130, 136, 156, 157, 257, 345]))
        change = draw(st.binary(max_size=6) | st.sampled_from([b"/", b"../", b"\xff" * 12, b"L"]))
        layer[place : place + len(change)] = change
        layer[block + 148 : block + 156] = b" " * 8
        layer[block + 148 : block + 156] = b"%06o\0 " % sum(layer[block : block + 512])
    return bytes(layer)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a canary, in which layers are unpacked."""
    place = tmp_path_factory.mktemp("arena")
    (place / "canary").mkdir()
    (place / "canary/secret").write_text("secret")
    return place


def traces(place: Path) -> list[tuple[object, ...]]:
    """What somebody who wrote to the canary, or beside it, could not help changing."""
    found: list[tuple[object, ...]] = [(sorted(os.listdir(place)),)]
    for path in (place / "canary", place / "canary/secret"):
        info = path.lstat()
        # Links to it, and its owner or mode, show in the time of its last change as well.
        found.append((info.st_ino, info.st_nlink, info.st_mode, info.st_ctime_ns, info.st_size))
    return found


def check_directory(place: Path) -> None:
    """Nothing in it is more than a layer may be."""
    inside = set()
    for directory, names, others in os.walk(place):
        for name in [*names, *others]:
            info = os.lstat(os.path.join(directory, name))
            inside.add(info.st_ino)
            if stat.S_ISCHR(info.st_mode):
                assert info.st_rdev == 0, "only whiteouts"
            assert not stat.S_ISBLK(info.st_mode)
            assert not stat.S_ISSOCK(info.st_mode)
            if not stat.S_ISDIR(info.st_mode):
                assert info.st_nlink <= 8, "no more names than the layer has"


@chance
@given(layers | damaged())
def test_nothing_outside_is_touched_and_no_half_layer_stays(arena: Path, layer: bytes) -> None:
    shutil.rmtree(arena / "diff", ignore_errors=True)
    (arena / "blob").write_bytes(layer)
    before = traces(arena)
    limits = LayerLimits(bytes_max=1 << 22)
    try:
        unpack_layer(arena / "blob", arena / "diff", diff_id=digest_of(layer), limits=limits)
    except OciError:
        assert traces(arena) == before
        return
    check_directory(arena / "diff")
    shutil.rmtree(arena / "diff")
    assert traces(arena) == before


@chance
@given(st.binary(max_size=2000) | st.binary(max_size=200).map(lambda data: b"\x1f\x8b\x08" + data))
def test_any_bytes_are_a_layer_or_our_error(arena: Path, layer: bytes) -> None:
    (arena / "blob").write_bytes(layer)
    with pytest.raises(OciError):
        unpack_layer(arena / "blob", arena / "diff", diff_id=digest_of(b"no layer"))


text = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=120
)


@chance
@given(
    st.lists(
        st.tuples(
            st.lists(text, min_size=1, max_size=4).map("/".join),
            st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]),
            st.binary(max_size=1500),
            st.integers(0, 0o7777),
            st.integers(0, (1 << 32) - 2),
            st.integers(0, 1 << 34) | st.floats(1, 1e9),
        ),
        max_size=5,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_a_good_archive_holds_what_others_find_in_it(
    parts: list[tuple[str, bytes, bytes, int, int, float]], form: int
) -> None:
    made = []
    for name, kind, content, mode, owner, mtime in parts:
        time = mtime if form == tarfile.PAX_FORMAT else int(mtime)
        info = entry(name, kind, mode=mode, uid=owner, gid=owner // 2, mtime=time)
        info.linkname = name[::-1].strip("/") if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
        made.append((info, content if kind == tarfile.REGTYPE else b""))
    layer = layer_of(*made, form=form)
    stream = LayerStream(io.BytesIO(layer), algorithm="sha256", limits=LayerLimits(), progress=None)
    archive = Archive(stream)
    ours = []
    for index, found in enumerate(archive.entries()):
        content = b"".join(archive.content()) if index % 2 else b""  # some content is skipped
        ours.append((found, content))
    kinds = {Kind.FILE: "0", Kind.SYMLINK: "2", Kind.HARDLINK: "1", Kind.FIFO: "6"}
    with tarfile.open(fileobj=io.BytesIO(layer), errors="surrogateescape") as theirs:
        for index, (info, (found, content)) in enumerate(zip(theirs, ours, strict=True)):
            assert os.fsdecode(found.name) == info.name
            assert os.fsdecode(found.link) == info.linkname
            assert kinds[found.kind] == info.type.decode()
            owners = (info.mode, info.uid, info.gid, info.size)
            assert (found.mode, found.uid, found.gid, found.size) == owners
            assert abs(found.mtime_ns / 1e9 - min(info.mtime, (1 << 34) - 1)) < 1e-5
            if info.isreg() and index % 2:
                file = theirs.extractfile(info)
                assert file is not None
                assert content == file.read()
    assert stream.finish() == digest_of(layer)
