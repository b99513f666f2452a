"""What is left of sandboxes when their daemon ends, and what the next one says of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import volant
from tests.behaviours.programs import at_home
from tests.support import daemon_pid, eventually, stop_daemon
from volant.channel import current
from volant.errors import ExecutionError, SandboxTerminatedError


def _processes_with(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in path.read_bytes().decode("utf-8", "replace").split("\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has just ended
    return found


def _cgroups_of(run_ids: list[str]) -> list[str]:
    return [str(one) for run_id in run_ids for one in Path("/sys/fs/cgroup").rglob(f"*{run_id}*")]


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_nothing_is_left_of_sandboxes_whose_daemon_ended(own_home: Path, way: str) -> None:
    mark = f"mark-of-{way}"
    with at_home(own_home):
        app = volant.App.lookup("lasting", create_if_missing=True)
        ended = volant.Sandbox.create("sh", "-c", "exit 3", app=app)
        assert ended.wait() == 3
        sandbox = volant.Sandbox.create(
            "sh", "-c", "echo begun; cat", mark, app=app, name="lasting", tags={"user": "ada"}
        )
        assert next(iter(sandbox.stdout)) == "begun\n"
        sandbox.exec("sh", "-c", "sleep 1000 & cat", mark)
        assert _processes_with(mark)
        runs = [path.name for path in (own_home / "run").iterdir() if path.is_dir()]
        pid = daemon_pid(own_home)
        assert pid is not None
        if way == "killed":
            os.kill(pid, signal.SIGKILL)
        else:
            stop_daemon(own_home)
            current.forget()  # one that was stopped by request is not found again by itself
            eventually(lambda: not _processes_with(mark), within_s=10)
        if way == "killed":  # whoever waits asks the next daemon
            with pytest.raises(SandboxTerminatedError, match="daemon of this machine ended"):
                sandbox.wait()
        else:
            assert volant.Sandbox.from_id(sandbox.object_id).poll() == 137
        eventually(lambda: not _processes_with(mark), within_s=10)
        eventually(lambda: not _cgroups_of(runs), within_s=30)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        assert not [line for line in mounts if any(run in line for run in runs)]
        found = volant.Sandbox.from_name("lasting", "lasting", include_terminated=True)
        assert (found.poll(), found.get_tags()) == (137, {"user": "ada"})
        with pytest.raises(ExecutionError, match="has finished"):
            found.exec("true")
        assert volant.Sandbox.from_id(ended.object_id).poll() == 3
        assert not list(volant.Sandbox.list())
