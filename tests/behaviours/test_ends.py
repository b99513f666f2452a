"""Ends from outside: Ctrl-C, clients that are killed, daemons and launchers that are."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.programs import OUR_PARTS, apps, containers, has_printed, is_alive
from tests.support import daemon_pid, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.behaviours.programs import Program


#: What a program without Volant takes at most to end by Ctrl-C where nothing else runs.
BARE_END_S = 0.1
#: However busy the machine is, limits are not stretched further.
STRETCH_MAX = 3.0
BARE = "import time; print('running'); time.sleep(60)"


@pytest.fixture
def second_s(start: Callable[..., Program]) -> float:
    """A second of an idle machine, measured by how long a bare program takes to end now."""
    took_s = []
    for _ in range(3):
        program = start("-c", BARE)
        assert program.line() == "running"
        begun = monotonic()
        program.interrupt()
        program.end()
        took_s.append(monotonic() - begun)
    return min(STRETCH_MAX, max(1.0, sorted(took_s)[1] / BARE_END_S))


def pids_of_busy(home: Path, app_id: str) -> list[int]:
    rows = [row for row in containers(home) if row["app_id"] == app_id]
    return [row["pid"] for row in rows if row["state"] == "busy"]


def app_of(home: Path, name: str) -> str:
    def find() -> str | None:
        return next((row["app_id"] for row in apps(home) if row["name"] == name), None)

    found = eventually(find)
    assert found is not None
    return found


def test_ctrl_c_stops_remote_work_within_a_second(
    start: Callable[..., Program], volant_home: Path, second_s: float
) -> None:
    """Behaviour 70: the program ends by KeyboardInterrupt, at its own line, and no container of it
    survives."""
    program = start("long_map.py", 4, 60)
    assert program.line() == "running"
    app_id = app_of(volant_home, "long-map")
    pids = eventually(lambda: pids_of_busy(volant_home, app_id))
    begun = monotonic()
    program.interrupt()
    code, _, complaint = program.end()
    took_s = monotonic() - begun
    eventually(lambda: not any(map(is_alive, pids)), within_s=second_s)
    assert took_s < second_s
    assert code == -signal.SIGINT, complaint
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    assert not [part for part in OUR_PARTS if part in complaint]
    assert app_id not in [row["app_id"] for row in apps(volant_home)]


@pytest.mark.parametrize("end", ["interrupt", "kill"])
def test_what_runs_may_clean_up_when_its_app_ends(
    start: Callable[..., Program], volant_home: Path, end: str
) -> None:
    """Behaviour 70: `finally` blocks run, also such that take a moment."""
    program = start("cleaning.py")
    assert program.line() == "running"
    app_id = app_of(volant_home, "cleaning")
    eventually(lambda: has_printed(volant_home, app_id, "begun"))
    getattr(program, end)()
    eventually(lambda: has_printed(volant_home, app_id, "cleaned up"))


def test_an_app_ends_with_a_client_that_is_killed(
    start: Callable[..., Program], volant_home: Path, second_s: float
) -> None:
    """Issue 2, 7: kill -9 of the client leaves nothing of its app."""
    program = start("long_map.py", 4, 60)
    assert program.line() == "running"
    app_id = app_of(volant_home, "long-map")
    pids = eventually(lambda: pids_of_busy(volant_home, app_id))
    program.kill()
    eventually(lambda: not any(map(is_alive, pids)), within_s=second_s)
    eventually(lambda: app_id not in [row["app_id"] for row in apps(volant_home)])


def test_a_map_survives_the_death_of_its_daemon_twice(
    start: Callable[..., Program], own_home: Path
) -> None:
    """Issue 2, 7: the client finds the restarted daemon; each result once, and in order."""
    count = 300
    program = start("long_map.py", count, 0.005, home=own_home)
    assert program.line() == "running"
    seen = []
    for line in program.lines():
        seen.append(int(line))
        if len(seen) in (count // 4, count // 2):
            os.kill(daemon_of(own_home), signal.SIGKILL)
    code, _, complaint = program.end()
    assert code == 0, complaint
    assert seen == [2 * value for value in range(count)]


@pytest.mark.parametrize("form", ["iterator", "threads", "async map", "async calls"])
def test_every_form_of_call_survives_the_death_of_its_daemon(
    start: Callable[..., Program], own_home: Path, form: str
) -> None:
    """Issue 2, 7: whoever finds the daemon again, a thread or an event loop, all go on."""
    count = 60
    program = start("long_map.py", count, 0.01, form, home=own_home)
    assert program.line() == "running"
    seen = []
    for line in program.lines():
        seen.append(int(line))
        if len(seen) == count // 4:
            os.kill(daemon_of(own_home), signal.SIGKILL)
    code, _, complaint = program.end()
    assert code == 0, complaint
    assert seen == [2 * value for value in range(count)]


def test_calls_of_every_form_at_once_survive_the_death_of_their_daemon(
    start: Callable[..., Program], own_home: Path
) -> None:
    """Issue 2, 7: threads and event loops share one connection, and one of them finds it again."""
    program = start("mixed_calls.py", 5, home=own_home)
    assert program.line() == "running"
    killed = None
    for _ in range(3):
        if eventually(lambda killed=killed: goes_on(program, without=killed)) == "ended":
            break
        killed = daemon_of(own_home)
        os.kill(killed, signal.SIGKILL)
    assert killed is not None, "it ended before anything happened to it"
    code, _, complaint = program.end()
    assert code == 0, complaint


def goes_on(program: Program, *, without: int | None) -> str | None:
    """Whether calls run, on another daemon than `without`, or none is left to run."""
    if program.process.poll() is not None:
        return "ended"
    if daemon_pid(program.home) in (None, without):
        return None
    is_busy = any(row["state"] == "busy" for row in containers(program.home))
    return "busy" if is_busy else None


def test_a_generator_does_not_survive_its_daemon_and_says_so(
    start: Callable[..., Program], own_home: Path
) -> None:
    """Issue 2, 7: values that came cannot be taken back, so it is not begun anew in silence."""
    program = start("long_map.py", 1000, 0.01, "generator", home=own_home)
    assert [program.line() for _ in range(4)] == ["running", "0", "2", "4"]
    os.kill(daemon_of(own_home), signal.SIGKILL)
    code, _, complaint = program.end()
    assert code == 1
    assert "in the middle of a generator call" in complaint


def daemon_of(home: Path) -> int:
    pid = eventually(lambda: daemon_pid(home))
    assert pid is not None
    return pid


def launcher_of(daemon: int) -> int:
    """The daemon's only child process."""
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    assert len(children) == 1, children
    return int(children[0])


def test_inputs_outlive_the_launcher(start: Callable[..., Program], own_home: Path) -> None:
    """Issue 2, 7: kill -9 of the launcher takes every container; the daemon recovers."""
    count = 200
    program = start("long_map.py", count, 0.005, home=own_home)
    assert program.line() == "running"
    seen = []
    for line in program.lines():
        seen.append(int(line))
        if len(seen) == count // 4:
            os.kill(launcher_of(daemon_of(own_home)), signal.SIGKILL)
    code, _, complaint = program.end()
    assert code == 0, complaint
    assert seen == [2 * value for value in range(count)]


def traces(run_id: str, home: Path) -> list[str]:
    """What is left of a run: processes, mounts, cgroups, files."""
    variable = f"VOLANT_RUN_ID={run_id}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if variable in (process / "environ").read_bytes().split(b"\0"):
                found.append(str(process))
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line for line in mounts if run_id in line]
    for directory, _, _ in os.walk("/sys/fs/cgroup"):
        if run_id in directory:
            found.append(directory)
    return found + [str(path) for path in (home / "run").glob(f"{run_id}*")]


def test_the_next_command_removes_what_killed_daemons_left(
    start: Callable[..., Program], own_home: Path
) -> None:
    """Issue 2, 4: kill -9 of daemon and launcher; no process, mount, cgroup or file stays."""
    program = start("long_map.py", 4, 60, home=own_home)
    assert program.line() == "running"
    eventually(lambda: [row for row in containers(own_home) if row["state"] == "busy"])
    daemon = daemon_of(own_home)
    launcher = launcher_of(daemon)
    run_id = next(path.stem for path in (own_home / "run").glob("*.lock"))
    os.kill(launcher, signal.SIGSTOP)  # so that it cannot clean up after the daemon
    program.kill()
    os.kill(daemon, signal.SIGKILL)
    os.kill(launcher, signal.SIGKILL)
    eventually(lambda: not is_alive(launcher))
    assert traces(run_id, own_home), "the test looks in the wrong places"
    assert apps(own_home) == []  # the next command
    eventually(lambda: daemon_of(own_home) != daemon)
    assert eventually(lambda: not traces(run_id, own_home))
