"""What is left when daemons and launchers end, by themselves or by force: nothing."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import eventually
from volantd.runtime import cgroup, leftovers
from volantd.runtime.client import Launcher, RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A daemon in small: starts a container, says the pids of all it has, and waits.
DAEMON = """
import os, signal, sys
from tests.runtime.laboratory import Laboratory
from volantd.runtime import cgroup, seat
lab = Laboratory(sys.argv[1])
leaves = None
try:
    leaves = seat.Leaves(cgroup.Cgroups.open(lab.run_id).create)
except cgroup.CgroupUnavailableError:
    pass
zygote = lab.zygote(leaves=leaves)
forked = lab.fork(zygote)
source = "import signal; signal.pause()"
forked.ask(f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {source!r}])")
print(lab.place, lab.launcher._process.pid, zygote.pid, forked.forked.pid, flush=True)
signal.pause()
"""


class Daemon:
    """A process that runs `DAEMON`."""

    def __init__(self, rung: str) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, rung],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        self.place = Path(words[0])
        self.pids = [int(word) for word in words[1:]]
        self.handles = [os.pidfd_open(pid) for pid in self.pids]

    def wait_all_gone(self, within_s: float = 10.0) -> bool:
        gone = True
        for handle in self.handles:
            gone = bool(select.select([handle], [], [], within_s)[0]) and gone
            os.close(handle)
        return gone

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def daemon(lab) -> Iterator[Daemon]:
    started = Daemon(lab.rung)
    yield started
    started.end()
    eventually(lambda: not list((started.place / "runs").iterdir()), within_s=10)
    shutil.rmtree(started.place)


def test_a_killed_daemon_takes_everything_along(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGKILL)
    assert daemon.wait_all_gone()
    runs = daemon.place / "runs"
    eventually(lambda: not list(runs.iterdir()), within_s=10)
    assert not _groups_named(daemon.place.name)


def test_what_two_killed_parents_left_is_cleaned_at_the_next_start(daemon: Daemon) -> None:
    os.kill(daemon.process.pid, signal.SIGSTOP)  # so that it does not see the launcher die
    os.kill(daemon.pids[0], signal.SIGKILL)
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    runs = daemon.place / "runs"
    eventually(lambda: leftovers.clean_dead_runs(str(runs)) or not list(runs.iterdir()))
    assert list(runs.iterdir()) == []
    assert daemon.wait_all_gone()
    marker = f"{leftovers.RUN_VARIABLE}={daemon.place.name}".encode()
    eventually(lambda: not _with_environment(marker))
    assert not _groups_named(daemon.place.name)


def test_a_run_that_lives_is_never_cleaned(daemon: Daemon) -> None:
    runs = daemon.place / "runs"
    assert leftovers.clean_dead_runs(str(runs)) == []
    assert (runs / daemon.place.name / "z/z1/root").is_dir()
    assert not any(select.select([handle], [], [], 0)[0] for handle in daemon.handles)


def test_a_directory_without_a_lock_is_a_dead_run(tmp_path: Path) -> None:
    (tmp_path / "old-run/z/z1/scratch").mkdir(parents=True)
    assert leftovers.clean_dead_runs(str(tmp_path)) == ["old-run"]
    assert list(tmp_path.iterdir()) == []


def test_closing_a_launcher_leaves_nothing(lab, tmp_path: Path) -> None:
    launcher = lab.run(Launcher.start(tmp_path, "run-2"))
    before = len(os.listdir("/proc/self/fd"))
    zygote = lab.run(launcher.spawn_zygote(lab.spec(), "z1"))
    lab.run(launcher.close())
    assert list(tmp_path.iterdir()) == []
    assert not os.path.exists(f"/proc/{zygote.pid}")
    with pytest.raises(RuntimeFailedError, match="gone"):
        lab.run(launcher.spawn_zygote(lab.spec(), "z2"))
    os.close(zygote.log_fd)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_launcher_that_dies_is_noticed(lab, tmp_path: Path) -> None:
    launcher = lab.run(Launcher.start(tmp_path, "run-3"))
    zygote = lab.run(launcher.spawn_zygote(lab.spec(), "z1"))
    os.kill(launcher._process.pid, signal.SIGKILL)

    async def gone() -> int:
        status: int = await zygote.exited
        await launcher.exited
        return status

    assert lab.run(gone()) == signal.SIGKILL
    os.close(zygote.log_fd)
    eventually(lambda: not os.path.exists(f"/proc/{zygote.pid}"))
    assert leftovers.clean_dead_runs(str(tmp_path)) == ["run-3"]


def test_a_run_cannot_be_started_twice(lab) -> None:
    with pytest.raises(BlockingIOError):
        lab.run(Launcher.start(lab.runs_dir, lab.run_id))


def _with_environment(marker: bytes) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        try:
            environ = Path(f"/proc/{name}/environ").read_bytes() if name.isdigit() else b""
        except OSError:
            continue
        if marker in environ:
            found.append(name)
    return found


def _groups_named(run_id: str) -> list[str]:
    name = cgroup.PREFIX + run_id
    return [top for top, names, _ in os.walk(cgroup.SYSFS) if name in names]
