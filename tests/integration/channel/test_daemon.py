"""Finding, starting and replacing real daemons, each in a home of its own."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT, daemon_pid, eventually, stop_daemon
from volant import errors
from volant.channel import daemon
from volant.channel.opening import open_channel
from volant.version import VERSION
from volant.wire.stream import FrameStream

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """
import sys
from volant.channel.opening import open_channel
channel = open_channel(sys.argv[1])
print(channel.hub["pid"])
channel.close()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory for VOLANT_HOME whose daemon ends with the test."""
    made = tmp_path / "home"
    yield made
    if made.is_dir():
        stop_daemon(made)


def starting(home: Path, **env: str) -> subprocess.Popen[str]:
    """A process that connects to the daemon of `home`, and says which that is."""
    return subprocess.Popen(
        [sys.executable, "-c", START, home],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def test_of_many_processes_that_start_a_daemon_at_once_one_does(home: Path):
    processes = [starting(home) for _ in range(20)]
    said = [process.communicate(timeout=60) for process in processes]
    assert {process.returncode for process in processes} == {0}, said
    assert {pid for pid, _ in said} == {f"{daemon_pid(home)}\n"}
    log = (home / "daemon.log").read_text()
    assert "a daemon runs in" not in log, "none was started in vain"


def test_the_home_and_what_is_in_it_belong_to_its_owner_alone(home: Path):
    open_channel(str(home)).close()
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "daemon.sock").stat().st_mode & 0o777 == 0o600
    assert (home / "daemon.log").stat().st_mode & 0o777 == 0o600


def test_a_home_with_a_long_path_is_no_trouble(tmp_path: Path):
    long = tmp_path / ("long" * 20) / ("longer" * 20)
    assert len(str(long)) > 200
    try:
        channel = open_channel(str(long))
        assert channel.request("server_status")["home"] == str(long)
        channel.close()
    finally:
        stop_daemon(long)


def test_a_killed_daemon_is_started_again(home: Path):
    first = open_channel(str(home))
    pid = first.hub["pid"]
    os.kill(pid, signal.SIGKILL)
    assert first.request("server_status")["pid"] != pid
    first.close()
    second = open_channel(str(home))
    assert second.hub["pid"] == daemon_pid(home) != pid
    second.close()


def test_a_socket_that_nobody_listens_on_is_no_obstacle(home: Path):
    home.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        directory = os.open(home, os.O_PATH)
        dead.bind(f"/proc/self/fd/{directory}/daemon.sock")
        os.close(directory)
    channel = open_channel(str(home))
    assert channel.hub["pid"] == daemon_pid(home)
    channel.close()


@pytest.fixture
def other_version(tmp_path: Path) -> Path:
    """The sources of this package, but for its version."""
    source = tmp_path / "other"
    for package in ("volant", "volantd"):
        shutil.copytree(
            ROOT / "src" / package, source / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    version = source / "volant" / "version.py"
    version.write_text(re.sub(r'"\d[^"]*"', '"0.0.1"', version.read_text(), count=1))
    return source


def test_a_daemon_of_another_version_makes_room_for_ours(home: Path, other_version: Path):
    out, err = starting(home, PYTHONPATH=str(other_version)).communicate(timeout=60)
    assert out, err
    for _ in range(2):
        channel = open_channel(str(home))
        assert channel.hub["version"] == VERSION
        assert str(channel.hub["pid"]) != out.strip()
        channel.close()


def test_a_daemon_that_was_just_stopped_can_be_started_at_once(home: Path):
    for _ in range(3):
        channel = open_channel(str(home))
        channel.tell("x")
        channel.request("server_stop")
        channel.close()


# -- what goes wrong


def test_a_daemon_that_cannot_start_says_why(home: Path):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text("idle_timeout_s = -1\n")
    with pytest.raises(errors.ConnectionError, match="could not start") as failed:
        open_channel(str(home))
    assert failed.value.hint is not None
    assert str(home / "daemon.log") in failed.value.hint
    assert "setting `idle_timeout_s` cannot be -1" in failed.value.hint


def test_the_tail_of_a_long_log_is_enough(home: Path):
    home.mkdir(mode=0o700)
    (home / "daemon.log").write_bytes(b"old \xff news\n" * 10_000)
    (home / "config.toml").write_text("no_such_setting = 1\n")
    with pytest.raises(errors.ConnectionError) as failed:
        open_channel(str(home))
    assert failed.value.hint is not None
    assert "unknown setting `no_such_setting`" in failed.value.hint
    assert len(failed.value.hint) < 5000


def test_a_log_that_cannot_be_read_does_not_hide_the_error(home: Path):
    assert daemon._log_tail(str(home)) == ""


def test_a_home_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.ConnectionError, match=r"cannot use .*file") as failed:
        open_channel(str(tmp_path / "file"))
    assert failed.value.hint == "set VOLANT_HOME to a directory that you own"


def test_a_home_that_cannot_be_made_is_refused():
    with pytest.raises(errors.ConnectionError, match="cannot use /proc/nowhere"):
        open_channel("/proc/nowhere")


def test_a_log_that_cannot_be_written_is_refused(home: Path):
    (home / "daemon.log").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.ConnectionError, match="cannot use"):
        open_channel(str(home))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_home_of_somebody_else_is_refused(home: Path):
    home.mkdir(mode=0o777)
    os.chown(home, 65534, 65534)
    with pytest.raises(errors.ConnectionError, match="belongs to another user") as failed:
        open_channel(str(home))
    assert failed.value.hint == "set VOLANT_HOME to a directory that you own"
    assert list(home.iterdir()) == []


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
listener = socket.socket(socket.AF_UNIX)
listener.bind("daemon.sock")
os.chmod("daemon.sock", 0o666)
listener.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_daemon_of_somebody_else_is_not_trusted(home: Path):
    """Whoever answers on that socket sends pickles."""
    home.mkdir()
    home.chmod(0o777)
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdin is not None
        assert stranger.stdout.readline() == b"listening\n"
        with pytest.raises(errors.ConnectionError, match="belongs to another user"):
            open_channel(str(home))
        stranger.stdin.close()
    (home / "daemon.sock").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_of_somebody_else_that_is_closed_to_us_is_explained():
    """The daemon of root is none for others."""
    with tempfile.TemporaryDirectory() as home, socket.socket(socket.AF_UNIX) as listener:
        os.chmod(home, 0o755)
        listener.bind(f"{home}/daemon.sock")
        listener.listen()
        os.chmod(f"{home}/daemon.sock", 0o600)
        code = f"import os, volant.channel.channel; os.setgid(65534); os.setuid(65534)\n{START}"
        run = subprocess.run(
            [sys.executable, "-c", code, home], capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
    assert "ConnectionError: cannot connect to the daemon" in run.stderr
    assert "is VOLANT_HOME yours?" in run.stderr


def test_a_daemon_that_dies_right_after_it_started_is_told(home: Path, monkeypatch):
    """It said that it listens, and then it does not."""
    monkeypatch.setattr(daemon, "start", lambda home: None)
    with pytest.raises(errors.ConnectionError, match="ended right after it started"):
        open_channel(str(home))


def test_a_daemon_without_work_stops_by_itself(home: Path):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text("idle_timeout_s = 0.1\n")
    open_channel(str(home)).close()
    eventually(lambda: daemon_pid(home) is None, within_s=10)


def corpse(home: Path) -> socket.socket:
    """The socket of a daemon that was killed and is not torn down yet."""
    home.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{home}/{daemon.SOCKET_NAME}")
    listener.listen()
    listener.settimeout(60)
    return listener


def said_by(process: subprocess.Popen[str]) -> str:
    """What a process says that has to end well."""
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    return said


def test_a_connection_that_its_daemon_never_took_is_made_anew(home: Path):
    """Between the kill and the end of its sockets, clients can connect to it."""
    with corpse(home) as listener:
        process = starting(home)
        assert select.select([listener], [], [], 60)[0]
    assert said_by(process) == f"{daemon_pid(home)}\n"


@pytest.mark.parametrize("frames", [1, 2])  # the key; the greeting as well
def test_a_daemon_that_dies_in_the_greeting_is_followed_by_the_next(home: Path, frames: int):
    with corpse(home) as listener:
        process = starting(home)
        sock, _ = listener.accept()
    stream, seen = FrameStream(sock), 0
    while seen < frames:
        seen += len(stream.receive() or ())
    stream.close()
    assert said_by(process) == f"{daemon_pid(home)}\n"


def test_a_daemon_that_is_killed_while_it_starts_is_followed_by_the_next(home: Path):
    home.mkdir(mode=0o700)
    with open(home / "daemon.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as its predecessor would
        process = starting(home)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        [pid] = eventually(lambda: children.read_text().split(), within_s=60)
        os.kill(int(pid), signal.SIGKILL)
    assert said_by(process) == f"{daemon_pid(home)}\n"
