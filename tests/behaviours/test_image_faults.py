"""Builds whose daemon is killed, and builds that fill the disk: nothing half is ever left."""

from __future__ import annotations

import os
import random
import select
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.image_builds import Gate, what_is_left
from tests.behaviours.programs import at_home
from tests.support import daemon_pid, run_volant, stop_daemon
from volant.channel import current, daemon
from volant.channel.channel import Channel
from volant.errors import ImageBuildError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.images.registry_server import Registry


NOTHING_LEFT = {"work": [], "half": [], "new": [], "mounts": [], "processes": []}
#: Daemons killed at instants that chance chooses.
KILLS = 15
#: A build takes about this long.
BUILD_S = 0.6
chance = random.Random(11)


@pytest.fixture
def own_home(own_home: Path) -> Iterator[Path]:
    with at_home(own_home):
        yield own_home


def kill_daemon(home: Path) -> None:
    """As nothing can be caught, and wait until it is gone."""
    pid = daemon_pid(home)
    if pid is None:
        return
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([handle], [], [], 10)
    os.close(handle)


def control_groups(home: Path) -> list[str]:
    """Groups of runs of this home's daemons."""
    run_ids = [name.removesuffix(".lock") for name in os.listdir(home / "run")]
    roots = [Path("/sys/fs/cgroup")]
    return [
        str(path)
        for root in roots
        for run_id in run_ids
        for path in root.glob(f"**/*{run_id}*")
        if path.is_dir()
    ]


def image_of(registry: Registry, *steps: str) -> volant.Image:
    image = volant.Image.from_registry(f"{registry.host}/python:base")
    for step in steps:
        image = image.run_commands(step)
    return image


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def text_of(image: volant.Image, path: str) -> str:
    app = volant.App("faults", image=image)
    function = app.function(serialized=True)(read)
    with app.run():
        told: str = function.remote(path)
        return told


def check_clean(home: Path) -> None:
    """What the next daemon finds and leaves, once its store is open."""
    run_volant("server", "start", home=home)
    assert run_volant("image", "list", "--json", home=home).returncode == 0
    stop_daemon(home)
    assert what_is_left(home) == NOTHING_LEFT
    assert control_groups(home) == []


@pytest.mark.slow
def test_a_daemon_that_dies_while_a_command_runs_leaves_nothing(
    registry: Registry, own_home: Path
) -> None:
    gate = Gate()
    image = image_of(registry, "echo kept > /kept", f"echo half > /half; {gate.command}")
    builder = threading.Thread(target=image.build, daemon=True)
    builder.start()
    with gate.wait():
        kill_daemon(own_home)
    with gate.wait():  # the client has started another daemon, which goes on
        assert what_is_left(own_home)["half"] == []
    builder.join(60)
    gate.close()
    assert not builder.is_alive()
    assert text_of(image, "/half") == "half\n"
    assert text_of(image, "/kept") == "kept\n"
    current.forget()
    stop_daemon(own_home)
    check_clean(own_home)


@pytest.mark.slow
@pytest.mark.parametrize("has_base", [False, True])
def test_a_daemon_that_dies_at_any_moment_leaves_nothing_half(
    registry: Registry, own_home: Path, has_base: bool
) -> None:
    """Issue 3, fault tests: while a layer arrives, is unpacked, built, kept, recorded, removed."""
    steps = ["echo 1 > /one", "mkdir /many; cd /many; echo x > a; echo y > b", "echo 3 > /three"]
    image = image_of(registry, *steps)
    if has_base:  # so that the daemon dies in the steps
        image_of(registry).publish("base")
        current.forget()
    pause = threading.Event()
    for _ in range(KILLS):
        assert run_volant("server", "start", home=own_home).returncode == 0
        builder = threading.Thread(target=build_and_prune, args=(registry, own_home, steps))
        builder.start()
        pause.wait(chance.uniform(0.0, BUILD_S))
        kill_daemon(own_home)
        builder.join(60)
        check_clean(own_home)
    assert text_of(image, "/three") == "3\n"
    assert text_of(image, "/many/b") == "y\n"
    current.forget()
    stop_daemon(own_home)
    check_clean(own_home)


def build_and_prune(registry: Registry, home: Path, steps: list[str]) -> None:
    """Build, build anew and prune until the daemon is gone; starts no other one."""
    sock = daemon.connect(str(home))
    assert sock is not None
    channel = Channel(sock, None)
    try:
        channel.greet()
        for turn in range(1000):
            described = image_of(registry, *steps).to_wire()
            if turn % 4:
                described["steps"][turn % 4]["force"] = True  # type: ignore[index]  # a list
            app = {
                "name": "killed", "tags": {}, "detach": False, "output": False,
                "entry": {"module": None, "file": None, "path": []}, "files": [],
                "images": [described], "functions": [], "base": 1, "express": b"",
            }  # fmt: skip
            app_id = channel.request("app_open", app=app)["app_id"]
            channel.request("image_build", app_id=app_id, index=0)
            channel.request("app_close", app_id=app_id, reason="built")
            if turn % 2:
                channel.request("image_prune", all=False, dry_run=False, older_than_s=0)
    except volant.errors.ConnectionError:
        pass  # the daemon was killed
    finally:
        channel.close()


def filling(path: str) -> str:
    """A command that writes 600 MiB, slowly enough to be stopped."""
    return (
        f"python3 -c \"import os, time; file = open('{path}', 'wb', 0);"
        '[(file.write(os.urandom(1 << 20)), time.sleep(0.005)) for _ in range(600)]"'
    )


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", [(600, 240)], indirect=True)
def test_a_step_that_fills_a_volume_is_ended_as_well(registry: Registry, small_disk: Path) -> None:
    """What it wrote there counts as its own."""
    with at_home(small_disk):
        volume = volant.Volume.from_name("filled", create_if_missing=True)
        image = volant.Image.from_registry(f"{registry.host}/python:base")
        with pytest.raises(ImageBuildError, match="this step had written the most"):
            image.run_commands(filling("/kept/large"), volumes={"/kept": volume}).build()
        stop_daemon(small_disk)


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", [(600, 240)], indirect=True)
def test_a_step_that_fills_the_disk_is_ended_and_says_so(
    registry: Registry, small_disk: Path
) -> None:
    """Issue 3, fault tests: before nothing is left, and what it wrote is gone."""
    with at_home(small_disk):
        base = image_of(registry, "echo small > /small")
        base.build()
        with pytest.raises(ImageBuildError) as caught:
            base.run_commands(filling("/large")).build()
        assert "the disk was nearly full" in caught.value.message
        assert "this step had written the most" in caught.value.message
        assert caught.value.image_id is not None
        assert text_of(base, "/small") == "small\n"
        stop_daemon(small_disk)
    assert what_is_left(small_disk) == NOTHING_LEFT
    status = os.statvfs(small_disk)
    assert status.f_bavail * status.f_frsize > 240 << 20


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", [(200, 1)], indirect=True)
def test_a_disk_that_is_full_fails_the_build_and_not_the_daemon(
    registry: Registry, small_disk: Path
) -> None:
    """Even where no guard could see it coming."""
    with at_home(small_disk):
        base = image_of(registry, "echo small > /small").build()
        with pytest.raises(ImageBuildError):
            base.run_commands("cat /dev/zero > /large").build()
        with pytest.raises(ImageBuildError, match=r"No space left|exit code"):
            base.run_commands("python3 -c \"open('/large', 'wb').write(bytes(1 << 28))\"").build()
        assert text_of(base, "/small") == "small\n"
        stop_daemon(small_disk)
    assert what_is_left(small_disk) == NOTHING_LEFT
