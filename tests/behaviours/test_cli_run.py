"""`volant run` as a user meets it: what it picks, passes on, prints, and leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.programs import APPS, OUR_PARTS, apps, program_file
from tests.support import ROOT, VOLANT, eventually
from volant.errors import InputCancellation

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = APPS.relative_to(ROOT) / "arguments.py"
FAILING = APPS.relative_to(ROOT) / "failing_program.py"


ONE_ENTRYPOINT = """
import volant

app = volant.App("one")

@app.function()
def remote():
    return __name__, __file__

@app.local_entrypoint()
def main():
    print(*remote.remote())
"""


def test_the_only_entrypoint_is_picked(run, tmp_path: Path) -> None:
    """Behaviours 126 and 132: the file lies at /root/<name>.py in the container."""
    done = run(program_file(tmp_path, ONE_ENTRYPOINT))
    assert (done.returncode, done.stdout) == (0, "program /root/program.py\n"), done.stderr


def test_several_candidates_are_listed(run) -> None:
    """Behaviour 126: with exit code 1, each as the command that would run it."""
    done = run(ARGUMENTS)
    assert done.returncode == 1
    for name in ("typed", "rest", "double", "generate"):
        assert f"volant run {ARGUMENTS}::{name}\n" in done.stderr


@pytest.mark.parametrize("reference", ["double", "app.double"])
def test_a_function_is_named_behind_the_file(run, reference: str) -> None:
    """Behaviour 126: FILE::name and FILE::app.name; its result is printed."""
    done = run(f"{ARGUMENTS}::{reference}", "--value", 21)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_a_generator_may_be_named(run) -> None:
    """Better than the model: its values are printed as they come."""
    assert run(f"{ARGUMENTS}::generate", "--stop", 3).stdout == "0\n1\n2\n"


def test_an_unknown_name_lists_what_there_is(run) -> None:
    """Behaviour 126: with exit code 1, and with the near misses of a misspelt name."""
    done = run(f"{ARGUMENTS}::tiped")
    assert done.returncode == 1
    assert "there is no function `tiped`" in done.stderr
    assert "typed" in done.stderr


def test_a_module_path_needs_its_option(run) -> None:
    """Behaviour 127: without `-m` it fails and shows `-m`; with it, it runs."""
    done = run("tests.behaviours.apps.arguments::double", "--value", 1)
    assert done.returncode == 2
    assert "volant run -m tests.behaviours.apps.arguments" in done.stderr
    done = run("-m", "tests.behaviours.apps.arguments::double", "--value", 1)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_modules_may_have_names_that_are_no_identifiers(run, tmp_path: Path) -> None:
    """Behaviour 133: `-m a.b-c.d`, and the same file by its path; relative imports under -m."""
    text = ONE_ENTRYPOINT.replace("import volant\n", "import volant\n{0}\n").replace(
        "__name__, __file__", "__name__, VALUE"
    )
    for name in ("__init__.py", "b-c/__init__.py"):
        program_file(tmp_path / "10_a", "", name)
    program_file(tmp_path / "10_a", "VALUE = 'beside'", "b-c/beside.py")
    program_file(tmp_path / "10_a", text.format("from .beside import VALUE"), "b-c/d.py")
    path = program_file(
        tmp_path / "10_a", text.format("from beside import VALUE"), "b-c/by-path.py"
    )
    by_path = run(path)
    assert (by_path.returncode, by_path.stdout) == (0, "by-path beside\n"), by_path.stderr
    as_module = run("-m", "10_a.b-c.d", directory=tmp_path)
    assert (as_module.returncode, as_module.stdout) == (0, "10_a.b-c.d beside\n"), as_module.stderr


def test_a_program_may_come_from_standard_input(run) -> None:
    """Issue 2, 3: `-` reads it there."""
    text = ONE_ENTRYPOINT.replace("__name__, __file__", "21 * 2,")
    done = run("-", stdin=text)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


TWO_FUNCTIONS = """
import volant

app = volant.App("two")

@app.function()
def first(x: int = 20):
    return x + 1

@app.function()
def second(h: int = 1):
    return h
"""


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_for_a_program_with_several_functions_lists_them(
    run, tmp_path: Path, word: str
) -> None:
    """Behaviour 145: before the file or behind it; that is no failure."""
    path = program_file(tmp_path, TWO_FUNCTIONS)
    for words in ((path, word), (word, path)):
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: volant run {path}::FUNCTION [OPTIONS]\n")
        assert f"\n  volant run {path}::first\n  volant run {path}::second\n" in done.stdout


def test_help_has_a_short_form_unless_the_function_takes_that_letter(run, tmp_path: Path) -> None:
    """Behaviour 145."""
    path = program_file(tmp_path, TWO_FUNCTIONS)
    assert run(f"{path}::first", "-h").stdout == run(f"{path}::first", "--help").stdout
    assert "\n  -h, --help  Show this text.\n" in run(f"{path}::first", "-h").stdout
    done = run(f"{path}::second", "-h")
    assert done.returncode == 2
    assert "-h" not in run(f"{path}::second", "--help").stdout.replace("--h", "")


def test_a_function_of_a_program_from_standard_input_is_named_like_any_other(run) -> None:
    """Issue 2, 3: `-` stands for the file, in help too."""
    done = run("-::first", "--x", "41", stdin=TWO_FUNCTIONS)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    helped = run("-::first", "--help", stdin=TWO_FUNCTIONS)
    assert helped.stdout.startswith("Usage: volant run -::first [OPTIONS]\n"), helped.stderr


def test_a_program_from_standard_input_imports_from_the_working_directory(
    run, tmp_path: Path
) -> None:
    """Issue 2, 3: in its functions too, as Python does for `python - < program.py`."""
    program_file(tmp_path, "VALUE = 42", "beside.py")
    body = "import beside; return beside.VALUE,"
    text = ONE_ENTRYPOINT.replace("return __name__, __file__", body)
    done = run("-", stdin=text, directory=tmp_path)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_a_run_that_is_not_detached_stops_its_app(run) -> None:
    """Behaviour 127: what it has spawned is cancelled."""
    done = run(ARGUMENTS.with_name("leaves_work.py"))
    assert done.returncode == 0, done.stderr
    with pytest.raises(InputCancellation):
        volant.FunctionCall.from_id(done.stdout.strip()).get()


SPAWNING = """
import time
import volant

app = volant.App("spawning")

@app.function()
def quick():
    pass

@app.function()
def slow():
    time.sleep(600)

@app.local_entrypoint()
def main(count: int):
    quick.spawn().get()
    slow.spawn().cancel()
    for _ in range(count):
        slow.spawn()
"""


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, ""),
        (1, "1 unfinished call was cancelled; `--detach` keeps it running\n"),
        (2, "2 unfinished calls were cancelled; `--detach` keeps them running\n"),
    ],
)
def test_calls_that_a_run_leaves_are_counted(run, tmp_path: Path, count: int, said: str) -> None:
    """Behaviour 127: those that were spawned and have not finished, unless it is quiet."""
    path = program_file(tmp_path, SPAWNING)
    assert run(path, "--count", count).stderr == said
    assert run("--quiet", path, "--count", count).stderr == ""


def test_a_detached_run_leaves_its_app_alive(run) -> None:
    """Behaviour 127: what it has spawned goes on, and how to see it is said."""
    done = run("--detach", ARGUMENTS.with_name("leaves_work.py"))
    assert done.returncode == 0, done.stderr
    assert "volant app logs ap-" in done.stderr
    assert list(volant.FunctionCall.from_id(done.stdout.strip()).iter()) == [2, 4, 6]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("typed --count 3", "(3, 'nobody', 0.5, False, True)"),
        ("typed --count=4 --name me --ratio 2", "(4, 'me', 2.0, False, True)"),
        ("typed --count 1 --flag --no-on-by-default", "(1, 'nobody', 0.5, True, False)"),
        ("optional", "(None, None)"),
        ("optional --number 5 --text t", "(5, 't')"),
        ("when --day 2024-05-06", "2024-05-06T00:00:00"),
        ("when --day 2024-05-06T07:08:09", "2024-05-06T07:08:09"),
        ("choose", "small"),
        ("choose --size large", "large"),
        ("rest a --b -c", "('a', '--b', '-c')"),
        ("unannotated --plain 5", "('5', 3, 0.5, False)"),
        ("unannotated --plain 5 --number 4 --fraction 1 --switch", "('5', 4, 1.0, True)"),
        ("underscored_name --first-value 5", "5"),
        ("awaited --value 4", "8"),
    ],
)
def test_arguments_follow_the_signature(run, words: str, printed: str) -> None:
    """Behaviours 128, 129 and 145: annotations, defaults, `--no-flag`, dashes, `*args`."""
    name, *rest = words.split()
    done = run(f"{ARGUMENTS}::{name}", *rest)
    assert (done.returncode, done.stdout) == (0, f"{printed}\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("typed", "missing option `--count INT`"),
        ("typed --count x", "takes an integer, not `x`"),
        ("choose --size huge", "one of `small`, `large`, not `huge`"),
        ("when --day someday", "takes a date"),
        ("either --value 5", "` cannot be made an option"),
        ("typed --cuont 3", "`--count`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(run, words: str, complaint: str) -> None:
    """Behaviour 128: with exit code 2, before anything runs."""
    name, *rest = words.split()
    done = run(f"{ARGUMENTS}::{name}", *rest)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["bad name!", ""])
def test_a_name_that_no_app_can_have_is_refused(run, name: str) -> None:
    """Behaviour 128: before the program is loaded."""
    done = run("--name", name, FAILING)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {name!r} cannot be the name of an app\nhint: 1 to 64 ")
    assert done.stdout == ""


def test_text_and_bytes_are_written_to_a_file(run, tmp_path: Path) -> None:
    """Behaviour 129: `-w`; other results are refused with their type."""
    path = tmp_path / "result"
    assert run("-w", path, f"{ARGUMENTS}::text", "--value", "ä").returncode == 0
    assert path.read_text() == "ä"
    assert run(f"--write-result={path}", f"{ARGUMENTS}::data").returncode == 0
    assert path.read_bytes() == b"\0\1 bytes"
    refused = run("-w", path, f"{ARGUMENTS}::double", "--value", 1)
    assert refused.returncode == 1
    assert "the result is of type int" in refused.stderr


def test_user_code_runs_on_the_main_thread(run) -> None:
    """Behaviour 130: and `sys.argv` holds what is the program's."""
    assert run(f"{ARGUMENTS}::where").stdout == "True []\n"


def test_a_failing_program_shows_its_own_traceback(run) -> None:
    """Behaviour 130: its lines, not those of the SDK or the command; exit code 1."""
    done = run(f"{FAILING}::fails_here")
    assert (done.returncode, done.stdout) == (1, "printed before\n")
    assert 'raise KeyError("here")' in done.stderr
    assert done.stderr.rstrip().endswith("KeyError: 'here'")
    assert not [part for part in OUR_PARTS if part in done.stderr], done.stderr


def test_a_remote_failure_shows_the_remote_lines(run) -> None:
    """Behaviour 130: local lines, then remote ones, nothing between them but a separator."""
    done = run(f"{FAILING}::fails_there")
    assert done.returncode == 1
    assert 'fail.remote("there")' in done.stderr
    assert "raise KeyError(text)" in done.stderr
    assert done.stderr.rstrip().endswith("KeyError: 'there'")
    assert not [part for part in OUR_PARTS if part in done.stderr], done.stderr


@pytest.mark.parametrize("code", [0, 5])
def test_sys_exit_sets_the_exit_code(run, code: int) -> None:
    """Behaviour 130: as in any Python program."""
    assert run(f"{FAILING}::leaves", "--code", code).returncode == code


def test_quiet_still_shows_errors(run) -> None:
    """Behaviour 130: --quiet drops progress and nothing that matters."""
    done = run("--quiet", f"{FAILING}::fails_there")
    assert done.returncode == 1
    assert "KeyError: 'there'" in done.stderr


def test_remote_output_appears_on_the_same_streams(run) -> None:
    """Issue 2, 3: stdout on stdout, stderr on stderr, in order."""
    done = run(f"{FAILING}::prints")
    assert done.stdout == "from the container\nfrom here\n"
    assert done.stderr == "from the container\n"


def test_ctrl_c_ends_a_run(volant_home: Path) -> None:
    """Behaviour 70: exit code 130, no traceback, and the app is gone."""
    running = subprocess.Popen(
        [VOLANT, "run", f"{FAILING}::waits"],
        cwd=ROOT,
        env={**os.environ, "VOLANT_HOME": str(volant_home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "waiting\n"
    eventually(lambda: [row for row in apps(volant_home) if row["name"] == "failing-program"])
    running.send_signal(signal.SIGINT)
    _, complaint = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in complaint
    assert not [row for row in apps(volant_home) if row["name"] == "failing-program"]


def test_help_comes_from_the_signature(run) -> None:
    """Behaviour 145: of one function, with defaults, without running anything."""
    done = run(f"{ARGUMENTS}::typed", "--help")
    assert done.returncode == 0
    for text in ("--count INT", "[required]", "--flag / --no-flag", "[default: nobody]"):
        assert text in done.stdout


def test_classes_of_the_program_unpickle_both_ways(run, tmp_path: Path) -> None:
    """Behaviour 134: of the file that `volant run` loads, and of `-m`."""
    text = """
import volant

app = volant.App("classes")

class Point:
    def __init__(self, x):
        self.x = x

@app.function()
def move(point):
    assert type(point) is Point
    return Point(point.x + 1)

@app.local_entrypoint()
def main():
    moved = move.remote(Point(1))
    assert type(moved) is Point, type(moved)
    print(moved.x)
"""
    path = program_file(tmp_path, text, "classes.py")
    assert run(path).stdout == "2\n"
    assert run("-m", "classes", directory=tmp_path).stdout == "2\n"
