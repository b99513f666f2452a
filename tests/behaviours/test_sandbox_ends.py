"""What is left of sandboxes when their daemon ends, and what the next one says of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import volant
from tests import gvisor
from tests.behaviours.image_builds import bare_image
from tests.behaviours.programs import at_home
from tests.support import daemon_pid, eventually, run_volant, stop_daemon
from volant.channel import current
from volant.errors import ExecutionError, NotFoundError, SandboxTerminatedError


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
    # `os.walk` passes over groups of other daemons that vanish meanwhile.
    return [
        f"{place}/{name}"
        for place, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if any(run_id in name for run_id in run_ids)
    ]


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_a_daemon_that_is_stopped_leaves_the_images_of_files(own_home: Path, way: str) -> None:
    with at_home(own_home), bare_image("ends", {}) as bare:
        app = volant.App.lookup("lasting", create_if_missing=True)
        sandbox = volant.Sandbox.create(
            app=app, image=bare, experimental_options={"exit_snapshot": True}
        )
        for name in map(str, range(50)):
            sandbox.filesystem.write_text("last", f"/srv/{name}")
        if way == "killed":
            pid = daemon_pid(own_home)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(NotFoundError, match="ended before an image"):
                sandbox._experimental_get_exit_snapshot()
            return
        assert run_volant("server", "stop", home=own_home).returncode == 0
        current.forget()
        found = volant.Sandbox.from_id(sandbox.object_id)
        app = volant.App.lookup("lasting", create_if_missing=True)
        again = volant.Sandbox.create(app=app, image=found._experimental_get_exit_snapshot())
        assert len(again.filesystem.list_files("/srv")) == 50


def test_the_next_daemon_knows_those_of_each_environment_and_why_they_ended(
    own_home: Path,
) -> None:
    with at_home(own_home):
        volant.Environment.objects.create("testing")
        for name in ("main", "testing"):
            app = volant.App.lookup("kept", create_if_missing=True, environment_name=name)
            volant.Sandbox.create("sh", "-c", "exit 3", app=app, name=f"in-{name}").wait()
    stop_daemon(own_home)
    current.forget()
    with at_home(own_home):
        volant.App.lookup("kept", create_if_missing=True)  # so that a daemon runs
        for name, other in (("main", "testing"), ("testing", "main")):
            find = volant.Sandbox.from_name
            found = find("kept", f"in-{name}", include_terminated=True, environment_name=name)
            assert found.poll() == 3
            with pytest.raises(NotFoundError):
                find("kept", f"in-{other}", include_terminated=True, environment_name=name)
            shown = run_volant("sandbox", "list", "--all", "--env", name, home=own_home).stdout
            [row] = [line for line in shown.splitlines() if "in-" in line]
            assert f"in-{name}" in row
            assert "its program ended" in row


@pytest.mark.parametrize(
    "way", ["killed", "stopped", "killed-while-paused", "stopped-while-paused"]
)
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
        assert gvisor.default_runtime() == "gvisor" or _processes_with(mark)  # it hides its own
        if way.endswith("paused"):
            if os.geteuid() != 0:
                pytest.skip("only root can freeze control groups")
            sandbox.pause()
        runs = [path.name for path in (own_home / "run").iterdir() if path.is_dir()]
        pid = daemon_pid(own_home)
        assert pid is not None
        if way.startswith("killed"):
            os.kill(pid, signal.SIGKILL)
        else:
            stop_daemon(own_home)
            current.forget()  # one that was stopped by request is not found again by itself
            eventually(lambda: not _processes_with(mark), within_s=10)
        if way.startswith("killed"):  # whoever waits asks the next daemon
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


def test_nothing_is_kept_ahead_when_nobody_has_wanted_a_sandbox_for_a_while(own_home: Path) -> None:
    (own_home / "config.toml").write_text("sandboxes_ahead_s = 1.0\n")
    with at_home(own_home):
        app = volant.App.lookup("passing", create_if_missing=True)
        sandbox = volant.Sandbox.create(app=app)
        assert sandbox.exec("true").wait() == 0
        pid = daemon_pid(own_home)
        assert pid is not None
        [launcher] = _children_of(pid)
        assert sandbox.exec("sleep", "1.2").wait() == 0  # it is in use for longer than they wait
        assert _children_of(launcher)
        sandbox.terminate(wait=True)
        eventually(lambda: not _children_of(launcher), within_s=30)
        again = volant.Sandbox.create(app=app)
        assert again.exec("true").wait() == 0
        again.terminate(wait=True)


def _children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
