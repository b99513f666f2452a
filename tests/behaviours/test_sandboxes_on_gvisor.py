"""Sandboxes on a kernel of their own: what is told of them, and that all else is as it was.

Attempts to get out of them are made where all are: `test_sandbox_escape`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import volant
from tests import gvisor
from tests.behaviours.programs import ask, at_home
from tests.support import ROOT, eventually
from volant.errors import ExecutionError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = volant.App("own-kernel")
#: What holds on this machine's kernel, and is held to on theirs.
MODULES = (
    "test_sandboxes", "test_sandbox_streams", "test_sandbox_ends", "test_sandbox_files",
    "test_sandbox_file_attacks", "test_sandbox_snapshots", "test_sandbox_machine_snapshots",
    "test_sandbox_network",
    "test_sandbox_connect", "test_sandbox_images", "test_sandbox_harm", "test_sandbox_pauses",
    "test_sandbox_volumes", "test_sandbox_sidecars", "test_sandbox_rights",
)  # fmt: skip
#: But what is refused there.
BUT = "not reloaded and not as_many_as"
WITHIN_S = 900


@pytest.fixture
def running(runsc: str) -> Iterator[volant.App]:
    assert runsc
    with app.run():
        yield app


def _kernel(sandbox: volant.Sandbox) -> str:
    said: str = sandbox.exec("dmesg").stdout.read() + sandbox.exec("uname", "-r").stdout.read()
    return said


def test_its_kernel_is_not_the_machines(running: volant.App, volant_home: Path) -> None:
    """Issue 7, deliver 2; and lists tell it."""
    sandbox = volant.Sandbox.create(app=running, runtime="gvisor")
    assert os.uname().release not in _kernel(sandbox)
    beside = volant.Sandbox.create(app=running, runtime="container")
    assert os.uname().release in _kernel(beside)
    rows = ask(volant_home, "sandbox_list", app_id=None, tags={}, with_finished=False)["sandboxes"]
    told = {row["sandbox_id"]: row["runtime"] for row in rows}
    assert (told[sandbox.object_id], told[beside.object_id]) == ("gvisor", "container")


def test_nothing_of_what_its_holder_needs_is_in_reach(running: volant.App) -> None:
    """It runs this machine's interpreter, and has left its files behind."""
    sandbox = volant.Sandbox.create(app=running, runtime="gvisor")
    look = "import os; os.chdir('/'); print([n for n in os.listdir('/') if n in ('image', 'root')])"
    assert sandbox.exec("python3", "-c", look).stdout.read() == "['root']\n"
    escape = """
import os
os.mkdir('/tmp/d')
try:
    os.chroot('/tmp/d')
    os.chdir('../../../../..')
    print(os.listdir('.'))
except PermissionError:
    print('refused')
"""
    assert sandbox.exec("python3", "-c", escape).stdout.read() == "refused\n"


def test_one_is_booted_ahead_and_ends_with_its_base(running: volant.App) -> None:
    """The next one need not boot."""
    first = volant.Sandbox.create(app=running, runtime="gvisor")
    assert first.exec("true").wait() == 0
    second = volant.Sandbox.create(app=running, runtime="gvisor", env={"A": "own"})
    third = volant.Sandbox.create(app=running, runtime="gvisor", cpu=0.5)
    assert second.exec("sh", "-c", "echo $A").stdout.read() == "own\n"
    second.filesystem.write_text("second", "/tmp/whose")
    assert third.exec("cat", "/tmp/whose").wait() == 1


def test_who_ends_one_ends_all_of_it(running: volant.App) -> None:
    sandbox = volant.Sandbox.create("sleep", "1000", app=running, runtime="gvisor")
    assert sandbox.exec("true").wait() == 0
    assert sandbox.terminate(wait=True) == 137
    name = sandbox.object_id.encode()
    eventually(lambda: not [pid for pid in _pids() if name in _environment(pid)])


def _pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_what_is_typed_reaches_who_is_in_front(running: volant.App) -> None:
    """Its kernel makes no signals of keys; and its terminal cannot be handed out."""
    sandbox = volant.Sandbox.create(app=running, runtime="gvisor")
    shell = sandbox.exec("bash", "--norc", "-i", env={"PS1": "$ "}, pty=True)
    said = ""

    def until(text: str) -> None:
        nonlocal said
        while text not in said:
            said += next(pieces)
        said = ""

    def types(text: str) -> None:
        shell.stdin.write(text)
        shell.stdin.drain()

    pieces = iter(shell.stdout)
    types("stty size; sh -c 'echo in-; exec sleep 1000'\n")
    until("in-\r\n")
    types("\x03")
    types("echo code $?\n")
    until("code 130")
    types("exit 7\n")
    assert shell.wait() == 7
    missing = sandbox.exec("not-there", pty=True)
    assert "cannot run `not-there`" in missing.stdout.read()
    assert missing.wait() == 127


def test_what_needs_the_machines_kernel_is_refused(running: volant.App) -> None:
    """By name: what reaches into a sandbox that runs."""
    sandbox = volant.Sandbox.create(app=running, runtime="gvisor")
    for refused in (
        sandbox.fork,
        sandbox.reload_volumes,
        lambda: sandbox.snapshot_directory("/tmp"),
        lambda: volant.Sandbox.create("true", app=running, runtime="gvisor", gpu="any").wait(),
    ):
        with pytest.raises(InvalidError, match="needs this machine's kernel"):
            refused()
    assert sandbox.exec("true").wait() == 0


def test_there_is_no_other_runtime(running: volant.App) -> None:
    with pytest.raises(InvalidError, match="no runtime 'firecracker'"):
        volant.Sandbox.create(app=running, runtime="firecracker")


@pytest.mark.parametrize("said", [None, "runsc version release-20221219.0"])
def test_without_one_it_is_refused_and_told_what_to_install(
    own_home: Path, tmp_path: Path, said: str | None
) -> None:
    """Issue 7, deliver 2: and never moved down a rung."""
    if said is not None:
        program = tmp_path / "runsc"
        program.write_text(f"#!/bin/sh\necho {said}\n")
        program.chmod(0o755)
    path = f"{tmp_path}:{_path_without()}"
    with at_home(own_home, PATH=path), volant.App("without").run() as running:
        with pytest.raises(ExecutionError, match="runsc") as raised:
            volant.Sandbox.create("true", app=running, runtime="gvisor").wait()
        assert "install the package `runsc`" in str(raised.value.hint)


def _path_without() -> str:
    here = os.environ["PATH"].split(":")
    return ":".join(one for one in here if not os.path.exists(os.path.join(one, "runsc")))


def test_where_it_is_installed_it_is_what_those_get_that_say_nothing(
    own_home: Path, runsc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 7, deliver 2; but for what it never can, such as a GPU."""
    monkeypatch.delenv("VOLANT_SANDBOX_RUNTIME")
    path = f"{os.path.dirname(runsc)}:{_path_without()}"
    with at_home(own_home, PATH=path), volant.App("chosen").run() as running:
        sandbox = volant.Sandbox.create(app=running)
        assert os.uname().release not in _kernel(sandbox)
        with pytest.raises(InvalidError, match="needs this machine's kernel") as raised:
            sandbox.fork()
        assert raised.value.hint == "create it with runtime='container'"
        own = volant.Sandbox.create(app=running, runtime="container")
        assert os.uname().release in _kernel(own)
        with pytest.raises(volant.Error, match="GPU") as raised:
            volant.Sandbox.create("true", app=running, gpu="any").wait()
        assert "needs this machine's kernel" not in str(raised.value)


def test_where_it_is_not_installed_the_machines_kernel_is(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOLANT_SANDBOX_RUNTIME")
    with at_home(own_home, PATH=_path_without()), volant.App("chosen").run() as running:
        assert os.uname().release in _kernel(volant.Sandbox.create(app=running))


@pytest.mark.slow
def test_what_holds_on_the_machines_kernel_holds_on_its_own(runsc: str) -> None:
    """Issue 7: the whole interface, over gVisor."""
    assert runsc
    env = {**os.environ, gvisor.RUNTIME_VARIABLE: "gvisor"}
    files = [f"tests/behaviours/{name}.py" for name in MODULES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", BUT, *files],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert " passed" in done.stdout
