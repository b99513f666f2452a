"""`volant run` from the outside: what it runs, prints and returns.

Behaviours 126 to 130, 132 to 134 and 145.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import VOLANT, eventually, run_volant
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "import volant\napp = volant.App('program')\n"
WORDS = """
@app.function()
def words(count: int = 2) -> str:
    print("in", "a container")
    return "wörd " * count
"""
FAILING = """
import os, sys
def inner(text: str) -> None:
    raise ValueError(text)

@app.function()
def remote_failure() -> None:
    inner("remote")

@app.local_entrypoint()
def main(how: str = "remote") -> None:
    print("before", flush=True)
    if how == "remote":
        remote_failure.remote()
    elif how == "local":
        inner("local")
    elif how == "exit":
        sys.exit(7)
    elif how == "said":
        sys.exit("that is all")
"""
#: Tells when it runs, then waits for ever.
WAITING = """
import sys, time
@app.function()
def wait(_: int = 0) -> None:
    print("waiting", flush=True)
    time.sleep(600)
@app.local_entrypoint()
def main(how: str = "remote") -> None:
    if how == "map":
        list(wait.map([1, 2]))
    elif how == "async":
        import asyncio
        asyncio.run(wait.remote.aio())
    wait.remote()
"""


def _write(path: Path, *parts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(parts))
    return path


def test_a_function_is_called_and_its_result_printed(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 126: FILE::name; the logs come before the result."""
    program = _write(tmp_path / "program.py", HEAD, WORDS)
    for reference in (str(program), f"{program}::words", f"{program}::app.words"):
        run = run_volant("run", reference, "--count", "1", home=volant_home)
        assert (run.returncode, run.stdout) == (0, "in a container\nwörd \n"), run.stderr


def test_several_functions_are_listed_as_candidates(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 126: exit code 1, and nothing runs."""
    program = _write(tmp_path / "program.py", HEAD, WORDS, WORDS.replace("words", "other"))
    run = run_volant("run", program, home=volant_home)
    assert (run.returncode, run.stdout) == (1, "")
    assert f"    volant run {program}::words\n    volant run {program}::other\n" in run.stderr


def test_a_generator_prints_every_value(volant_home: Path, tmp_path: Path) -> None:
    source = "@app.function()\ndef count(n: int = 3):\n    yield from range(n)\n"
    program = _write(tmp_path / "program.py", HEAD, source)
    assert run_volant("run", program, home=volant_home).stdout == "0\n1\n2\n"


def test_an_async_entrypoint_runs_on_a_loop_of_its_own(volant_home: Path, tmp_path: Path) -> None:
    source = (
        "@app.local_entrypoint()\nasync def main() -> None:\n    print(await words.remote.aio(1))\n"
    )
    program = _write(tmp_path / "program.py", HEAD, WORDS, source)
    run = run_volant("run", program, home=volant_home)
    assert run.stdout == "in a container\nwörd \n", run.stderr


def test_user_code_runs_on_the_main_thread_under_its_stem(
    volant_home: Path, tmp_path: Path
) -> None:
    """Behaviours 130 and 132: not `__main__`; in a container below /root, also the cwd."""
    source = """
import os, sys, threading
HERE = os.path.dirname(os.path.abspath(__file__))
@app.function()
def place():
    return __name__, __file__, HERE, os.getcwd()
@app.local_entrypoint()
def main() -> None:
    assert threading.current_thread() is threading.main_thread()
    print(__name__, sys.argv)
    print(*place.remote())
"""
    program = _write(tmp_path / "my-program.py", HEAD, source)
    run = run_volant("run", program, home=volant_home)
    assert run.stdout.splitlines() == [
        f"my-program ['{program}']",
        "my-program /root/my-program.py /root /root",
    ], run.stderr


def test_a_script_comes_from_standard_input(volant_home: Path) -> None:
    run = run_volant("run", "-", "--count", "3", home=volant_home, stdin=HEAD + WORDS)
    assert (run.returncode, run.stdout) == (0, "in a container\nwörd wörd wörd \n"), run.stderr


def test_a_module_runs_by_its_path_with_relative_imports(volant_home: Path, tmp_path: Path) -> None:
    """Behaviours 127 and 133: `-m a.b-c.d`; without -m it is refused, showing it."""
    _write(tmp_path / "1st/b-c/lib.py", "def text():\n    return 'from lib'\n")
    source = "from .lib import text\n@app.function()\ndef f() -> str:\n    return text()\n"
    _write(tmp_path / "1st/b-c/mod.py", HEAD, source)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"VOLANT_HOME": str(volant_home)}
        return subprocess.run(
            [VOLANT, "run", *words], cwd=tmp_path, env=environ, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    ran = run("-m", "1st.b-c.mod")
    assert (ran.returncode, ran.stdout) == (0, "from lib\n"), ran.stderr
    refused = run("1st.b-c.mod")
    assert refused.returncode == 2
    assert "`volant run -m 1st.b-c.mod`" in refused.stderr
    as_file = run("1st/b-c/mod.py")
    assert as_file.returncode == 1
    assert "hint: a file that is part of a package runs by its module path" in as_file.stderr


def test_classes_of_the_program_mean_the_same_on_both_sides(
    volant_home: Path, tmp_path: Path
) -> None:
    """Behaviour 134."""
    source = """
class Point:
    def __init__(self, x): self.x = x
@app.function()
def double(point):
    assert type(point) is Point
    return Point(point.x * 2)
@app.local_entrypoint()
def main():
    doubled = double.remote(Point(21))
    assert type(doubled) is Point
    print(doubled.x)
"""
    program = _write(tmp_path / "program.py", HEAD, source)
    run = run_volant("run", program, home=volant_home)
    assert run.stdout == "42\n", run.stderr


@pytest.mark.parametrize(
    ("returned", "written"),
    [("'wörd'", "wörd".encode()), ("b'\\xff'", b"\xff"), ("{}", None), ("None", None)],
)
def test_a_result_is_written_if_it_is_text_or_bytes(
    volant_home: Path, tmp_path: Path, returned: str, written: bytes | None
) -> None:
    """Behaviour 129."""
    source = f"@app.local_entrypoint()\ndef main():\n    return {returned}\n"
    program = _write(tmp_path / "program.py", HEAD, source)
    out = tmp_path / "out"
    run = run_volant("run", "-w", out, program, home=volant_home)
    if written is None:
        assert run.returncode == 1
        assert "writes str or bytes only" in run.stderr
        assert not out.exists()
    else:
        assert (run.returncode, run.stdout, out.read_bytes()) == (0, "", written), run.stderr


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize("how", ["remote", "local"])
def test_a_failing_program_shows_its_own_traceback(
    volant_home: Path, tmp_path: Path, how: str, quiet: list[str]
) -> None:
    """Behaviour 130: the remote frames too, none of ours; --quiet still shows it."""
    program = _write(tmp_path / "program.py", HEAD, FAILING)
    run = run_volant("run", *quiet, program, "--how", how, home=volant_home)
    assert (run.returncode, run.stdout) == (1, "before\n")
    assert run.stderr.startswith("Traceback (most recent call last):\n")
    assert run.stderr.endswith(f"ValueError: {how}\n")
    names = re.findall(r"line \d+, in (\w+)", run.stderr)
    assert names[0] == "main"
    assert names[-1] == "inner"
    assert ("remote_failure" in names) == (how == "remote")
    assert "volant/" not in run.stderr.replace(str(tmp_path), "")


def test_the_setting_shows_our_frames_too(volant_home: Path, tmp_path: Path) -> None:
    program = _write(tmp_path / "program.py", HEAD, FAILING)
    run = run_volant("run", program, home=volant_home, env={"VOLANT_TRACEBACK": "1"})
    assert "volant/cli/run.py" in run.stderr


@pytest.mark.parametrize(("how", "code", "said"), [("exit", 7, ""), ("said", 1, "that is all\n")])
def test_system_exit_keeps_its_code(
    volant_home: Path, tmp_path: Path, how: str, code: int, said: str
) -> None:
    program = _write(tmp_path / "program.py", HEAD, FAILING)
    run = run_volant("run", program, "--how", how, home=volant_home)
    assert (run.returncode, run.stderr) == (code, said)


def test_a_service_that_cannot_start_exits_with_3(tmp_path: Path) -> None:
    program = _write(tmp_path / "program.py", HEAD, WORDS)
    home = _write(tmp_path / "home", "a file, not a directory")
    run = run_volant("run", program, home=home)
    assert run.returncode == 3
    assert run.stderr.startswith("error: ")


def test_output_of_containers_is_passed_on_as_bytes(volant_home: Path, tmp_path: Path) -> None:
    source = """
@app.function()
def speak():
    import sys
    sys.stdout.buffer.write(b"out\\xff\\n")
    sys.stderr.buffer.write(b"err\\xfe\\n")
"""
    program = _write(tmp_path / "program.py", HEAD, source)
    run = subprocess.run(
        [VOLANT, "run", program], env=os.environ | {"VOLANT_HOME": str(volant_home)},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.stdout, run.stderr) == (b"out\xff\n", b"err\xfe\n")


def test_a_reader_that_leaves_ends_the_run_quietly(volant_home: Path, tmp_path: Path) -> None:
    source = "@app.function()\ndef many():\n    for x in range(200_000):\n        print(x)\n"
    program = _write(tmp_path / "program.py", HEAD, source)
    run = subprocess.Popen(
        [VOLANT, "run", program], env=os.environ | {"VOLANT_HOME": str(volant_home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout is not None and run.stderr is not None
    assert run.stdout.readline() == "0\n"
    run.stdout.close()
    complaint = run.stderr.read()
    run.stderr.close()
    assert (run.wait(timeout=60), complaint) == (141, "")


def test_timings_are_a_table_with_a_total(volant_home: Path, tmp_path: Path) -> None:
    program = _write(tmp_path / "program.py", HEAD, WORDS)
    run = run_volant("run", "--timings", program, home=volant_home)
    assert run.stdout == "in a container\nwörd wörd \n"
    rows = run.stderr.splitlines()
    assert rows[0].split() == ["phase", "inputs", "median", "ms", "longest", "ms"]
    assert [row[:18].strip() for row in rows[1:-2]] == [
        "accepted", "queued", "container wanted", "forked", "imported", "dispatched",
        "first line", "finished", "delivered",
    ]  # fmt: skip
    total_ms = float(rows[-1].split()[-1].replace(",", ""))
    assert rows[-1].startswith("total")
    parts = [row.split()[-1].replace(",", "") for row in rows[1:-2]]
    assert total_ms == pytest.approx(sum(float(part) for part in parts if part != "-"), abs=0.01)


@pytest.mark.parametrize("how", ["remote", "map", "async"])
def test_ctrl_c_is_one_line_and_stops_remote_work(
    volant_home: Path, tmp_path: Path, how: str
) -> None:
    program = _write(tmp_path / f"waiting_{how}.py", HEAD, WAITING)
    run = subprocess.Popen(
        [VOLANT, "run", "-n", f"waiting-{how}", program, "--how", how],
        env=os.environ | {"VOLANT_HOME": str(volant_home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.readline() == "waiting\n"
    run.send_signal(signal.SIGINT)
    _, complaint = run.communicate(timeout=5)
    assert (run.returncode, complaint) == (130, "Interrupted\n")

    def nothing_is_left() -> bool:
        rows = json.loads(run_volant("app", "list", "--json", home=volant_home).stdout)
        ours = [app for app in rows if app["name"] == f"waiting-{how}"]
        return all((app["state"], app["containers"]) == ("stopped", 0) for app in ours)

    eventually(nothing_is_left, within_s=1.0)


def test_a_detached_app_goes_on_and_a_plain_one_stops(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 127."""
    source = """
import time
@app.function()
def work():
    print("working", flush=True)
    time.sleep(600)
@app.local_entrypoint()
def main():
    work.spawn()
"""
    program = _write(tmp_path / "program.py", HEAD, source)
    plain = run_volant("run", "-n", "plain", program, home=volant_home)
    detached = run_volant("run", "--detach", "-n", "left", program, home=volant_home)
    assert plain.returncode == detached.returncode == 0
    app_id = re.findall(r"`volant app logs (ap-\w+)`", detached.stderr)[0]
    rows = json.loads(run_volant("app", "list", "--json", home=volant_home).stdout)
    states = {app["name"]: app["state"] for app in rows}
    assert states["left"] == "detached"
    assert states.get("plain", "stopped") == "stopped"
    eventually(
        lambda: run_volant("app", "logs", "left", home=volant_home).stdout == "working\n",
        within_s=10,
    )
    assert run_volant("app", "stop", app_id, home=volant_home).stdout == f"stopped {app_id}\n"


def test_a_terminal_shows_progress_and_nothing_of_it_stays(
    volant_home: Path, tmp_path: Path
) -> None:
    source = """
import time
@app.function(max_containers=2)
def square(x: int) -> int:
    time.sleep(0.2)
    if x == 3:
        print("three")
    return x * x
@app.local_entrypoint()
def main():
    total = 0
    for value in square.map(range(12)):
        if value == 16:
            print("sixteen")
        total += value
    print(total)
"""
    program = _write(tmp_path / "program.py", HEAD, source)
    run = OnTerminal("run", program, home=volant_home, COLUMNS="100")
    run.read_until(r"program")
    run.read_until(r"\d+/12.* left")
    code, screen = run.end()
    assert code == 0
    lines = [line for line in screen if not line.startswith("square: 12/12 in ")]
    assert lines == ["three", "sixteen", "506", ""]


def test_ctrl_c_on_a_terminal_takes_the_region_away(volant_home: Path, tmp_path: Path) -> None:
    program = _write(tmp_path / "program.py", HEAD, WAITING)
    run = OnTerminal("run", program, home=volant_home)
    run.read_until("waiting")
    run.read_until("program")
    run.press(b"\x03")
    code, screen = run.end()
    assert code == 130
    assert [line.removeprefix("^C") for line in screen] == ["waiting", "Interrupted", ""]


def test_a_prompt_of_the_program_stays_as_it_is(volant_home: Path, tmp_path: Path) -> None:
    source = "@app.local_entrypoint()\ndef main():\n    print('hello', input('name? '))\n"
    program = _write(tmp_path / "program.py", HEAD, WORDS, source)
    run = OnTerminal("run", program, home=volant_home)
    run.read_until(r"name\? ")
    assert run.is_quiet_for(0.5), "something is drawn at a prompt"
    run.press(b"you\n")
    code, screen = run.end()
    assert (code, screen) == (0, ["name? you", "hello you", ""])


def test_quiet_shows_no_progress_on_a_terminal(volant_home: Path, tmp_path: Path) -> None:
    source = "import time\n@app.function()\ndef slow():\n    print('log')\n    time.sleep(0.5)\n"
    program = _write(tmp_path / "program.py", HEAD, source)
    run = OnTerminal("run", "--quiet", program, home=volant_home)
    run.end()
    assert run.written == "log\r\n"
