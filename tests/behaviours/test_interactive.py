"""`volant run -i`: a person at a terminal debugs what runs in containers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours.programs import apps, ask, has_printed, program_file
from tests.support import eventually, run_volant, stop_daemon
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Debug = Callable[..., OnTerminal]

PROMPT = r"\(Pdb\) (\x1b\[[0-9;?]*[a-zA-Z])*$"
HEAD = """
import asyncio, sys, time
import volant
app = volant.App("debugged")
"""


@pytest.fixture(scope="module", params=["container", "process"])
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A home whose daemon has either rung."""
    place = tmp_path_factory.mktemp("debugging")
    place.chmod(0o700)
    (place / "config.toml").write_text(f'isolation = "{request.param}"\n')
    try:
        yield place
    finally:
        stop_daemon(place)


@pytest.fixture
def debug(home: Path, tmp_path: Path) -> Iterator[Debug]:
    """Runs a program on a terminal; it ends with the test."""
    started: list[OnTerminal] = []

    def start(source: str, *words: object, **options: Any) -> OnTerminal:
        program = program_file(tmp_path, HEAD + source)
        started.append(OnTerminal("run", "-i", program, *words, home=home, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def _lines(run: OnTerminal) -> str:
    code, screen = run.end()
    assert code == 0, run.written
    return "\n".join(screen)


STEPS = """
@app.function(timeout=1)
def f(x):
    print("before")
    y = x + 1
    breakpoint()
    z = y * 2
    return z
@app.local_entrypoint()
def main():
    print("got", f.remote(3))
"""


def test_a_breakpoint_can_be_looked_at_stepped_from_and_left(debug: Debug) -> None:
    """For longer than the function's time-out, which would be over at the second prompt."""
    run = debug(STEPS)
    run.read_until(PROMPT)
    assert re.search(r"before\r\n(.|\n)*z = y \* 2", run.written)
    run.press(b"import time; time.sleep(1.2); print('slept')\n")
    run.read_until(r"slept\r\n" + PROMPT)
    run.press(b"p y, __import__('os').isatty(0)\n")
    run.read_until(r"\(4, True\)\r\n" + PROMPT)
    run.press(b"n\n")
    run.read_until(r"-> return z\r\n" + PROMPT)
    run.press(b"p z\n")
    run.read_until(r"\r\n8\r\n" + PROMPT)
    run.press(b"c\n")
    assert _lines(run).endswith("(Pdb) c\ngot 8\n")


def test_stepping_out_of_the_function_ends_the_session(debug: Debug) -> None:
    run = debug(STEPS)
    run.read_until(PROMPT)
    for expected in ("-> return z", "--Return--"):
        run.press(b"n\n")
        run.read_until(expected + r"(.|\n)*" + PROMPT)
    run.press(b"n\n")
    assert _lines(run).endswith("got 8\n")


def test_quitting_raises_in_the_users_code(debug: Debug) -> None:
    run = debug(STEPS)
    run.read_until(PROMPT)
    run.press(b"q\n")
    code, screen = run.end()
    assert code == 1
    assert "bdb.BdbQuit" in screen
    assert any(line.endswith("in f") for line in screen)


def test_ctrl_c_at_the_prompt_interrupts_what_it_runs(debug: Debug) -> None:
    run = debug(STEPS)
    run.read_until(PROMPT)
    # Not a sleep: it may miss an interrupt that comes just before.
    run.press(b"print('be' + 'gun'); sum(0 for _ in iter(int, 1))\n")
    run.read_until("begun")
    run.press(b"\x03")
    run.read_until(r"KeyboardInterrupt\r\n" + PROMPT)
    run.press(b"c\n")
    assert _lines(run).endswith("got 8\n")


def test_the_debugger_knows_the_terminal(debug: Debug) -> None:
    run = debug(STEPS, TERM="xterm-256color")
    run.read_until(PROMPT)
    run.resize(31, 99)
    loop = b"while os.get_terminal_size() != (99, 31): pass"
    run.press(b"exec('import os\\n" + loop + b'\\nprint(os.environ["TERM"])\')\n')
    run.read_until(r"xterm-256color\r\n(.|\n)*" + PROMPT)
    run.press(b"c\n")
    assert run.end()[0] == 0


def test_lines_can_be_edited_and_come_back(debug: Debug) -> None:
    """By readline: arrows, and the line before."""
    run = debug(STEPS)
    run.read_until(PROMPT)
    run.press(b"print('end')")
    run.press(b"\x1b[D\x1b[D-now\n")
    run.read_until(r"\r\nend-now\r\n" + PROMPT)
    run.press(b"\x1b[A\n")
    run.read_until(r"\r\nend-now\r\n(.|\n)*\r\nend-now\r\n" + PROMPT)
    run.press(b"c\n")
    assert run.end()[0] == 0


TWO = """
@app.function(max_containers=2)
def f(x):
    if x == 0:
        y = x
        breakpoint()
        return x
    print("from", "the other")
    return x
@app.local_entrypoint()
def main():
    print(sorted(f.map([0, 1])))
"""


def test_what_others_print_waits_for_the_end_of_the_session(home: Path, debug: Debug) -> None:
    run = debug(TWO)
    run.read_until(PROMPT)
    [app] = [one for one in apps(home) if one["name"] == "debugged"]
    eventually(lambda: has_printed(home, app["app_id"], "from the other"), within_s=20)
    run.press(b"p 'not' + 'hing'\n")
    run.read_until("nothing'\r\n" + PROMPT)
    if "from the other" in run.written:  # it was before the breakpoint
        assert run.written.index("from the other") < run.written.index("Pdb")
    run.press(b"c\n")
    screen = _lines(run)
    assert "from the other" in screen
    assert screen.endswith("[0, 1]\n")


BOTH = """
@app.function(max_containers=2)
def f(x):
    breakpoint()
    return x * 10
@app.local_entrypoint()
def main():
    print(sorted(f.map([1, 2])))
"""


def test_containers_are_joined_one_after_the_other(home: Path, debug: Debug) -> None:
    run = debug(BOTH)
    run.read_until(PROMPT)
    run.press(b"p 'here ' + str(x)\n")
    run.read_until(r"'here \d'\r\n" + PROMPT)
    assert run.written.count("return x * 10") == 1
    run.press(b"c\n")
    run.read_until(r"'here \d'(.|\n)*return x \* 10(.|\n)*" + PROMPT)
    run.press(b"p 'there ' + str(x)\n")
    run.read_until(r"'there \d'\r\n" + PROMPT)
    run.press(b"c\n")
    screen = _lines(run)
    seen = re.findall(r"'(?:here|there) (\d)'", screen)
    assert sorted(seen) == ["1", "2"]
    assert screen.endswith("[10, 20]\n")


INTERACT = """
@app.function()
def f():
    with volant.interact():
        name = input("name? ")
        print("hello", name, file=sys.stderr)
    print("logged")
    volant.interact()
    return input("again? ")
@app.local_entrypoint()
def main():
    print("got", f.remote())
"""


def test_interact_joins_until_its_block_or_the_input_ends(debug: Debug) -> None:
    run = debug(INTERACT)
    run.read_until(r"name\? $")
    run.press(b"you\n")
    run.read_until(r"hello you\r\n(.|\n)*again\? $")
    run.press(b"fine\n")
    screen = _lines(run)
    assert "hello you\nlogged\nagain? fine\ngot fine\n" in screen


FORMS = """
@app.function()
async def wait(x):
    breakpoint()
    await asyncio.sleep(0)
    return x + 1
@app.function()
def count(n):
    for number in range(n):
        breakpoint()
        yield number
@app.local_entrypoint()
def main():
    print(wait.remote(1))
    print(list(count.remote_gen(2)))
"""


def test_coroutines_and_generators_can_be_debugged(debug: Debug) -> None:
    run = debug(FORMS)
    run.read_until(r"await asyncio(.|\n)*" + PROMPT)
    run.press(b"n\n")
    run.read_until(r"return x \+ 1\r\n" + PROMPT)
    run.press(b"c\n")
    for value in range(2):
        run.read_until(rf"(yield number(.|\n)*){{{value + 1}}}" + PROMPT)
        run.press(b"c\n")
    assert _lines(run).endswith("[0, 1]\n")


SHARED = """
@app.function()
@volant.concurrent(max_inputs=2)
def f(x):
    breakpoint()
    return x + 1
@app.local_entrypoint()
def main():
    print("got", f.remote(1))
"""


def test_a_thread_of_a_shared_container_can_be_debugged(debug: Debug) -> None:
    run = debug(SHARED)
    run.read_until(PROMPT)
    run.press(b"p x\n")
    run.read_until(r"\r\n1\r\n" + PROMPT)
    run.press(b"c\n")
    assert _lines(run).endswith("got 2\n")


def test_a_client_that_is_killed_ends_the_session(home: Path, debug: Debug) -> None:
    run = debug(STEPS)
    run.read_until(PROMPT)
    run.kill()
    eventually(lambda: not ask(home, "container_list")["containers"], within_s=15)


def test_the_terminal_is_raw_only_while_a_container_has_it(debug: Debug) -> None:
    run = debug("""
@app.function()
def f():
    breakpoint()
    x = 1
@app.local_entrypoint()
def main():
    f.remote()
    print("canonical:", input("line? "))
""")
    run.read_until(PROMPT)
    run.press(b"c\n")
    run.read_until(r"line\? $")
    run.press(b"wrong\x15right\n")
    assert "canonical: right" in _lines(run)


# -- without a terminal


def test_a_breakpoint_without_i_says_what_to_do(home: Path, tmp_path: Path) -> None:
    run = run_volant("run", program_file(tmp_path, HEAD + STEPS), home=home)
    assert run.returncode == 1
    assert "needs a terminal, and this program runs without one" in run.stderr
    assert "`volant run -i` joins yours to the containers" in run.stderr


def test_a_breakpoint_that_is_switched_off_does_nothing(home: Path, tmp_path: Path) -> None:
    source = STEPS.replace("timeout=1", "env={'PYTHONBREAKPOINT': '0'}")
    run = run_volant("run", program_file(tmp_path, HEAD + source), home=home)
    assert (run.returncode, run.stdout) == (0, "before\ngot 8\n")


def test_an_interactive_run_needs_a_terminal(home: Path, tmp_path: Path) -> None:
    run = run_volant("run", "-i", program_file(tmp_path, HEAD + STEPS), home=home)
    assert run.returncode == 2
    assert "an interactive run needs a terminal" in run.stderr
