"""Which changes of files mean that a program is loaded anew; on real files and the real kernel."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from volant.cli.live.inotify import DirectoryWatch
from volant.cli.live.watching import SourceWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Longer than the kernel takes to tell of a change, whatever the machine does.
WITHIN_MS = 10_000


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    for name in ("main.py", "helper.py", "package/__init__.py", "data.bin"):
        (tmp_path / name).write_text("before")
    return tmp_path


@pytest.fixture
def watch(project: Path) -> Iterator[SourceWatch]:
    watch = SourceWatch()
    names = ("main.py", "helper.py", "package/__init__.py")
    watch.add([str(project / name) for name in names])
    yield watch
    watch.close()


def told(watch: SourceWatch) -> bool:
    """Whether what has just been done counts; the kernel tells of each change at once."""
    return watch.has_changed()


def in_place(path: Path) -> None:
    path.write_text("after")


def by_rename(path: Path) -> None:
    """As most editors do, and `git checkout`."""
    aside = path.with_name(f".{path.name}.swx")
    aside.write_text("after")
    aside.replace(path)


def by_backup(path: Path) -> None:
    """As vim does with `backupcopy=no`: the old file is moved away first."""
    path.rename(f"{path}~")
    path.write_text("after")


def deleted(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [in_place, by_rename, by_backup, deleted])
@pytest.mark.parametrize("name", ["main.py", "helper.py", "package/__init__.py"])
def test_a_source_that_changes_counts_however_it_is_saved(
    project: Path, watch: SourceWatch, change: Callable[[Path], None], name: str
) -> None:
    assert not told(watch)
    change(project / name)
    assert told(watch)
    assert not told(watch)


def test_a_new_module_counts_and_what_editors_leave_does_not(
    project: Path, watch: SourceWatch
) -> None:
    for name in (".main.py.swp", "main.py~", ".#main.py", "4913", "notes.txt", "data.bin"):
        (project / name).write_text("x")
    assert not told(watch)
    (project / "new.py").write_text("x")
    assert told(watch)


def test_reading_a_source_does_not_count(project: Path, watch: SourceWatch) -> None:
    (project / "main.py").read_text()
    os.utime(project / "main.py")
    assert not told(watch)


def test_any_file_beside_an_attached_one_counts(project: Path, watch: SourceWatch) -> None:
    (project / "templates").mkdir()
    page = project / "templates" / "page.html"
    page.write_text("x")
    watch.add([], [str(page)])
    told(watch)
    by_rename(page)
    assert told(watch)
    (project / "templates" / "other.html").write_text("x")
    assert told(watch)


def test_a_source_behind_a_link_counts_at_both_ends(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "real.py").write_text("x")
    (project / "link.py").symlink_to(elsewhere / "real.py")
    watch = SourceWatch()
    watch.add([str(project / "link.py")])
    in_place(elsewhere / "real.py")
    assert told(watch)
    (project / "link.py").unlink()
    assert told(watch)
    watch.close()


def test_a_directory_that_goes_and_comes_again_is_not_lost(
    project: Path, watch: SourceWatch
) -> None:
    """As when a branch is checked out that has no such package, and then one that has it."""
    (project / "package").rename(project / "gone")
    assert told(watch)
    watch.add([])  # as after each reload
    (project / "gone").rename(project / "package")
    assert told(watch)
    watch.add([])
    in_place(project / "package/__init__.py")
    assert told(watch)


def test_a_program_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    watch = SourceWatch()
    watch.add([str(tmp_path / "a" / "b" / "late.py")])
    (tmp_path / "a").mkdir()
    assert told(watch)
    watch.add([])
    (tmp_path / "a" / "b").mkdir()
    assert told(watch)
    watch.add([])
    (tmp_path / "a" / "b" / "late.py").write_text("x")
    assert told(watch)
    watch.close()


def test_events_that_were_lost_count_as_a_change(project: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 200_000:
        pytest.skip("this kernel keeps too many events to have it lose one")
    watch = DirectoryWatch()
    assert watch.add(str(project))
    for number in range(limit // 2 + 100):
        path = project / f"{number % 7}.txt"
        path.write_text("x")
        path.unlink()
    assert watch.read() is None
    assert watch.read() == set()
    watch.close()


def test_the_descriptor_says_when_there_is_something(project: Path, watch: SourceWatch) -> None:
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    assert not poll.poll(0)
    in_place(project / "main.py")
    assert poll.poll(WITHIN_MS)
