"""`volant server`, `app` and `container` from the outside: what they print and what they do."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours.programs import is_alive
from tests.support import ROOT, VOLANT, daemon_pid, eventually, run_volant, stop_daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., subprocess.Popen[str]]

PROGRAM = """
import time, volant
app = volant.App("talker", tags={"team": "ml"})
@app.function()
def talk(count: int = 1) -> None:
    for number in range(count):
        print("line", number, flush=True)
    while count > 1:
        time.sleep(0.1)
        print("more", flush=True)
@app.local_entrypoint()
def main(count: int = 1) -> None:
    talk.spawn(count)
    talk.remote(1)
"""


@pytest.fixture
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose daemon a test may stop."""
    home = tmp_path_factory.mktemp("own-home")
    try:
        yield home
    finally:
        stop_daemon(home)


@pytest.fixture
def talking(volant_home: Path, tmp_path: Path) -> Iterator[str]:
    """The id of a detached app whose one container goes on to print."""
    program = tmp_path / "talker.py"
    program.write_text(PROGRAM)
    run = run_volant("run", "--detach", program, "--count", "3", home=volant_home)
    assert run.returncode == 0, run.stderr
    app_id = run.stderr.split("detached app ")[1].split(";")[0]
    yield app_id
    run_volant("app", "stop", app_id, home=volant_home)


@pytest.fixture
def start(volant_home: Path) -> Iterator[Start]:
    """Starts commands, which end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start_command(*words: str) -> subprocess.Popen[str]:
        command = subprocess.Popen(
            [VOLANT, *words], env=os.environ | {"VOLANT_HOME": str(volant_home)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(command)
        return command

    yield start_command
    for command in started:
        command.kill()
        command.communicate()


def _json(home: Path, *words: str) -> Any:
    run = run_volant(*words, "--json", home=home)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def _container_of(home: Path, app_id: str) -> dict[str, Any] | None:
    rows = [row for row in _json(home, "container", "list") if row["app_id"] == app_id]
    busy = [row for row in rows if row["state"] == "busy"]
    return busy[0] if busy else None


def test_a_server_is_started_looked_at_and_stopped(own_home: Path) -> None:
    started = run_volant("server", "start", home=own_home)
    pid = daemon_pid(own_home)
    assert started.stdout == f"started, pid {pid}\n"
    assert run_volant("server", "start", home=own_home).stdout == f"already running, pid {pid}\n"
    status = _json(own_home, "server", "status")
    assert status["pid"] == pid
    assert status["running"] is True
    assert status["rung"] in {"container", "process"}
    assert set(status) == {
        "running", "pid", "version", "home", "started_at", "uptime_s", "rung", "reasons",
        "cgroup", "apps", "containers", "zygotes", "idle_timeout_s", "gateway", "gpus",
        "database",
    }  # fmt: skip
    assert f"pid {pid}" in run_volant("server", "status", home=own_home).stdout
    assert run_volant("server", "stop", home=own_home).stdout == f"stopped, pid {pid}\n"
    assert not is_alive(pid or 0)
    assert run_volant("server", "status", home=own_home).returncode == 3


def test_a_server_that_may_run_in_containers_only_says_why_it_does_not_start(
    own_home: Path,
) -> None:
    script = f"echo 0 > /proc/sys/user/max_user_namespaces; exec {VOLANT} server start"
    inside = ["unshare", "--user", "--map-root-user"]  # where no more can be made
    if subprocess.run([*inside, "true"], check=False).returncode != 0:
        inside = []  # none can be made here as it is
    run = subprocess.run(
        [*inside, "sh", "-c", script],
        env=os.environ | {"VOLANT_HOME": str(own_home), "VOLANT_ISOLATION": "container"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 3, run.stderr
    assert "isolation `container` was asked for: no containers: " in run.stderr


def test_the_log_of_a_server_outlives_it(own_home: Path) -> None:
    run_volant("server", "start", home=own_home)
    run_volant("server", "stop", home=own_home)
    lines = run_volant("server", "logs", "--json", home=own_home).stdout.splitlines()
    events = [json.loads(line).get("event") for line in lines]
    assert "stopping" in events
    shown = run_volant("server", "logs", "--tail", "1", home=own_home).stdout.splitlines()
    assert len(shown) == 1


def test_apps_of_an_earlier_daemon_are_listed(own_home: Path) -> None:
    assert run_volant("run", ROOT / "examples/hello.py", home=own_home).returncode == 0
    for verb in ("stop", "start"):
        run_volant("server", verb, home=own_home)
    listed = run_volant("app", "list", home=own_home)
    assert listed.returncode == 0, listed.stderr
    assert "stopped" in listed.stdout


def test_apps_are_listed_with_what_they_have(volant_home: Path, talking: str) -> None:
    [app] = [app for app in _json(volant_home, "app", "list") if app["app_id"] == talking]
    assert app["name"] == "talker"
    assert app["state"] == "detached"
    assert app["functions"] == ["talk"]
    assert app["tags"] == {"team": "ml"}
    assert {"created_at", "containers", "calls"} < set(app)
    table = run_volant("app", "list", home=volant_home).stdout.splitlines()
    assert table[0].split()[:3] == ["app", "id", "name"]
    [line] = [line for line in table if line.startswith(talking)]
    assert "detached" in line
    assert line.endswith("team=ml")


def test_an_app_that_printed_nothing_is_listed_when_it_has_ended(
    volant_home: Path, tmp_path: Path
) -> None:
    program = tmp_path / "quiet.py"
    program.write_text("import volant\napp = volant.App('quiet')\n@app.function()\ndef f(): pass\n")
    assert run_volant("run", program, home=volant_home).returncode == 0
    [app] = [app for app in _json(volant_home, "app", "list") if app["name"] == "quiet"]
    assert (app["state"], app["calls"]) == ("stopped", 1)
    logs = run_volant("app", "logs", "quiet", home=volant_home)
    assert (logs.returncode, logs.stdout, logs.stderr) == (0, "", "")


def test_a_tail_counts_lines(volant_home: Path, talking: str) -> None:
    """However many of them came out of a pipe at once."""
    eventually(
        lambda: "more" in run_volant("app", "logs", talking, home=volant_home).stdout, within_s=10
    )
    for count in (1, 2, 3):
        words = ("app", "logs", talking, "--tail", str(count))
        assert len(run_volant(*words, home=volant_home).stdout.splitlines()) == count


def test_logs_have_a_tail_and_can_be_followed(
    volant_home: Path, talking: str, start: Start
) -> None:
    eventually(
        lambda: "more" in run_volant("app", "logs", talking, home=volant_home).stdout, within_s=10
    )
    shown = run_volant("app", "logs", talking, "--tail", "1", home=volant_home).stdout
    assert shown.splitlines() == ["more"]
    as_json = run_volant("app", "logs", talking, "--json", home=volant_home).stdout.splitlines()
    first = json.loads(as_json[0])
    assert first["text"].startswith("line 0")
    assert {"time", "app_id", "container_id", "function", "stream"} < set(first)

    following = start("app", "logs", talking, "--tail", "0", "--follow")
    assert following.stdout is not None
    assert [following.stdout.readline() for _ in range(3)] == ["more\n"] * 3
    following.send_signal(signal.SIGINT)
    _, complaint = following.communicate(timeout=10)
    assert (following.returncode, complaint) == (0, "")


def test_following_ends_with_the_app(volant_home: Path, talking: str, start: Start) -> None:
    following = start("app", "logs", talking, "--follow")
    assert following.stdout is not None
    assert select.select([following.stdout], [], [], 10)[0]
    run_volant("app", "stop", talking, home=volant_home)
    following.communicate(timeout=10)
    assert following.returncode == 0


def test_a_container_is_listed_read_and_stopped(volant_home: Path, talking: str) -> None:
    container = eventually(lambda: _container_of(volant_home, talking), within_s=10)
    assert container is not None
    assert set(container) >= {
        "container_id", "app_id", "function", "state", "rung", "pid", "memory_bytes",
        "inputs_done", "started_at",
    }  # fmt: skip
    container_id = container["container_id"]
    logs = run_volant("container", "logs", container_id, "--tail", "0", home=volant_home)
    assert (logs.returncode, logs.stdout) == (0, "")
    stopped = run_volant("container", "stop", container_id, home=volant_home)
    assert stopped.stdout == f"stopped {container_id}\n"

    def another_took_over() -> bool:
        now = _container_of(volant_home, talking)
        return now is not None and now["container_id"] != container_id

    eventually(another_took_over, within_s=10)


@pytest.mark.parametrize("words", [["app", "stop"], ["app", "logs"], ["container", "logs"]])
def test_an_unknown_name_gets_what_is_close(
    volant_home: Path, talking: str, words: list[str]
) -> None:
    wanted = "talkr" if words[0] == "app" else "ta-x"
    run = run_volant(*words, wanted, home=volant_home)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: there is no {words[0]} ")
    if words[0] == "app":
        assert "hint: did you mean" in run.stderr
