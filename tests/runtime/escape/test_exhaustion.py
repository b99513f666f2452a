"""Memory, processes and files: who uses up what it may, ends alone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from volantd.runtime import cgroup as cgroups

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote

#: Ends up with the number of processes that it could make.
FORK_BOMB = """
import os, signal
result = 0
try:
    while result < 500:
        if os.fork() == 0:
            signal.pause()
            os._exit(0)
        result += 1
except OSError:
    pass
"""


def test_a_memory_bomb_ends_itself_alone(
    container_lab: Laboratory, seated: Zygote, other: Container
) -> None:
    bomb, group = container_lab.fork_limited(seated, cgroups.Limits(memory_bytes=64 << 20))
    with pytest.raises(ConnectionResetError):
        bomb.ask("kept = [bytearray(1 << 20) for _ in range(4096)]")
    assert bomb.wait() == signal.SIGKILL
    assert group.oom_kill_count() == 1
    assert group.peak_memory_bytes() > 32 << 20
    assert other.ask("result = 'alive'") == "alive"
    assert group.remove()


def test_shared_memory_counts_as_memory(container_lab: Laboratory, seated: Zygote) -> None:
    bomb, group = container_lab.fork_limited(seated, cgroups.Limits(memory_bytes=64 << 20))
    code = "file = open('/dev/shm/big', 'wb')\nfor _ in range(512): file.write(bytes(1 << 20))"
    with pytest.raises(ConnectionResetError):
        bomb.ask(code)
    assert bomb.wait() == signal.SIGKILL
    assert group.oom_kill_count() >= 1


def test_a_fork_bomb_stops_at_its_limit(
    container_lab: Laboratory, seated: Zygote, other: Container
) -> None:
    bomb, group = container_lab.fork_limited(seated, cgroups.Limits(process_count=32))
    assert bomb.ask(FORK_BOMB) < 32
    assert other.ask("import os; pid = os.fork() or os._exit(0); result = os.wait()[1]") == 0
    bomb.end()
    assert group.remove(), "nothing of it is left"


def test_processes_can_be_limited_without_cgroups(
    container_lab: Laboratory,
) -> None:
    zygote = container_lab.zygote("")
    bomb = container_lab.fork(zygote, {"processes": 24})
    assert bomb.ask(FORK_BOMB) < 24
    bomb.end()
    container_lab.end(zygote)


def test_a_file_cannot_fill_the_disk(container: Container) -> None:
    code = """
import os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = open("/tmp/big", "wb", buffering=0)
try:
    while file.write(bytes(1 << 20)): pass
except OSError:
    result = os.path.getsize("/tmp/big")
"""
    assert container.ask(code) == 8 << 20
