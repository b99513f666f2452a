"""Sandboxes of built images: also of such as have no Python, and have files attached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import volant
from tests import gvisor
from tests.behaviours.image_builds import bare_image, home_of_images
from volant.errors import ImageBuildError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

app = volant.App("of-images")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "sandbox-images") as made, app.run():
        yield made


@pytest.fixture(scope="module")
def bare() -> Iterator[volant.Image]:
    """An image with a shell and without Python."""
    config = {"config": {"Env": ["FROM_BASE=yes", "PATH=/usr/bin"], "WorkingDir": "/srv/work"}}
    with bare_image("bare", config) as image:
        yield image


def test_an_image_needs_no_python(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create("sh", "-c", "pwd; echo $FROM_BASE; cat", app=app, image=bare)
    sandbox.stdin.write("typed\n")
    sandbox.stdin.write_eof()
    sandbox.stdin.drain()
    assert sandbox.stdout.read() == "/srv/work\nyes\ntyped\n"
    assert sandbox.wait() == 0


def test_nothing_of_this_machine_or_of_ours_is_seen_in_it(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    shown = sandbox.exec("ls", "-A", "/").stdout.read().split()
    assert ".volant" not in shown
    assert set(sandbox.exec("ls", "/usr").stdout.read().split()) <= {"bin", "lib", "lib64"}
    assert sandbox.exec("ls", "-A", "/root").stdout.read() == ""
    assert sandbox.exec("python3").wait() == 127
    assert sandbox.exec("sh", "-c", "echo own > /usr/bin/own && cat /usr/bin/own").wait() == 0
    other = volant.Sandbox.create(app=app, image=bare)
    assert other.exec("ls", "/usr/bin/own").wait() != 0
    terminal = sandbox.exec("sh", "-c", "ls -d /dev/pts/0", pty=True)
    assert terminal.stdout.read() == "/dev/pts/0\r\n"


def test_what_holds_it_is_closed_to_what_runs_in_it(bare: volant.Image) -> None:
    """Issue 7, proof: its program is this machine's, and no part of the image."""
    sandbox = volant.Sandbox.create(app=app, image=bare)
    names = ["exe", "mem", "root/", "cwd/"]
    if gvisor.default_runtime() != "gvisor":  # there it is the init, which hides less
        names += ["environ", "fd/5", "maps"]
    for name in names:
        for pid in (1, 2):
            command = sandbox.exec("sh", "-c", f"exec 9< /proc/{pid}/{name}")
            assert (command.wait(), name) != (0, name)
    assert sandbox.exec("sh", "-c", "exec 9< /proc/self/environ").wait() == 0


def test_files_are_attached_to_it(bare: volant.Image, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("attached")
    image = bare.add_local_file(tmp_path / "data.txt", "/srv/data.txt", copy=True)
    image = image.add_local_file(tmp_path / "data.txt", "/root/data.txt")
    sandbox = volant.Sandbox.create(app=app, image=image)
    assert sandbox.exec("cat", "/root/data.txt", "/srv/data.txt").stdout.read() == "attached" * 2


def test_an_image_that_cannot_be_built_is_told_by_create(bare: volant.Image) -> None:
    with pytest.raises(ImageBuildError):
        volant.Sandbox.create(app=app, image=bare.run_commands("exit 7"))


def test_files_of_an_image_without_python_are_reached(bare: volant.Image) -> None:
    """Behaviour 125, where nothing of the image could do it."""
    sandbox = volant.Sandbox.create(app=app, image=bare)
    sandbox.filesystem.write_text("written", "/srv/made/file")
    assert sandbox.exec("cat", "/srv/made/file").stdout.read() == "written"
    assert [one.name for one in sandbox.filesystem.list_files("/srv/made")] == ["file"]
    assert next(iter(sandbox.filesystem.watch("/srv", timeout=0)), None) is None
