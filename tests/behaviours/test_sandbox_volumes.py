"""Volumes in sandboxes: mounted, written to, reloaded, and committed at the end."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.shells import shell
from tests.support import eventually
from volant.errors import ConflictError, ExecutionError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("sandboxes-with-volumes")


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with app.run():
        yield


@pytest.fixture
def volume() -> Iterator[volant.Volume]:
    with volant.Volume.ephemeral() as made:
        yield made


def _put(volume: volant.Volume, path: str, content: str) -> None:
    with volume.batch_upload(force=True) as batch:
        batch.put_file(BytesIO(content.encode()), path)


def _content(volume: volant.Volume, path: str) -> bytes:
    return b"".join(volume.read_file(path))


@pytest.mark.parametrize("how", ["terminate", "wait"])
def test_what_it_wrote_is_committed_when_it_has_ended(volume: volant.Volume, how: str) -> None:
    """Behaviour 89: whoever has waited for the end finds it."""
    program = ("sh", "-c", "echo kept > /data/file; read _") if how == "wait" else ()
    sandbox = volant.Sandbox.create(*program, app=app, volumes={"/data": volume})
    if how == "wait":
        sandbox.stdin.write_eof()
        sandbox.stdin.drain()
        sandbox.wait()
    else:
        shell(sandbox, "echo kept > /data/file")
        sandbox.terminate(wait=True)
    assert _content(volume, "file") == b"kept\n"


def test_it_sees_what_others_commit_when_its_volumes_are_reloaded(volume: volant.Volume) -> None:
    """Behaviours 89 and 97."""
    _put(volume, "/file", "first")
    sandbox = volant.Sandbox.create(app=app, volumes={"/data": volume})
    shell(sandbox, "true")  # so it has started
    _put(volume, "/file", "second")
    assert shell(sandbox, "cat /data/file; echo own > /data/own") == "first"
    holding = sandbox.exec("sh", "-c", "exec 3< /data/file; echo open; read _")
    assert next(iter(holding.stdout)) == "open\n"
    with pytest.raises(ConflictError, match="/data/file is open by process"):
        sandbox.reload_volumes()
    holding.stdin.write_eof()
    holding.stdin.drain()
    holding.wait()
    sandbox.reload_volumes()
    assert shell(sandbox, "cat /data/file; cat /data/own") == "secondown\n"
    assert _content(volume, "own") == b"own\n"
    sandbox.terminate(wait=True)
    with pytest.raises(ExecutionError, match="has finished"):
        sandbox.reload_volumes()


def test_volumes_that_it_has_not_are_reloaded_at_once() -> None:
    sandbox = volant.Sandbox.create(app=app)
    sandbox.reload_volumes(timeout=30)
    sandbox.terminate(wait=True)


def test_a_part_of_a_volume_and_one_to_read_are_mounted(volume: volant.Volume) -> None:
    """Behaviours 93 and 94."""
    _put(volume, "/some/part/file", "inside")
    with volant.Volume.ephemeral() as other:
        _put(other, "/file", "other")
        sandbox = volant.Sandbox.create(app=app, volumes={
            "/part": volume.with_mount_options(sub_path="some/part"),
            "/ro": other.with_mount_options(read_only=True),
        })  # fmt: skip
        assert shell(sandbox, "ls /part; cat /part/file /ro/file") == "file\ninsideother"
        refused = sandbox.exec("touch", "/ro/new")
        assert refused.wait() != 0
        assert "Read-only file system" in refused.stderr.read()
        shell(sandbox, "echo new > /part/new")
        sandbox.terminate(wait=True)
        assert _content(volume, "some/part/new") == b"new\n"
        assert [entry.path for entry in other.listdir("/")] == ["file"]


def test_modes_in_a_volume_are_kept(volume: volant.Volume) -> None:
    """Behaviour 143; owners are in `test_sandbox_rights`."""
    first = volant.Sandbox.create(app=app, volumes={"/data": volume})
    shell(first, "cd /data; mkdir own; chmod 700 own; echo x > own/key; chmod 640 own/key")
    first.terminate(wait=True)
    second = volant.Sandbox.create(app=app, volumes={"/data": volume})
    assert shell(second, "stat -c '%a %u %g' /data/own /data/own/key") == "700 0 0\n640 0 0\n"
    second.terminate(wait=True)


def test_what_is_written_is_committed_meanwhile(volume: volant.Volume) -> None:
    sandbox = volant.Sandbox.create(app=app, volumes={"/data": volume})
    shell(sandbox, "echo soon > /data/file")
    eventually(lambda: [one.path for one in volume.listdir("/")] == ["file"], within_s=30)
    sandbox.terminate(wait=True)
