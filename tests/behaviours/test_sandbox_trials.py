"""What of sandboxes may change: other names, usage, headers, and what they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.image_builds import bare_image, home_of_images
from tests.support import eventually
from volant.errors import AlreadyExistsError, ExecutionError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

app = volant.App("of-trials")
LEAVING = {"exit_snapshot": True}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "sandbox-trials") as made, app.run():
        yield made


@pytest.fixture(scope="module")
def bare() -> Iterator[volant.Image]:
    """An image with a shell and without Python."""
    with bare_image("trials", {}) as image:
        yield image


def test_a_sandbox_gets_another_name(bare: volant.Image) -> None:
    first = volant.Sandbox.create(app=app, image=bare, name="first")
    second = volant.Sandbox.create(app=app, image=bare)
    with pytest.raises(AlreadyExistsError, match="`first` already"):
        second._experimental_set_name("first")
    with pytest.raises(InvalidError, match="cannot be the name"):
        second._experimental_set_name("with space")
    first._experimental_set_name("other")
    second._experimental_set_name("first")
    second._experimental_set_name("first")
    assert volant.Sandbox.from_name("of-trials", "first").object_id == second.object_id
    second._experimental_set_name(None)
    with pytest.raises(NotFoundError):
        volant.Sandbox.from_name("of-trials", "first")
    with pytest.raises(NotFoundError) as raised:
        volant.Sandbox.from_name("of-trials", "others")
    assert raised.value.hint == "did you mean other?"
    for one in (first, second):
        one.terminate(wait=True)


def test_a_sandbox_tells_what_it_uses(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    before = sandbox._experimental_stats()
    assert 0 < before["processes"] < 5
    assert before["memory_bytes"] > 0
    fill = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done; cat /usr/bin/* > /srv/big"
    assert sandbox.exec("sh", "-c", f"mkdir -p /srv; {fill}").wait() == 0
    going = sandbox.exec("sh", "-c", "echo begun; read _")
    assert next(iter(going.stdout)) == "begun\n"
    after = sandbox._experimental_stats()
    assert after["processes"] == before["processes"] + 1
    assert after["cpu_s"] > before["cpu_s"]
    assert after["disk_bytes"] > before["disk_bytes"] + 100_000
    sandbox.terminate(wait=True)
    with pytest.raises(ExecutionError, match="has finished"):
        sandbox._experimental_stats()


@pytest.mark.parametrize("way", ["terminated", "exited", "timed out"])
def test_a_sandbox_leaves_its_files_behind(bare: volant.Image, way: str) -> None:
    program = ("sh", "-c", "mkdir -p /srv; echo last > /srv/file; read _")
    sandbox = volant.Sandbox.create(
        *program, app=app, image=bare, experimental_options=LEAVING,
        timeout=3 if way == "timed out" else 300,
    )  # fmt: skip
    eventually(lambda: sandbox.exec("ls", "/srv/file").wait() == 0)
    if way == "terminated":
        assert sandbox.terminate(wait=True) == 137
    elif way == "exited":
        sandbox.stdin.write("go\n")
        sandbox.stdin.drain()
        assert sandbox.wait() == 0
    image = sandbox._experimental_get_exit_snapshot()
    again = volant.Sandbox.create(app=app, image=image)
    assert again.filesystem.read_text("/srv/file") == "last\n"
    assert volant.Sandbox.from_id(sandbox.object_id).poll() is not None
    again.terminate(wait=True)


def test_a_sandbox_that_ends_with_its_app_leaves_its_files_too(bare: volant.Image) -> None:
    own = volant.App("ending")
    with own.run():
        sandbox = volant.Sandbox.create(app=own, image=bare, experimental_options=LEAVING)
        sandbox.filesystem.write_text("last", "/srv/file")
    image = sandbox._experimental_get_exit_snapshot()
    again = volant.Sandbox.create(app=app, image=image)
    assert again.filesystem.read_text("/srv/file") == "last"
    again.terminate(wait=True)


def test_what_leaves_nothing_behind_says_why(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create("true", app=app, image=bare)
    with pytest.raises(InvalidError, match="leaves no image behind"):
        sandbox._experimental_get_exit_snapshot()
    killed = volant.Sandbox.create(app=app, image=bare, experimental_options=LEAVING)
    killed.exec("sh", "-c", "kill -9 -1").wait()
    with pytest.raises(NotFoundError, match="ended before"):
        killed._experimental_get_exit_snapshot()


def test_headers_of_one_that_has_none_cannot_be_changed(bare: volant.Image) -> None:
    sandbox = volant.Sandbox.create(app=app, image=bare)
    policy = volant.experimental.OutboundPolicy()
    with pytest.raises(InvalidError, match="has no headers replaced"):
        sandbox._experimental_update_outbound_policy(policy)
    with pytest.raises(InvalidError, match="outbound policy is a"):
        sandbox._experimental_update_outbound_policy("open")
    sandbox.terminate(wait=True)
