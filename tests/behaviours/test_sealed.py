"""What is kept of apps and calls is sealed: nothing of it in clear, and another key at any time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.programs import APPS
from tests.support import VOLANT, daemon_pid, run_volant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.behaviours.programs import Program

    Start = Callable[..., Program]

TOKEN, OTHER = "canary-4711-token", "canary-4712-other"
#: Begins programs that have `tokened`.
PREAMBLE = (
    "import sys, volant; sys.path.insert(0, '.')\n"
    "token = volant.Function.from_name('tokened', 'token')\n"
)


def hashed(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:8]


def files_with(home: Path, needle: bytes, since: float = 0.0) -> list[str]:
    """The files below a home that contain something, of those that were changed since then.

    Many tests share a home, and leave gigabytes of images in it.
    """
    found = []
    for directory, _, names in os.walk(home):
        for name in names:
            path = os.path.join(directory, name)
            with contextlib.suppress(FileNotFoundError):  # containers end meanwhile
                is_file = os.path.isfile(path) and not os.path.islink(path)
                if is_file and os.stat(path).st_ctime >= since:
                    with open(path, "rb") as file:
                        if needle in file.read():
                            found.append(os.path.relpath(path, home))
    return found


def kill_daemon(home: Path) -> None:
    pid = daemon_pid(home)
    assert pid is not None
    gone = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([gone], [], [])
    os.close(gone)


@pytest.fixture
def deployed(own_home: Path) -> Path:
    """A home with a daemon of its own, where `tokened` is deployed."""
    done = run_volant(
        "deploy", str(APPS / "tokened.py"), home=own_home, env={"TOKEN": TOKEN}
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return own_home


def _said(start: Start, home: Path, code: str) -> list[str]:
    status, printed, complaint = start("-c", PREAMBLE + code, home=home).end()
    assert status == 0, complaint
    return printed.split()


def test_what_functions_were_given_is_nowhere_in_clear(deployed: Path, start: Start) -> None:
    code = (
        f"other = token.with_options(secrets=[volant.Secret.from_dict({{'OTHER': {OTHER!r}}})])\n"
        "call = other.spawn('OTHER')\n"
        "print(token.remote(), token.remote('PLAIN'), call.get(), call.object_id)"
    )
    *told, call_id = _said(start, deployed, code)
    assert told == [hashed(TOKEN), hashed("plain"), hashed(OTHER)]
    assert files_with(deployed, b"canary-471") == []
    assert files_with(deployed, b"tokened") != []  # this is what is looked through
    shown = run_volant("app", "info", "tokened", "--json", home=deployed)
    assert "canary" not in shown.stdout
    kill_daemon(deployed)
    code = f"print(token.remote(), volant.FunctionCall.from_id({call_id!r}).get())"
    assert _said(start, deployed, code) == [hashed(TOKEN), hashed(OTHER)]


def test_the_key_is_changed_while_functions_are_called(deployed: Path, start: Start) -> None:
    before = json.loads((deployed / "sealing.key").read_text())["keys"]
    done = run_volant("secret", "rotate-key", "--json", home=deployed)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    after = json.loads((deployed / "sealing.key").read_text())["keys"]
    assert [one["key_id"] for one in after] == [told["key_id"]]
    assert (told["count"], told["broken"]) == (1, 0)
    assert before != after
    assert _said(start, deployed, "print(token.remote())") == [hashed(TOKEN)]
    kill_daemon(deployed)
    assert _said(start, deployed, "print(token.remote())") == [hashed(TOKEN)]
    rolled = run_volant("app", "rollback", "tokened", "1", home=deployed)
    assert "cannot be rolled back from version 1 to 1" in rolled.stderr


@pytest.mark.slow
def test_a_daemon_that_is_killed_while_the_key_changes_is_followed_by_one_that_reads_all(
    deployed: Path, start: Start
) -> None:
    for _ in range(5):
        assert _said(start, deployed, "print(token.remote())") == [hashed(TOKEN)]
        environ = {**os.environ, "VOLANT_HOME": str(deployed)}
        with subprocess.Popen(
            [VOLANT, "secret", "rotate-key"], env=environ, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as command:  # fmt: skip
            key = (deployed / "sealing.key").stat().st_ino
            while (deployed / "sealing.key").stat().st_ino == key and command.poll() is None:
                pass
            kill_daemon(deployed)
            command.communicate()
    assert _said(start, deployed, "print(token.remote())") == [hashed(TOKEN)]


def test_a_key_that_others_can_read_is_not_used(deployed: Path, start: Start) -> None:
    run_volant("server", "stop", home=deployed)
    (deployed / "sealing.key").chmod(0o644)
    status, _, complaint = start("-c", PREAMBLE + "token.remote()", home=deployed).end()
    assert status == 1
    assert "sealing.key (mode 0644" in complaint
    (deployed / "sealing.key").chmod(0o600)
    run_volant("server", "stop", home=deployed)
    assert _said(start, deployed, "print(token.remote())") == [hashed(TOKEN)]


def test_a_backup_says_whether_its_key_goes_along(deployed: Path, tmp_path: Path) -> None:
    whole = run_volant("server", "backup", tmp_path / "whole", home=deployed)
    assert "it holds sealing.key" in whole.stdout
    bare = run_volant("server", "backup", tmp_path / "bare", "--without-key", home=deployed)
    assert "it holds no sealing.key" in bare.stdout
    assert not (tmp_path / "bare/sealing.key").exists()
    key = json.loads((deployed / "sealing.key").read_text())["keys"][0]["key"].encode()
    assert files_with(tmp_path / "bare", key) == []
    elsewhere = tmp_path / "elsewhere"
    refused = run_volant("server", "restore", tmp_path / "bare", home=elsewhere)
    assert refused.returncode == 3
    assert "without its key" in refused.stderr
    (elsewhere / "sealing.key").write_bytes((deployed / "sealing.key").read_bytes())
    (elsewhere / "sealing.key").chmod(0o600)
    for name in ("bare", "whole"):
        done = run_volant("server", "restore", tmp_path / name, "--force", home=elsewhere)
        assert done.returncode == 0, done.stderr
    assert (elsewhere / "sealing.key").stat().st_mode & 0o777 == 0o600
