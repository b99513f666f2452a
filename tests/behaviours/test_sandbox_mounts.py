"""Images of directories of sandboxes, and images that are mounted into sandboxes that run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.image_builds import bare_image, home_of_images
from tests.behaviours.shells import shell
from tests.support import eventually
from volant.errors import ExecutionError, InvalidError, NotFoundError, SnapshotCreationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

app = volant.App("of-mounts")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "sandbox-mounts") as made, app.run():
        yield made


@pytest.fixture(scope="module")
def bare() -> Iterator[volant.Image]:
    """An image with a shell and without Python."""
    with bare_image("mounts", {}) as image:
        yield image


@pytest.fixture
def sandbox(bare: volant.Image) -> Iterator[volant.Sandbox]:
    made = volant.Sandbox.create(app=app, image=bare)
    yield made
    made.terminate(wait=True)


def test_a_directory_becomes_an_image_that_is_mounted_elsewhere(
    bare: volant.Image, sandbox: volant.Sandbox
) -> None:
    shell(sandbox, "mkdir -p /srv/work/deep; cd /srv/work; echo kept > deep/file; ln -s deep way;"
                    "ln deep/file twice; chmod 640 deep/file; mkfifo pipe; mkdir closed;"
                    "echo x > closed/x; chmod 0 closed")  # fmt: skip
    image = sandbox.snapshot_directory("/srv/work")
    shell(sandbox, "echo later > /srv/work/deep/file")
    other = volant.Sandbox.create(app=app, image=bare)
    other.mount_image("/opt/state", image)
    assert shell(other, "cd /opt/state; ls; cat way/file; stat -c '%a %h %u' twice") == (
        "closed\ndeep\npipe\ntwice\nway\nkept\n640 2 0\n"
    )
    shell(other, "echo mine > /opt/state/deep/file; rm /opt/state/twice; echo new > /opt/state/n")
    assert shell(other, "cd /opt/state; cat deep/file n; ls") == (
        "mine\nnew\nclosed\ndeep\nn\npipe\nway\n"
    )
    third = volant.Sandbox.create(app=app, image=bare)
    third.mount_image("/opt/state", image)
    assert shell(third, "cat /opt/state/twice") == "kept\n"
    again = other.snapshot_directory("/opt/state")
    third.mount_image("/opt/again", again)
    assert shell(third, "cd /opt/again; cat deep/file n; ls") == (
        "mine\nnew\nclosed\ndeep\nn\npipe\nway\n"
    )


def test_an_image_is_exchanged_while_its_files_are_in_use(
    bare: volant.Image, sandbox: volant.Sandbox
) -> None:
    shell(sandbox, "mkdir -p /srv/a /srv/b; echo first > /srv/a/code; echo second > /srv/b/code")
    first, second = (sandbox.snapshot_directory(f"/srv/{name}") for name in "ab")
    sandbox.mount_image("/app", first)
    with pytest.raises(InvalidError, match="mounted at '/app' already"):
        sandbox.mount_image("/app/", second)
    reader = sandbox.exec("sh", "-c", "exec 3< /app/code; echo open; read _; cat <&3")
    assert next(iter(reader.stdout)) == "open\n"
    sandbox.unmount_image("/app")
    assert shell(sandbox, "ls /app") == ""
    sandbox.mount_image("/app", second)
    assert shell(sandbox, "cat /app/code") == "second\n"
    reader.stdin.write("go\n")
    reader.stdin.write_eof()
    reader.stdin.drain()
    assert reader.stdout.read() == "first\n"
    sandbox.unmount_image("/app")
    with pytest.raises(NotFoundError, match="no image is mounted"):
        sandbox.unmount_image("/app")


def test_a_whole_image_with_what_it_has_removed_is_mounted(
    bare: volant.Image, sandbox: volant.Sandbox
) -> None:
    built = bare.run_commands("mkdir -p /srv/x/y; echo 1 > /srv/x/y/1; echo 2 > /srv/2")
    built = built.run_commands("rm /srv/2; rm -r /srv/x; mkdir /srv/x; echo 3 > /srv/x/3")
    with pytest.raises(InvalidError, match="not built yet"):
        sandbox.mount_image("/mnt", built)
    built.build()
    sandbox.mount_image("/mnt", built)
    assert shell(sandbox, "ls /mnt/srv /mnt/srv/x") == "/mnt/srv:\nx\n\n/mnt/srv/x:\n3\n"
    assert shell(sandbox, "/mnt/bin/cat /mnt/srv/x/3") == "3\n"


@pytest.mark.parametrize(
    "path", ["relative", "/", "/a/../b", "/proc/x", "/sys", "/dev/shm", "/.volant/x", "/./proc"]
)
def test_a_path_that_makes_no_sense_is_refused(sandbox: volant.Sandbox, path: str) -> None:
    image = volant.Image.from_id("im-none")
    image._object_id = "im-none"
    for use in (
        lambda: sandbox.mount_image(path, image), lambda: sandbox.unmount_image(path),
        lambda: sandbox.snapshot_directory(path),
    ):  # fmt: skip
        with pytest.raises(InvalidError):
            use()


def test_what_is_no_directory_becomes_no_image(sandbox: volant.Sandbox) -> None:
    sandbox.filesystem.write_text("", "/srv/file")
    for path, why in (("/none", "no such file or directory"), ("/srv/file", "not a directory")):
        with pytest.raises(ExecutionError, match=f"'{path}' cannot be opened in .*: {why}$"):
            sandbox.snapshot_directory(path)


def test_a_link_leads_nowhere_outside(sandbox: volant.Sandbox, tmp_path: Path) -> None:
    """Links are those of the sandbox, and what every sandbox has of its own stays as it is."""
    (tmp_path / "secret").write_text("outside")
    shell(sandbox, f"mkdir -p /srv/in {tmp_path}; echo in > /srv/in/side;"
                    f"ln -s {tmp_path} /srv/out; ln -s /proc/1/root /srv/root;"
                    "ln -s /proc /srv/proc; ln -s /srv/in /srv/way; ln -s / /srv/all;"
                    "ln -s /dev/shm /srv/shm")  # fmt: skip
    image = sandbox.snapshot_directory("/srv/in")
    assert _image_shows(sandbox, sandbox.snapshot_directory("/srv/out")) == ""
    assert _image_shows(sandbox, sandbox.snapshot_directory("/srv/way")) == "side\n"
    for name in ("root", "proc", "all", "shm", "root/srv", "none"):
        with pytest.raises(ExecutionError, match="cannot be opened"):
            sandbox.snapshot_directory(f"/srv/{name}")
    for name in ("root", "proc", "all", "shm", "proc/1/root/srv"):
        with pytest.raises(ExecutionError, match="no image can be mounted"):
            sandbox.mount_image(f"/srv/{name}", image)
    sandbox.mount_image("/srv/out", image)
    assert sorted(os.listdir(tmp_path)) == ["secret"]
    assert shell(sandbox, f"ls {tmp_path}") == "side\n"
    sandbox.unmount_image("/srv/out")


def _image_shows(sandbox: volant.Sandbox, image: volant.Image) -> str:
    sandbox.mount_image("/looked-at", image)
    try:
        return shell(sandbox, "ls /looked-at")
    finally:
        sandbox.unmount_image("/looked-at")


def test_names_that_are_exchanged_meanwhile_lead_nowhere_else(sandbox: volant.Sandbox) -> None:
    """Whatever a path leads to at that moment: never what every sandbox has of its own."""
    shell(sandbox, "mkdir -p /srv/in /srv/one; echo in > /srv/in/side; ln -s /proc /srv/flip")
    image = sandbox.snapshot_directory("/srv/in")
    before = _mounts(sandbox)
    flips = "while :; do ln -sfn /proc /srv/flip; ln -sfn /srv/one /srv/flip; "
    flipping = sandbox.exec("sh", "-c", flips + "ln -sfn / /srv/flip; done")
    done = []
    for _ in range(40):
        try:
            sandbox.mount_image("/srv/flip", image)
            done.append("mounted")
            sandbox.unmount_image("/srv/flip")
        except ExecutionError as error:
            done.append(str(error))
        assert _mounts(sandbox) == before
    assert {"mounted"} < set(done), "it was never where it should be, or always"
    assert flipping.poll() is None


def _mounts(sandbox: volant.Sandbox) -> list[str]:
    lines = sandbox.filesystem.read_text("/proc/1/mountinfo").splitlines()
    return [line.partition(" ")[2] for line in lines]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can freeze control groups")
def test_one_that_is_paused_stays_so_while_images_come_and_go(sandbox: volant.Sandbox) -> None:
    shell(sandbox, "mkdir /srv/in; echo in > /srv/in/side")
    counting = sandbox.exec("sh", "-c", "read _; echo went on")
    sandbox.pause()
    images = sandbox.snapshot_directory("/srv/in"), sandbox.snapshot_filesystem()
    sandbox.mount_image("/mnt", images[0])
    counting.stdin.write("go\n")
    counting.stdin.drain()
    assert counting.poll() is None
    with pytest.raises(ExecutionError, match="paused"):
        sandbox.exec("true")
    sandbox.resume()
    assert counting.stdout.read() == "went on\n"
    assert shell(sandbox, "cat /mnt/side") == "in\n"


def test_what_is_written_to_an_image_counts_as_written(sandbox: volant.Sandbox) -> None:
    shell(sandbox, "mkdir /srv/in")
    sandbox.mount_image("/mnt", sandbox.snapshot_directory("/srv/in"))
    before = sandbox._experimental_stats()["disk_bytes"]
    shell(sandbox, "cat /usr/bin/* /usr/bin/* > /mnt/big")
    assert sandbox._experimental_stats()["disk_bytes"] > before + 100_000


def test_an_image_that_is_gone_stays_where_it_is_mounted(
    bare: volant.Image, sandbox: volant.Sandbox
) -> None:
    shell(sandbox, "mkdir /srv/in; echo in > /srv/in/side")
    image = sandbox.snapshot_directory("/srv/in", ttl=1.0)
    sandbox.mount_image("/mnt", image)

    def is_gone() -> bool:
        try:
            volant.Image.from_id(str(image.object_id)).hydrate()
        except NotFoundError:
            return True
        return False

    eventually(is_gone)
    assert shell(sandbox, "cat /mnt/side; echo more > /mnt/more; ls /mnt") == "in\nmore\nside\n"
    with pytest.raises(NotFoundError):
        volant.Sandbox.create(app=app, image=bare).mount_image("/mnt", image)


def test_a_sandbox_of_this_machine_takes_images_too(sandbox: volant.Sandbox) -> None:
    here = volant.Sandbox.create(app=app, image=volant.Image.host())
    shell(here, "mkdir -p /root/work; echo mine > /root/work/file")
    here.mount_image("/mnt", here.snapshot_directory("/root/work"))
    assert shell(here, "cat /mnt/file") == "mine\n"
    with pytest.raises(SnapshotCreationError, match="not done within"):
        here.snapshot_directory("/usr", timeout=0.01)
    here.terminate(wait=True)


def test_a_directory_of_a_volume_becomes_an_image(
    bare: volant.Image, sandbox: volant.Sandbox
) -> None:
    with volant.Volume.ephemeral() as volume:
        with volume.batch_upload() as batch:
            batch.put_file(__file__, "/deep/file")
        other = volant.Sandbox.create(app=app, image=bare, volumes={"/data": volume})
        sandbox.mount_image("/mnt", other.snapshot_directory("/data/deep"))
        assert shell(sandbox, "ls /mnt") == "file\n"
        other.terminate(wait=True)
