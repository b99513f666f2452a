"""What functions ask for, as the kernel was told it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import limiting
from tests.behaviours.programs import ask, containers
from volantd.runtime import cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _running(volant_home: Path) -> Iterator[None]:
    with limiting.app.run():
        limiting.asks_for_nothing.remote()
        if ask(volant_home, "server_status")["cgroup"] == "none":
            pytest.skip("no limits by cgroup for this user")
        yield


def setting(pid: int, name_v1: str, name_v2: str) -> str:
    """A setting of the processor group that a process is in."""
    version, _ = cgroup.find_parents()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if version == 2 and not controllers:
            return Path(cgroup.SYSFS + path, name_v2).read_text().strip()
        if version == 1 and "cpu" in controllers.split(","):
            return Path(cgroup.SYSFS, "cpu" + path, name_v1).read_text().strip()
    raise AssertionError(f"process {pid} is in no processor group")


@pytest.mark.parametrize(
    ("function", "shares", "weight"),
    [
        (limiting.asks_for_nothing, "128", "5"),
        (limiting.asks_for_half, "512", "20"),
        (limiting.asks_for_two, "2048", "79"),
    ],
    ids=["nothing", "half", "two"],
)
def test_processors_are_divided_by_what_was_asked_for(
    volant_home: Path, function, shares: str, weight: str
) -> None:
    """Issue 2, limits: `cpu=` is what a container weighs when the processors are busy."""
    function.remote()
    (row,) = containers(volant_home, function=function.name)
    assert setting(row["pid"], "cpu.shares", "cpu.weight") in (shares, weight)


def test_a_sandbox_is_held_to_request_and_limit(volant_home: Path) -> None:
    app = volant.App("limited-sandboxes")
    with app.run():
        sandbox = volant.Sandbox.create(app=app, cpu=(0.5, 3), memory=(64, 96))
        sandbox.exec("true").wait()
        pid = ask(volant_home, "sandbox_show", sandbox_id=sandbox.object_id)["pid"]
        assert setting(pid, "cpu.shares", "cpu.weight") in ("512", "20")
        assert setting(pid, "cpu.cfs_quota_us", "cpu.max").split()[0] == "300000"
        assert sandbox.exec("python3", "-c", "bytearray(b'x') * (80 << 20)").wait() == 0
        assert sandbox.exec("python3", "-c", "bytearray(b'x') * (120 << 20)").wait() == 137


def test_a_limit_of_processors_is_what_was_asked_for(volant_home: Path) -> None:
    """Issue 2, limits: three cores' worth of each period."""
    limiting.asks_for_two.remote()
    (row,) = containers(volant_home, function="asks_for_two")
    assert setting(row["pid"], "cpu.cfs_quota_us", "cpu.max").split()[0] == "300000"
