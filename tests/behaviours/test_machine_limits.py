"""What all containers have together: a disk that may not fill, memory that settings bound."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.apps import limiting
from tests.behaviours.programs import ask, at_home
from tests.support import daemon_pid, eventually
from volant.errors import InternalFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_MIB, RESERVE_MIB = 208, 128
MEMORY_MIB = 300


def free_mib(place: Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize >> 20


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", [(DISK_MIB, RESERVE_MIB)], indirect=True)
def test_who_fills_the_disk_is_ended_and_told_so(small_disk: Path) -> None:
    """Issue 2, isolation: neighbours and daemon go on, and the space is given back."""
    with at_home(small_disk), limiting.app.run():
        neighbour = limiting.write_little.remote()
        daemon = daemon_pid(small_disk)
        limiting.write_files.remote("/tmp", 20)  # what fits is nobody's business
        with pytest.raises(InternalFailure) as caught:
            limiting.write_files.remote("/tmp", DISK_MIB)
        told = str(caught.value)
        assert f"the disk was nearly full (less than {RESERVE_MIB} MiB left)" in told
        assert "it had written the most" in told
        assert "died 3 times" in told
        eventually(lambda: free_mib(small_disk) > RESERVE_MIB, within_s=20.0)
        assert limiting.write_little.remote() == neighbour
        assert daemon_pid(small_disk) == daemon
        assert limiting.write_files.remote("/tmp", 20)
    assert "disk_nearly_full" in (small_disk / "daemon.log").read_text()


@pytest.fixture
def little_memory(own_home: Path) -> Iterator[Path]:
    """A daemon whose containers have little memory together."""
    (own_home / "config.toml").write_text(f"memory_limit_mib = {MEMORY_MIB}\n")
    with at_home(own_home), limiting.app.run():
        yield own_home


def test_all_containers_have_a_limit_of_memory_together(little_memory: Path) -> None:
    """Issue 2, isolation: one that has no limit of its own is held by that of all."""
    assert limiting.use_memory.remote(100) == 100 << 20
    if ask(little_memory, "server_status")["cgroup"] == "none":
        pytest.skip("no limits by cgroup for this user")
    with pytest.raises(InternalFailure, match=rf"ran out of memory \(limit {MEMORY_MIB} MiB"):
        limiting.use_memory.remote(2 * MEMORY_MIB)
    assert limiting.use_memory.remote(100) == 100 << 20


def test_what_can_never_be_booked_is_refused(little_memory: Path) -> None:
    """Issue 2, isolation: it does not wait for room that there will never be."""
    with pytest.raises(InternalFailure, match="memory"):
        limiting.books_much.remote()
