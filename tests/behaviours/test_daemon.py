"""The daemon as its users meet it: started on first use, ended when nobody needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.behaviours.apps import scaling
from tests.behaviours.programs import APPS, ask, at_home, run_program
from tests.support import daemon_pid, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.behaviours.programs import Program

HELLO = """
import volant

app = volant.App("hello")

@app.function(serialized=True)
def square(x):
    return x * x

with app.run():
    print(square.remote(7))
"""


KNOCKING = """
import sys
import volant

app = volant.App("knocking")

@app.function(serialized=True)
def knock(home):
    from volant.channel.opening import open_channel
    try:
        return open_channel(home).request("server_status")["pid"]
    except Exception as error:
        return type(error).__name__

with app.run():
    print(knock.remote(sys.argv[1]))
"""

#: Each run is another version, whose import fails.
BROKEN = """
import os, sys, volant

app = volant.App("broken")

@app.function()
def never():
    pass

if os.environ.get("VOLANT_IS_REMOTE"):
    raise LookupError("not here")

if __name__ == "__main__":
    with app.run():
        try: never.remote()
        except LookupError: print("refused")
"""


def starts_logged(home: Path) -> int:
    return (home / "daemon.log").read_text().count('"runtime_ready"')


def test_many_first_uses_at_once_start_one_daemon(
    start: Callable[..., Program], own_home: Path
) -> None:
    """Issue 2, 4: a lock sees to it, and all of them are served."""
    programs = [start("-c", HELLO, home=own_home) for _ in range(5)]
    for program in programs:
        code, printed, complaint = program.end()
        assert (code, printed) == (0, "49\n"), complaint
    assert starts_logged(own_home) == 1


def test_the_daemon_outlives_the_command(own_home: Path) -> None:
    """Issue 2, 4: the second command finds the first one's."""
    run_program("-c", HELLO, home=own_home)
    first = daemon_pid(own_home)
    assert first is not None
    run_program("-c", HELLO, home=own_home)
    assert daemon_pid(own_home) == first


def test_the_daemon_stops_when_it_is_idle(own_home: Path) -> None:
    """Issue 2, 4: after the time that the settings say, and not while an app runs."""
    (own_home / "config.toml").write_text("idle_timeout_s = 0.3\n")
    program = HELLO.replace("print(", "import time; time.sleep(0.8); print(")
    assert run_program("-c", program, home=own_home).stdout == "49\n"
    assert starts_logged(own_home) == 1
    assert eventually(lambda: daemon_pid(own_home) is None)
    assert run_program("-c", HELLO, home=own_home).stdout == "49\n"


def test_a_command_may_follow_a_stop_at_once(own_home: Path) -> None:
    """Issue 2, 4: it waits for a daemon that is about to end, and starts the next."""
    for count in range(3):
        assert run_program("-c", HELLO, home=own_home).stdout == "49\n"
        assert starts_logged(own_home) == count + 1
        ask(own_home, "server_stop")


def test_plain_processes_serve_where_containers_may_not_be_had(
    start: Callable[..., Program], own_home: Path
) -> None:
    """Issue 2, 5: the rung `process` says what it is; remote lines are shown as those of here."""
    (own_home / "config.toml").write_text('isolation = "process"\n')
    program = start("failing_program.py", home=own_home)
    code, printed, complaint = program.end()
    assert (code, printed) == (1, "printed in a process\n")
    assert "plain processes (rung `process`), which are not containers" in complaint
    assert f'File "{APPS}/failing_program.py", line' in complaint
    assert "raise KeyError(text)" in complaint
    assert str(own_home) not in complaint


def test_a_plain_process_cannot_use_the_daemon_of_its_user(own_home: Path) -> None:
    """It may connect to the socket; the key that has to be shown lies where it may not read."""
    (own_home / "config.toml").write_text('isolation = "process"\n')
    assert run_program("-c", KNOCKING, own_home, home=own_home).stdout == "AuthError\n"
    assert daemon_pid(own_home) is not None


def test_a_zygote_whose_import_failed_is_not_kept(own_home: Path, tmp_path: Path) -> None:
    """Nothing is forked from it any more, and what it holds would be nobody's."""
    program = tmp_path / "broken.py"
    for count in range(3):
        program.write_text(f"{BROKEN}\n# {count}\n")
        assert run_program(program, home=own_home).stdout == "refused\n"
    # One that is ahead for the next program may be there.
    assert eventually(lambda: len(list(own_home.glob("run/*/z/*"))) <= 1)


def test_the_next_daemon_is_told_what_autoscalers_were_told(own_home: Path) -> None:
    """Of functions and of objects; a daemon that died has forgotten it."""
    model: Any = scaling.Model(size=2)
    with at_home(own_home), scaling.app.run():
        scaling.where.update_autoscaler(min_containers=1)
        model.update_autoscaler(scaledown_window=5)
        pid = daemon_pid(own_home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert scaling.where.autoscaler.settings().min_containers == 1
        assert model.autoscaler.settings().scaledown_window == 5.0
        assert daemon_pid(own_home) != pid


def test_a_python_that_is_started_by_a_path_with_dots_is_found_in_containers(
    volant_home: Path, tmp_path: Path
) -> None:
    """Containers have none of the directories that the path goes through."""
    python = Path(sys.executable)
    steps = len(tmp_path.resolve().parts) - 1
    way_back = tmp_path.resolve().joinpath(*[".."] * steps, *python.parts[1:])
    done = subprocess.run(
        [way_back, "-c", HELLO], env={**os.environ, "VOLANT_HOME": str(volant_home)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "49\n"), done.stderr
