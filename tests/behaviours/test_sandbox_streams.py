"""Commands in sandboxes and their streams; behaviours 115, 116 and 118 of the reference."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.programs import program_file
from tests.support import eventually, run_volant, same
from volant.errors import InvalidError
from volant.sdk.sandboxes.streams import WRITE_BYTES_MAX
from volant.types import StreamType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = volant.App("streams")


@pytest.fixture(scope="module", autouse=True)
def sandbox() -> Iterator[volant.Sandbox]:
    with app.run():
        yield volant.Sandbox.create(app=app)


def test_output_comes_by_lines_and_the_rest_by_read(sandbox: volant.Sandbox) -> None:
    """Behaviour 115."""
    process = sandbox.exec("printf", "one\ntwo\r\nthree\u2028x\nfour")
    lines = iter(process.stdout)
    assert [next(lines), next(lines)] == ["one\n", "two\r\n"]
    assert process.stdout.read() == "three\u2028x\nfour"
    assert process.stdout.read() == ""
    assert process.wait() == 0


def test_a_line_comes_as_soon_as_it_is_printed(sandbox: volant.Sandbox) -> None:
    """Behaviour 118, for `bufsize`."""
    process = sandbox.exec("cat", bufsize=1)
    for text in ("first\n", "second\n"):
        process.stdin.write(text)
        process.stdin.drain()
        assert next(iter(process.stdout)) == text
    process.stdin.write_eof()
    process.stdin.drain()
    assert process.wait() == 0


def test_bytes_pass_without_damage_both_ways(sandbox: volant.Sandbox) -> None:
    """Behaviours 115 and 116."""
    data = os.urandom(300_000) + bytes(range(256))
    process = sandbox.exec("sh", "-c", "cat > /tmp/data; cat /tmp/data", text=False)
    process.stdin.write(data)
    process.stdin.write_eof()
    process.stdin.drain()
    assert same(process.stdout.read(), data)
    assert process.stdout.read() == b""
    text = sandbox.exec("printf", r"\303\244\377")
    assert text.stdout.read() == "ä\ufffd"


def test_out_and_err_come_apart(sandbox: volant.Sandbox) -> None:
    process = sandbox.exec("sh", "-c", "echo out; echo err >&2")
    assert (process.stdout.read(), process.stderr.read()) == ("out\n", "err\n")


def test_output_goes_nowhere_or_to_this_process(
    sandbox: volant.Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = sandbox.exec("echo", "gone", stdout=StreamType.DEVNULL)
    assert (gone.stdout.read(), gone.wait()) == ("", 0)
    shown = sandbox.exec("sh", "-c", "echo shown; echo err >&2", stdout=StreamType.STDOUT)
    assert (shown.stderr.read(), shown.wait()) == ("err\n", 0)
    seen: list[str] = []
    eventually(lambda: seen.append(capfd.readouterr().out) or "shown\n" in seen, within_s=10)


def test_writing_after_the_end_is_a_value_error(sandbox: volant.Sandbox) -> None:
    """Behaviour 116."""
    process = sandbox.exec("cat")
    process.stdin.write_eof()
    with pytest.raises(ValueError, match="closed"):
        process.stdin.write("x")
    process.stdin.drain()
    assert process.wait() == 0
    ended = sandbox.exec("true")
    ended.wait()
    with pytest.raises(ValueError, match="closed"):
        ended.stdin.write("x")
    with pytest.raises(TypeError):
        sandbox.exec("cat").stdin.write(5)  # type: ignore[arg-type]  # what is tested


def test_writing_to_a_program_that_has_ended_is_a_value_error() -> None:
    """Behaviour 116, for the program of a sandbox; an end that nobody waits for is none."""
    made = volant.Sandbox.create("true", app=app)
    assert made.wait() == 0
    made.stdin.write("x")
    with pytest.raises(ValueError, match="closed"):
        made.stdin.drain()
    with pytest.raises(ValueError, match="closed"):
        made.stdin.write("x")
    found = volant.Sandbox.from_id(made.object_id)
    found.stdin.write_eof()
    found.stdin.drain()


def test_a_writer_keeps_no_more_than_its_buffer(sandbox: volant.Sandbox) -> None:
    process = sandbox.exec("cat")
    process.stdin.write(bytes(WRITE_BYTES_MAX))
    with pytest.raises(BufferError, match="drain"):
        process.stdin.write("x")
    process._stdin._let_go()
    assert process.wait() == 0


def test_a_reader_that_does_not_read_stops_the_command_and_nobody_else(
    sandbox: volant.Sandbox,
) -> None:
    script = "dd if=/dev/zero bs=65536 count=1024 2>/dev/null; touch /tmp/through"
    stuck = sandbox.exec("sh", "-c", script, text=False)
    assert sandbox.exec("echo", "others go on").stdout.read() == "others go on\n"
    assert stuck.poll() is None
    assert sandbox.exec("test", "-e", "/tmp/through").wait() == 1
    assert len(stuck.stdout.read()) == 64 << 20
    assert stuck.wait() == 0


def test_what_the_program_prints_is_kept_for_whoever_reads_first_or_later() -> None:
    made = volant.Sandbox.create("sh", "-c", "echo begun; head -c 1000000 /dev/zero", app=app)
    assert made.wait() == 0
    first, second = made.stdout.read(), volant.Sandbox.from_id(made.object_id).stdout.read()
    assert first == second == "begun\n" + "\0" * 1_000_000


def test_a_lagging_reader_of_a_program_stops_that_and_loses_nothing() -> None:
    size = 20_000_000
    made = volant.Sandbox.create(
        "sh", "-c", f"echo begun; read go; head -c {size} /dev/zero | tr '\\0' x; echo end",
        app=app,
    )  # fmt: skip
    lines = iter(made.stdout)
    assert next(lines) == "begun\n"
    made.stdin.write("go\n")
    made.stdin.drain()
    assert made.exec("echo", "others go on").stdout.read() == "others go on\n"
    assert made.poll() is None
    assert len(made.stdout.read()) == size + len("end\n")
    assert made.wait() == 0


def test_its_log_has_what_it_printed_without_its_secrets() -> None:
    made = volant.Sandbox.create(
        "sh", "-c", "echo $TOKEN; printf not-to >&2", app=app,
        secrets=[volant.Secret.from_dict({"TOKEN": "not-to-be-shown"})],
    )  # fmt: skip
    assert made.wait() == 0
    assert made.stdout.read() == "not-to-be-shown\n"
    assert sorted(entry.message for entry in made.logs.tail()) == ["***", "not-to"]
    assert [entry.message for entry in made.logs.tail(source="stderr")] == ["not-to"]


def test_commands_that_nobody_holds_keep_nothing_open(sandbox: volant.Sandbox) -> None:
    sandbox.exec("true").wait()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert sandbox.exec("true").wait() == 0
    assert len(os.listdir("/proc/self/fd")) <= before


# -- commands


def test_a_command_has_variables_secrets_and_a_directory_of_its_own(
    sandbox: volant.Sandbox,
) -> None:
    """Behaviour 118."""
    process = sandbox.exec(
        "sh", "-c", "pwd; echo $A $B", workdir="/tmp", env={"A": "1"},
        secrets=[volant.Secret.from_dict({"B": "2"})],
    )  # fmt: skip
    assert process.stdout.read() == "/tmp\n1 2\n"
    assert sandbox.exec("sh", "-c", "echo $A$B").stdout.read() == "\n"
    lost = sandbox.exec("pwd", workdir="/nowhere")
    assert lost.wait() == 126
    assert "cannot work in `/nowhere`" in lost.stderr.read()
    with pytest.raises(InvalidError, match="absolute"):
        sandbox.exec("pwd", workdir="here")


def test_a_command_ends_when_its_time_is_over(sandbox: volant.Sandbox) -> None:
    """Behaviour 118."""
    process = sandbox.exec("sh", "-c", "sleep 1000 & sleep 1000", timeout=0.2)
    assert (process.wait(), process.poll(), process.returncode) == (-1, -1, -1)


def test_a_terminal_is_the_sandboxs_own(sandbox: volant.Sandbox) -> None:
    """Behaviour 118."""
    process = sandbox.exec("sh", "-c", "tty; read line; echo got $line >&2", pty=True)
    process.stdin.write("typed\n")
    process.stdin.drain()
    shown = process.stdout.read()
    assert "/dev/pts/" in shown
    assert shown.endswith("got typed\r\n")
    assert (process.stderr.read(), process.wait()) == ("", 0)


def test_what_a_command_leaves_goes_on(sandbox: volant.Sandbox) -> None:
    script = "(cat /tmp/gate > /tmp/left) > /dev/null 2>&1 &"
    assert sandbox.exec("sh", "-c", f"mkfifo /tmp/gate; {script}").wait() == 0
    assert sandbox.exec("sh", "-c", "echo passed > /tmp/gate").wait() == 0
    told = ("sh", "-c", "cat /tmp/left")
    eventually(lambda: sandbox.exec(*told).stdout.read() == "passed\n", within_s=10)


def test_a_return_code_is_told_by_poll_or_wait(sandbox: volant.Sandbox) -> None:
    process = sandbox.exec("cat")
    with pytest.raises(InvalidError, match="wait"):
        _ = process.returncode
    assert process.poll() is None
    process.stdin.write_eof()
    process.stdin.drain()
    assert (process.wait(), process.returncode) == (0, 0)


PRINTS = """
import volant

app = volant.App("prints")


@app.local_entrypoint()
def main(verbose: bool = False):
    sandbox = volant.Sandbox.create("echo", "from inside", app=app, verbose=verbose)
    print("read:", sandbox.stdout.read().strip())
    sandbox.wait()
"""


@pytest.mark.parametrize(("word", "shown"), [("--no-verbose", False), ("--verbose", True)])
def test_what_a_program_prints_is_shown_where_its_app_runs_if_that_is_wanted(
    volant_home: Path, tmp_path: Path, word: str, shown: bool
) -> None:
    run = run_volant("run", str(program_file(tmp_path, PRINTS)), word, home=volant_home)
    assert run.returncode == 0, run.stderr
    assert "read: from inside" in run.stdout.splitlines()
    assert ("from inside" in run.stdout.splitlines()) is shown, run.stdout
