from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from benchmarks.harness import inventory

if TYPE_CHECKING:
    from pathlib import Path

RUN = "77-abc"


def add_process(proc: Path, pid: int | str, *, run: str = "", mnt: int = 1, fds: int = 0) -> None:
    directory = proc / str(pid)
    (directory / "ns").mkdir(parents=True)
    (directory / "fd").mkdir()
    variables = b"PATH=/bin\0" + (f"VOLANT_RUN_ID={run}\0".encode() if run else b"")
    (directory / "environ").write_bytes(variables)
    (directory / "mountinfo").write_text(f"line {mnt}\n" * 3)
    (directory / "ns" / "mnt").symlink_to(f"mnt:[{mnt}]")
    (directory / "ns" / "net").symlink_to("net:[9]")
    for number in range(fds):
        (directory / "fd" / str(number)).touch()


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A home with one run, a /proc with its processes, and control groups."""
    proc, home = tmp_path / "proc", tmp_path / "home"
    add_process(proc, os.getpid())
    add_process(proc, "self")
    (proc / "self/mountinfo").write_text(f"1 / {home}/run rw\n2 / /elsewhere rw\n")
    add_process(proc, 50, fds=4)  # the daemon has no variable of its run
    add_process(proc, 51, run=RUN, mnt=2, fds=3)
    add_process(proc, 52, run=RUN, mnt=2, fds=2)
    add_process(proc, 53, run=RUN + "d", mnt=3, fds=9)  # somebody else's run
    (home / "run" / RUN / "z" / "zy-1").mkdir(parents=True)
    (home / "run" / f"{RUN}.lock").touch()
    (tmp_path / "cgroup/pids" / f"volant-{RUN}" / "c1").mkdir(parents=True)
    (tmp_path / "cgroup/pids/volant-other/c1").mkdir(parents=True)
    return tmp_path


def count(machine: Path) -> Counter[str]:
    return inventory.count(
        machine / "home", RUN, 50, proc=machine / "proc", cgroups=machine / "cgroup"
    )


def test_everything_of_one_run_is_counted_and_nothing_of_another(machine: Path) -> None:
    assert inventory.run_ids(machine / "home") == [RUN]
    assert count(machine) == Counter(
        processes=3, mounts=4, cgroups=2, namespaces=1, descriptors=9, files=2
    )


def test_what_is_left_shows_in_the_difference(machine: Path) -> None:
    before = count(machine)
    add_process(machine / "proc", 54, run=RUN, mnt=4, fds=1)
    (machine / "cgroup/pids" / f"volant-{RUN}" / "c2").mkdir()
    (machine / "home/run" / RUN / "z/zy-1/scratch").mkdir()
    assert inventory.difference(before, count(machine)) == Counter(
        processes=1, mounts=3, cgroups=1, namespaces=1, descriptors=1, files=1
    )


def test_what_went_away_is_not_left() -> None:
    before, after = Counter(processes=4, mounts=7), Counter(processes=5, mounts=6)
    assert inventory.difference(before, after) == Counter(processes=1)
