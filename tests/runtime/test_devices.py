"""Devices that one container is granted: it has those, no other has them, nobody can make more.

The nodes stand in for those of GPUs: what a GPU has that these have not is a driver.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from volantd.runtime.client import RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote

#: Like /dev/zero and /dev/full, under the names of the first and the third GPU.
ZERO, FULL = ["nvidia0", 1, 5, 0o666], ["nvidia2", 1, 7, 0o666]
CONTROL = ["nvidiactl", 1, 3, 0o666]
CAPABILITY = ["nvidia-caps/nvidia-cap1", 1, 5, 0o400]

LOOK = "import os; result = sorted(n for n in os.listdir('/dev') if n.startswith('nvidia'))"


@pytest.fixture(scope="module")
def zygote(container_lab: Laboratory) -> Zygote:
    return container_lab.zygote()


@pytest.fixture
def granted(container_lab: Laboratory, zygote: Zygote) -> Iterator[Container]:
    if os.geteuid() != 0:
        pytest.skip("only root can grant devices")
    container = container_lab.fork(zygote)
    nodes = [ZERO, CONTROL, CAPABILITY]
    container_lab.run(container_lab.launcher.grant(container.forked, nodes, []))
    yield container
    container.end()


def test_only_the_granted_devices_are_seen_and_they_work(granted: Container) -> None:
    assert granted.ask(LOOK) == ["nvidia-caps", "nvidia0", "nvidiactl"]
    read = "result = open('/dev/nvidia0', 'rb').read(4)"
    assert granted.ask(read) == bytes(4)
    assert granted.ask("result = open('/dev/nvidiactl', 'wb').write(b'x')") == 1


def test_who_may_open_a_node_is_as_on_the_host(granted: Container) -> None:
    with pytest.raises(Failed, match="PermissionError"):
        granted.ask("open('/dev/nvidia-caps/nvidia-cap1', 'rb')")


def test_the_other_containers_see_none(
    container_lab: Laboratory, zygote: Zygote, granted: Container
) -> None:
    other = container_lab.fork(zygote)
    assert other.ask(LOOK) == []
    other.end()


def test_two_containers_have_each_their_own(
    container_lab: Laboratory, zygote: Zygote, granted: Container
) -> None:
    other = container_lab.fork(zygote)
    container_lab.run(container_lab.launcher.grant(other.forked, [FULL], []))
    assert other.ask(LOOK) == ["nvidia2"]
    assert "nvidia2" not in granted.ask(LOOK)
    other.end()


@pytest.mark.parametrize("place", ["/dev", "/tmp", "/dev/shm", "/root"])
def test_a_device_that_was_not_granted_cannot_be_made(granted: Container, place: str) -> None:
    major, minor = FULL[1:3]
    make = (
        f"import os; os.mknod({place!r} + '/nvidia2', {stat.S_IFCHR | 0o666},"
        f" os.makedev({major}, {minor}))"
    )
    with pytest.raises(Failed, match=r"PermissionError|OSError"):
        granted.ask(make)
    assert granted.ask(LOOK) == ["nvidia-caps", "nvidia0", "nvidiactl"]


def test_what_was_granted_cannot_be_changed(granted: Container) -> None:
    for deed in (
        "os.unlink('/dev/nvidia0')",
        "os.chmod('/dev/nvidia-caps/nvidia-cap1', 0o666)",
        "os.symlink('/dev/null', '/dev/nvidia5')",
    ):
        with pytest.raises(Failed, match=r"PermissionError|OSError"):
            granted.ask(f"import os; {deed}")


def test_shared_memory_and_terminals_stay(container_lab: Laboratory, zygote: Zygote) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can grant devices")
    container = container_lab.fork(zygote)
    container.ask("open('/dev/shm/before', 'w').write('there')")
    container_lab.run(container_lab.launcher.grant(container.forked, [ZERO], []))
    assert container.ask("result = open('/dev/shm/before').read()") == "there"
    assert container.ask("import pty; result = pty.openpty()[0] > 0") is True
    assert container.ask("result = open('/dev/urandom', 'rb').read(2) != None") is True
    container.end()


def test_files_of_the_driver_lie_where_the_loader_looks_and_cannot_be_written(
    container_lab: Laboratory, zygote: Zygote, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can grant devices")
    library = tmp_path / "libcuda.so.1.2.3"
    library.write_bytes(b"the driver")
    container = container_lab.fork(zygote)
    files = [[str(library), "libcuda.so.1"]]
    container_lab.run(container_lab.launcher.grant(container.forked, [ZERO], files))
    find = (
        "import glob; found = [n for d in ('lib/*-linux-gnu', 'lib64', 'lib')"
        " for n in glob.glob(f'/usr/{d}/libcuda.so.1')];"
    )
    assert container.ask(f"{find} result = open(found[0], 'rb').read()") == b"the driver"
    with pytest.raises(Failed, match=r"PermissionError|OSError"):
        container.ask(f"{find} open(found[0], 'r+b')")
    container.end()
    assert library.read_bytes() == b"the driver"


@pytest.mark.parametrize("name", ["../etc/x", "a/b/c", "", "/x", "."])
def test_a_node_has_a_plain_name(container_lab: Laboratory, zygote: Zygote, name: str) -> None:
    container = container_lab.fork(zygote)
    with pytest.raises(RuntimeFailedError, match="got no devices"):
        container_lab.run(container_lab.launcher.grant(container.forked, [[name, 1, 5, 0o666]], []))
    container.end()
