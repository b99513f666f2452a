"""Sandboxes that stand still for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import volant
from tests.support import eventually
from volant.errors import ExecutionError, SandboxTimeoutError

needs_groups = pytest.mark.skipif(os.geteuid() != 0, reason="only root can freeze control groups")

app = volant.App("of-pauses")

#: Counts aloud, and ends when it is told to.
COUNTER = "n=0; while [ ! -e /tmp/enough ]; do n=$((n+1)); echo $n > /tmp/n; done; echo ended"


@pytest.fixture(scope="module", autouse=True)
def running() -> object:
    with app.run():
        yield


def _row(sandbox: volant.Sandbox) -> dict[str, object]:
    run = [sys.executable, "-m", "volant", "sandbox", "list", "--all", "--json"]
    rows = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    found: dict[str, object] = next(row for row in rows if row["sandbox_id"] == sandbox.object_id)
    return found


def _processor_ticks(sandbox: volant.Sandbox) -> int:
    """What all processes of a sandbox have used, as this machine counts it."""
    space = Path(f"/proc/{_row(sandbox)['pid']}/ns/pid").readlink()
    used = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if (stat.parent / "ns/pid").readlink() == space:
                used += sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))
        except OSError:
            continue  # it has just ended
    return used


def test_nothing_of_a_paused_sandbox_runs_until_it_is_resumed() -> None:
    sandbox = volant.Sandbox.create("sh", "-c", COUNTER, app=app)
    assert sandbox.exec("true").wait() == 0
    eventually(lambda: _processor_ticks(sandbox) > 0)
    if os.geteuid() != 0:  # who has no control groups
        with pytest.raises(ExecutionError, match="cannot be paused"):
            sandbox.pause()
        return
    sandbox.pause()
    assert _row(sandbox)["state"] == "paused"
    used = _processor_ticks(sandbox)
    sandbox.pause()
    sandbox._experimental_pause()
    assert sandbox.poll() is None
    assert _processor_ticks(sandbox) == used
    sandbox.resume()
    sandbox._experimental_resume()
    assert _row(sandbox)["state"] == "started"
    sandbox.exec("touch", "/tmp/enough")
    assert sandbox.stdout.read() == "ended\n"
    assert sandbox.wait() == 0


@needs_groups
def test_a_paused_sandbox_refuses_commands_and_says_what_helps() -> None:
    sandbox = volant.Sandbox.create(app=app)
    process = sandbox.exec("cat")
    sandbox.pause()
    with pytest.raises(ExecutionError, match="is paused") as raised:
        sandbox.exec("true")
    assert "resume()" in str(raised.value.hint)
    with pytest.raises(ExecutionError, match="is paused"):
        sandbox.filesystem.read_text("/etc/hosts")
    process.stdin.write("was there before\n")
    process.stdin.write_eof()
    process.stdin.drain()
    sandbox.resume()
    assert process.stdout.read() == "was there before\n"
    assert process.wait() == 0
    assert sandbox.exec("true").wait() == 0


@needs_groups
def test_the_clocks_of_a_paused_sandbox_stand_still() -> None:
    sandbox = volant.Sandbox.create(app=app, timeout=3)
    waits = sandbox.exec("sh", "-c", "read _; exit 3", timeout=2)
    sandbox.pause()
    other = volant.Sandbox.create(app=app, timeout=3.5)  # its whole time passes meanwhile
    with pytest.raises(SandboxTimeoutError):
        other.wait()
    assert (sandbox.poll(), waits.poll()) == (None, None)
    sandbox.resume()
    assert waits.wait() == -1
    with pytest.raises(SandboxTimeoutError):
        sandbox.wait()


@needs_groups
def test_an_idle_sandbox_is_not_ended_while_it_is_paused() -> None:
    sandbox = volant.Sandbox.create(app=app, idle_timeout=1)
    sandbox.pause()
    other = volant.Sandbox.create(app=app, idle_timeout=1.5)
    assert other.wait(raise_on_termination=False) == 137
    assert sandbox.poll() is None
    sandbox.resume()
    assert sandbox.wait(raise_on_termination=False) == 137


@needs_groups
def test_a_paused_sandbox_can_be_terminated() -> None:
    sandbox = volant.Sandbox.create("sh", "-c", COUNTER, app=app)
    sandbox.pause()
    assert sandbox.terminate(wait=True) == 137
    assert _row(sandbox)["state"] == "finished"
    with pytest.raises(ExecutionError, match="has finished"):
        sandbox.resume()
    with pytest.raises(ExecutionError, match="has finished"):
        sandbox.pause()


@needs_groups
def test_the_commands_pause_and_resume() -> None:
    sandbox = volant.Sandbox.create(app=app)
    run = [sys.executable, "-m", "volant", "sandbox"]
    for verb, state in (("pause", "paused"), ("resume", "started")):
        told = subprocess.run([*run, verb, sandbox.object_id], capture_output=True, check=True)
        assert told.stdout.decode() == f"{verb}d {sandbox.object_id}\n"
        assert _row(sandbox)["state"] == state
    unknown = subprocess.run([*run, "pause", "sb-nothing"], capture_output=True, check=False)
    assert unknown.returncode == 2, unknown
