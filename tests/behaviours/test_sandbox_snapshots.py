"""Images of the files of sandboxes: behaviour 122 of the reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import volant
from tests import gvisor
from tests.behaviours.image_builds import bare_image, home_of_images
from tests.behaviours.shells import shell
from tests.support import eventually
from volant.errors import ExecutionError, InvalidError, NotFoundError, SnapshotCreationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

app = volant.App("of-snapshots")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "sandbox-snapshots") as made, app.run():
        yield made


@pytest.fixture(scope="module")
def bare() -> Iterator[volant.Image]:
    """An image with a shell and without Python."""
    config = {"config": {"Env": ["FROM_BASE=yes", "PATH=/usr/bin"], "WorkingDir": "/srv/work"}}
    with bare_image("snapshots", config) as image:
        yield image


def test_a_snapshot_holds_the_files_and_the_sandbox_goes_on(bare: volant.Image) -> None:
    """Behaviour 122."""
    sandbox = volant.Sandbox.create("sh", "-c", "read _; echo still here", app=app, image=bare)
    sandbox.filesystem.write_text("kept", "/srv/made/file")
    image = sandbox.snapshot_filesystem()
    sandbox.filesystem.write_text("later", "/srv/made/file")
    sandbox.filesystem.write_text("later", "/srv/made/other")
    other = volant.Sandbox.create(app=app, image=image)
    assert other.filesystem.read_text("/srv/made/file") == "kept"
    assert [one.name for one in other.filesystem.list_files("/srv/made")] == ["file"]
    assert shell(other, "pwd; echo $FROM_BASE") == "/srv/work\nyes\n"
    sandbox.stdin.write("go\n")
    sandbox.stdin.write_eof()
    sandbox.stdin.drain()
    assert sandbox.stdout.read() == "still here\n"
    again = volant.Sandbox.create(app=app, image=volant.Image.from_id(str(image.object_id)))
    assert again.filesystem.read_text("/srv/made/file") == "kept"


def test_what_was_removed_replaced_or_linked_is_so_in_the_snapshot(bare: volant.Image) -> None:
    first = volant.Sandbox.create(app=app, image=bare)
    shell(first, "cd /srv; mkdir -p a b c; echo 1 > a/1; echo 2 > b/2; echo 3 > c/3")
    second = volant.Sandbox.create(app=app, image=first.snapshot_filesystem())
    shell(second, "cd /srv; rm a/1; rm -r b; mkdir b; echo new > b/new; rm -r c; echo file > c;"
                   "echo twice > one; ln one two; ln -s one three; chmod 640 one; mkfifo pipe;"
                   "mkdir closed; echo x > closed/x; chmod 0 closed")  # fmt: skip
    third = volant.Sandbox.create(app=app, image=second.snapshot_filesystem())
    shown = shell(third, "cd /srv; ls a; ls b; cat c; cat two; stat -c '%a %h %u' one; ls -l three")
    assert shown.startswith("new\nfile\ntwice\n640 2 0\n")
    assert shown.rstrip().endswith("three -> one")
    kinds = {one.name: one for one in third.filesystem.list_files("/srv")}
    assert kinds["closed"].mode == (0 if os.geteuid() == 0 else 0o500)
    if gvisor.default_runtime() != "gvisor":  # its kernel keeps pipes to itself, and exact times
        assert kinds["pipe"].type is volant.types.FileType.FIFO
        assert kinds["one"].modified_time == second.filesystem.stat("/srv/one").modified_time
    fourth = volant.Sandbox.create(app=app, image=third.snapshot_filesystem())
    assert shell(fourth, "cd /srv; ls b; cat c") == "new\nfile\n"


def test_files_that_are_attached_to_the_image_are_in_the_snapshot(
    bare: volant.Image, tmp_path: Path
) -> None:
    for name in ("data.txt", "gone.txt", "new.txt"):
        (tmp_path / name).write_text("attached")
    image = bare
    for name in ("data.txt", "gone.txt", "new.txt"):
        image = image.add_local_file(tmp_path / name, f"/root/{name}")
    sandbox = volant.Sandbox.create(app=app, image=image)
    shell(sandbox, "rm /root/gone.txt; echo changed > /root/new.txt")
    other = volant.Sandbox.create(app=app, image=sandbox.snapshot_filesystem())
    assert shell(other, "cd /root; ls; cat data.txt new.txt") == (
        "data.txt\nnew.txt\nattachedchanged\n"
    )


def test_steps_can_follow_a_snapshot(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    sandbox.filesystem.write_text("kept", "/srv/file")
    image = sandbox.snapshot_filesystem().run_commands("cat /srv/file > /srv/copy")
    other = volant.Sandbox.create(app=app, image=image)
    assert other.filesystem.read_text("/srv/copy") == "kept"


def test_a_link_of_the_sandbox_brings_nothing_of_this_machine(
    bare: volant.Image, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("outside")
    sandbox = volant.Sandbox.create(app=app, image=bare)
    shell(sandbox, f"ln -s {tmp_path} /srv/link; ln -s {tmp_path}/secret /srv/secret")
    other = volant.Sandbox.create(app=app, image=sandbox.snapshot_filesystem())
    assert other.filesystem.stat("/srv/secret").symlink_target == f"{tmp_path}/secret"
    assert other.exec("cat", "/srv/secret").wait() != 0
    assert other.exec("ls", "/srv/link/secret").wait() != 0


def test_directories_too_deep_to_be_copied_are_said_to_be(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    shell(sandbox, "cd /srv; n=0; while [ $n -lt 300 ]; do mkdir d; cd d; n=$((n+1)); done")
    with pytest.raises(SnapshotCreationError, match="within one another"):
        sandbox.snapshot_filesystem()
    assert shell(sandbox, "echo still here") == "still here\n"


def test_a_snapshot_that_takes_too_long_is_given_up(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    fill = "for n in 1 2 3 4 5 6 7 8 9; do mkdir $n; for m in 1 2 3 4 5 6; do {}; done; done"
    shell(sandbox, "cd /srv; " + fill.format("mkdir $n/$m; for k in 1 2 3; do : > $n/$m/$k; done"))
    with pytest.raises(SnapshotCreationError, match="not done within"):
        sandbox.snapshot_filesystem(timeout=0.001)
    assert shell(sandbox, "echo still here") == "still here\n"


def test_a_snapshot_goes_when_its_time_is_over(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    image = sandbox.snapshot_filesystem(ttl=0.001)

    def is_gone() -> bool:
        try:
            volant.Image.from_id(str(image.object_id)).hydrate()
        except NotFoundError:
            return True
        return False

    eventually(is_gone)
    kept = sandbox.snapshot_filesystem(ttl=None)
    volant.Image.from_id(str(kept.object_id)).hydrate()


def test_what_no_snapshot_can_be_made_of_says_why(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    ended = volant.Sandbox.create("true", app=app, image=bare)
    ended.wait()
    with pytest.raises(ExecutionError, match="has finished"):
        ended.snapshot_filesystem()
    with pytest.raises(InvalidError, match="ttl must be"):
        sandbox.snapshot_filesystem(ttl=-1)


def test_the_command_makes_a_snapshot(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    sandbox.filesystem.write_text("kept", "/srv/file")
    run = [sys.executable, "-m", "volant", "sandbox", "snapshot", sandbox.object_id]
    printed = subprocess.run([*run, "--keep"], capture_output=True, text=True, check=True).stdout
    other = volant.Sandbox.create(app=app, image=volant.Image.from_id(printed.strip()))
    assert other.filesystem.read_text("/srv/file") == "kept"
    told = json.loads(subprocess.run([*run, "--json"], capture_output=True, check=True).stdout)
    assert told["image_id"].startswith("im-")
