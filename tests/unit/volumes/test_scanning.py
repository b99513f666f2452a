"""What containers write, as trees and contents, and laid out again; hostile files, too."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from volant.wire import chunks
from volantd.blobs.contents import Contents
from volantd.core.volumes import trees
from volantd.core.volumes.entries import DEPTH_MAX, DIRECTORY, fresh_directory, parts_of
from volantd.volumes.attributes import Owners
from volantd.volumes.checkouts import LAYERS_MAX, Checkouts
from volantd.volumes.nodes import LostContentError, StoredNodes
from volantd.volumes.scanning import Scan, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from volantd.core.volumes.entries import Entry

MIB = 1 << 20


class World:
    """A store, and a directory that stands for what a container writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.upper = path / "upper"
        self.upper.mkdir(mode=0o755)
        self.contents = Contents(str(path / "contents"))
        self.owners = Owners()
        self.seen = Seen("t")
        self.passed_over: list[str] = []
        nodes = self.nodes()
        self.empty = fresh_directory(nodes, 0)
        nodes.flush()

    def nodes(self) -> StoredNodes:
        return StoredNodes(self.contents)

    def scan(
        self, base: Entry | None = None, before: Entry | None = None, *, is_still: bool = False,
        waits: bool = False,
    ) -> Entry:  # fmt: skip
        nodes = self.nodes()
        scan = Scan(self.contents, nodes, self.owners, self.seen, is_still=is_still, waits=waits)
        root = scan.run(str(self.upper), base or self.empty, before)
        nodes.flush()
        self.passed_over = scan.passed_over
        return root

    def paths(self, root: Entry) -> list[str]:
        return [path for path, _ in trees.walk(self.nodes(), root)]

    def find(self, root: Entry, path: str) -> Entry:
        found = trees.find(self.nodes(), root, parts_of(path))
        assert found is not None
        return found

    def checkouts(self) -> Checkouts:
        made = Checkouts(str(self.path / "checkouts"), self.contents, self.owners)
        made.open()
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.contents.close()


def same(first: str, second: str) -> bool:
    with open(first, "rb") as one, open(second, "rb") as other:
        return one.read() == other.read()


@pytest.mark.parametrize("is_still", [False, True])
def test_what_was_written_is_laid_out_as_it_was(world: World, is_still: bool) -> None:
    upper = world.upper
    (upper / "d").mkdir(mode=0o700)
    (upper / "d/small").write_bytes(b"small")
    (upper / "d/empty").touch(mode=0o600)
    (upper / "middle").write_bytes(os.urandom(MIB))
    (upper / "large").write_bytes(os.urandom(9 * MIB))
    (upper / "link").symlink_to("d/small")
    os.link(upper / "d/small", upper / "other name")
    os.setxattr(upper / "middle", "user.note", b"\xff\0")
    (upper / "middle").chmod(0o751)
    os.utime(upper / "large", ns=(1, 1_234_567_890_123_456_789))
    root = world.scan(is_still=is_still)
    layer = world.checkouts().take(world.nodes(), root, "v").layers()[0]
    assert sorted(os.listdir(layer)) == ["d", "large", "link", "middle", "other name"]
    for name in ("d/small", "d/empty", "middle", "large"):
        info, before = os.stat(f"{layer}/{name}"), os.stat(upper / name)
        assert same(f"{layer}/{name}", str(upper / name))
        assert (info.st_mode, info.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert os.readlink(f"{layer}/link") == "d/small"
    assert os.getxattr(f"{layer}/middle", "user.note") == b"\xff\0"
    assert os.stat(f"{layer}/d").st_mode & 0o777 == 0o700
    assert os.path.samefile(f"{layer}/d/small", f"{layer}/other name")
    assert not os.path.samefile(f"{layer}/large", upper / "large") or is_still


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_owners_are_kept(world: World) -> None:
    """Behaviour 143."""
    for name, size in (("small", 3), ("large", MIB)):
        (world.upper / name).write_bytes(b"x" * size)
        os.chown(world.upper / name, 1000, 33)
        (world.upper / name).chmod(0o4710)
    root = world.scan()
    layer = world.checkouts().take(world.nodes(), root, "v").layers()[0]
    for name in ("small", "large"):
        info = os.stat(f"{layer}/{name}")
        assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1000, 33, 0o710)


def test_twenty_gib_of_holes_take_no_time_and_no_room(world: World) -> None:
    path = world.upper / "sparse"
    with path.open("wb") as file:
        file.truncate(20 << 30)
        file.seek(7 << 30)
        file.write(b"in the middle")
    root = world.scan()
    assert world.find(root, "sparse").size == 20 << 30
    placed = world.checkouts().take(world.nodes(), root, "v").layers()[0] + "/sparse"
    assert os.stat(placed).st_size == 20 << 30
    assert os.stat(placed).st_blocks * 512 <= 2 * chunks.CHUNK_BYTES
    with open(placed, "rb") as file:
        file.seek((7 << 30) - 1)
        assert file.read(15) == b"\0in the middle\0"


def test_a_name_that_is_no_utf8_is_kept(world: World) -> None:
    with open(os.path.join(os.fsencode(world.upper), b"\xff\xfe"), "wb") as file:
        file.write(b"x")
    root = world.scan()
    layer = world.checkouts().take(world.nodes(), root, "v").layers()[0]
    assert os.listdir(os.fsencode(layer)) == [b"\xff\xfe"]


def test_what_is_neither_file_nor_directory_nor_link_is_passed_over(world: World) -> None:
    os.mkfifo(world.upper / "pipe")
    (world.upper / "file").write_text("x")
    assert world.paths(world.scan()) == ["file"]
    assert world.passed_over == ["pipe"]


def test_a_link_out_of_the_volume_is_a_link_and_is_not_followed(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (world.upper / "out").symlink_to(tmp_path / "secret")
    (world.upper / "dir").symlink_to(tmp_path)
    root = world.scan()
    assert world.paths(root) == ["dir", "out"]
    assert world.find(root, "out").content == str(tmp_path / "secret")


def test_directories_that_are_too_deep_are_passed_over(world: World) -> None:
    path = os.open(world.upper, os.O_RDONLY)
    for _ in range(DEPTH_MAX + 20):
        os.mkdir("d", dir_fd=path)
        inner = os.open("d", os.O_RDONLY, dir_fd=path)
        os.close(path)
        path = inner
    os.close(path)
    root = world.scan()
    assert root.size == DEPTH_MAX
    assert len(world.passed_over) == 1


def test_a_file_that_has_not_changed_is_not_read_again(world: World) -> None:
    for name in ("a", "b"):
        (world.upper / name).write_text(name)
    first = world.scan()
    before = world.seen.files[(world.upper / "a").stat().st_ino]
    (world.upper / "b").write_text("changed")
    second = world.scan()
    assert world.seen.files[(world.upper / "a").stat().st_ino] is before
    assert world.find(second, "a") == world.find(first, "a")
    assert world.find(second, "b") != world.find(first, "b")


def test_an_upper_layer_in_which_nothing_was_written_is_the_base(world: World) -> None:
    (world.upper / "d").mkdir()
    (world.upper / "d/f").write_text("x")
    base = world.scan()
    for child in (world.upper / "d/f", world.upper / "d"):
        child.unlink() if child.is_file() else child.rmdir()
    world.seen = Seen("u")
    os.utime(world.upper, ns=(base.mtime_ns, base.mtime_ns))
    assert world.scan(base) == base
    (world.upper / "d").mkdir()  # what overlayfs makes of a directory that was looked into
    assert world.scan(base) == base


class TestOverlay:
    """Layers that the kernel's overlayfs would leave, and checkouts that it can use."""

    pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="for others names differ")

    def base(self, world: World) -> Entry:
        (world.upper / "d/e").mkdir(parents=True)
        for name in ("a", "d/b", "d/e/c"):
            (world.upper / name).write_text(name)
        root = world.scan()
        os.rename(world.upper, world.path / "before")
        world.upper.mkdir()
        world.seen = Seen("u")
        return root

    def test_a_whiteout_removes(self, world: World) -> None:
        root = self.base(world)
        os.mknod(world.upper / "d", stat.S_IFCHR, os.makedev(0, 0))
        assert world.paths(world.scan(root)) == ["a"]

    def test_an_opaque_directory_hides_what_was_there(self, world: World) -> None:
        root = self.base(world)
        (world.upper / "d").mkdir()
        os.setxattr(world.upper / "d", "trusted.overlay.opaque", b"y")
        (world.upper / "d/new").write_text("x")
        assert world.paths(world.scan(root)) == ["a", "d", "d/new"]

    @pytest.mark.parametrize("redirect", [b"/d/e", b"/d/e/"])
    def test_a_directory_that_was_renamed_keeps_what_is_in_it(
        self, world: World, redirect: bytes
    ) -> None:
        root = self.base(world)
        (world.upper / "moved").mkdir()
        os.setxattr(world.upper / "moved", "trusted.overlay.redirect", redirect)
        (world.upper / "d").mkdir()
        os.mknod(world.upper / "d/e", stat.S_IFCHR, os.makedev(0, 0))
        assert world.paths(world.scan(root)) == ["a", "d", "d/b", "moved", "moved/c"]

    def test_a_small_change_is_one_more_layer(self, world: World) -> None:
        root = self.base(world)
        checkouts = world.checkouts()
        first = checkouts.take(world.nodes(), root, "v")
        os.mknod(world.upper / "a", stat.S_IFCHR, os.makedev(0, 0))
        (world.upper / "d").mkdir()
        (world.upper / "d/new").write_text("x")
        second = checkouts.take(world.nodes(), world.scan(root), "v")
        assert second.layers()[1:] == first.layers()
        assert sorted(os.listdir(second.layers()[0])) == ["a", "d"]
        assert os.listdir(second.layers()[0] + "/d") == ["new"]
        assert stat.S_ISCHR(os.lstat(second.layers()[0] + "/a").st_mode)


def test_layers_never_get_too_many(world: World) -> None:
    checkouts = world.checkouts()
    for number in range(LAYERS_MAX + 3):
        (world.upper / str(number)).write_text("x")
        made = checkouts.take(world.nodes(), world.scan(), "v")
        assert 1 <= len(made.layers()) <= LAYERS_MAX


def test_a_checkout_outlives_the_daemon_and_goes_when_nobody_needs_it(world: World) -> None:
    (world.upper / "a").write_text("x")
    root = world.scan()
    path = world.checkouts().take(world.nodes(), root, "v/").path
    again = world.checkouts()
    found = again.take(world.nodes(), root, "v/")
    assert found.path == path
    again.forget("v/")
    assert os.path.isdir(path)
    again.release(found)
    assert not os.path.exists(path)


def test_a_checkout_of_an_earlier_boot_is_not_trusted(world: World) -> None:
    (world.upper / "a").write_text("x")
    path = world.checkouts().take(world.nodes(), world.scan(), "v").path
    with open(path + "/about", "r+", encoding="utf-8") as file:
        text = file.read().replace('"boot": "', '"boot": "another-')
        file.seek(0)
        file.write(text)
    world.checkouts()
    assert not os.path.exists(path)


def test_a_lost_content_is_told(world: World) -> None:
    (world.upper / "a").write_bytes(os.urandom(MIB))
    root = world.scan()
    os.unlink(world.contents.path(world.find(root, "a").content))
    with pytest.raises(LostContentError):
        world.checkouts().take(world.nodes(), root, "v")


def test_no_attribute_of_one_user_of_a_content_changes_another(world: World) -> None:
    (world.upper / "a").write_bytes(b"x" * MIB)
    first = world.checkouts().take(world.nodes(), world.scan(), "v")
    (world.upper / "a").chmod(0o600)
    second = world.checkouts().take(world.nodes(), world.scan(), "w")
    modes = [stat.S_IMODE(os.stat(one.layers()[0] + "/a").st_mode) for one in (first, second)]
    assert modes == [0o644, 0o600]
    assert world.find(world.scan(), "a").kind != DIRECTORY
