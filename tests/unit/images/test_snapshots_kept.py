"""Snapshots in the books: pinned, also for the next daemon; and what is copied into their layer."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from volant.runner import linux
from volant.runner.view.places import LAYERS_DIR
from volantd import file_content
from volantd.agent.sandboxes.snapshots import LAYERS_MAX, layers_max
from volantd.images.kept.books import EXPIRES_AT, SNAPSHOT, Books, Record
from volantd.images.kept.copying import BrokenOffError, Copy

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def test_a_directory_tells_the_kernel_that_what_hides_is_in_it(tmp_path: Path, source: Path):
    """Or it would be listed where what it hid is no more: whole layers become one."""
    target = _target(tmp_path)
    os.mknod(source / "below" / "hidden", stat.S_IFCHR)
    Copy(str(target), None).add(str(source))
    assert (target / "below" / "hidden").is_char_device()
    assert os.getxattr(target / "below", "user.overlay.origin") == b""
    assert os.listxattr(target) == []


def test_what_was_put_on_a_path_first_is_not_led_astray_by_a_link(tmp_path: Path, source: Path):
    """A sandbox may make links where trees of this machine lie in its image."""
    target, elsewhere = _target(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "opt").symlink_to(elsewhere)
    copy = Copy(str(target), None)
    copy.add(str(source), below="opt/python")
    copy.add(str(hostile))
    assert (target / "opt" / "python" / "top").read_text() == "source"
    assert os.listdir(elsewhere) == []


def test_what_lies_over_the_machine_stays_so_in_the_books(tmp_path: Path):
    machine = {"kind": "host", "python": "/usr/bin/python3", "trees": ["/opt/venv"]}
    books = Books(str(tmp_path))
    books.open(lambda layer: True)
    step = {"kind": SNAPSHOT, "path": "sb-1", EXPIRES_AT: None}
    books.add("a" * 64, Record(machine=machine).with_layers("layer"), step, None)
    again = Books(str(tmp_path))
    again.open(lambda layer: True)
    assert again.entries["a" * 64].record == Record(("layer",), machine=machine)


@pytest.mark.parametrize("letter", ["p", ","])
@pytest.mark.parametrize("length", [4, 40, 200, 1000])
def test_the_names_of_layers_over_a_tree_fit_into_one_mount(length: int, letter: str):
    """Also where each letter takes up two, as a name is told the kernel."""
    path = "/" + letter * (length - 1)
    count = layers_max(["/usr", path])
    assert count == LAYERS_MAX or length >= 40
    assert 1 <= count <= LAYERS_MAX
    assert len(":".join([linux.escaped(f"{LAYERS_DIR}/{count}{path}")] * count)) < 3100


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


def test_a_hole_stays_a_hole(tmp_path: Path, source: Path):
    """A sandbox makes one of any size at once, which is not to fill the disk."""
    target = _target(tmp_path)
    with (source / "sparse").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"middle")
        file.truncate(8 << 30)
    Copy(str(target), None).add(str(source))
    status = (target / "sparse").stat()
    assert (status.st_size, status.st_blocks) == (8 << 30, (source / "sparse").stat().st_blocks)
    with (target / "sparse").open("rb") as file:
        file.seek((1 << 30) - 1)
        assert file.read(8) == b"\0middle\0"


def test_a_copy_is_broken_off_within_a_file(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = Copy(str(_target(tmp_path)), None)

    def pieces(source_fd: int, target_fd: int) -> Iterator[None]:
        copy.is_wanted = False
        yield
        pytest.fail("it goes on")

    monkeypatch.setattr(file_content, "pieces", pieces)
    with pytest.raises(BrokenOffError):
        copy.add(str(source))
