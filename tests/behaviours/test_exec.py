"""`volant container exec` and `volant shell`: what a person sees of them, and what they may do."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours.apps import staying
from tests.behaviours.programs import APPS, ask, at_home, containers, program_file
from tests.support import VOLANT, daemon_pid, eventually, run_volant, same, stop_daemon
from tests.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Terminal = Callable[..., OnTerminal]

PROMPT = r"[#$] $"
#: Typed, a command that hears an interrupt whenever it comes: what sleeps or waits may miss one
#: that comes just before.
WAITS = b"python3 -c \"print('be' + 'gun', flush=True); sum(0 for _ in iter(int, 1))\"\n"
#: A command that nothing but its own end makes go.
STUBBORN = "trap '' HUP INT TERM; echo begun; while :; do sleep 1; done"


@pytest.fixture(scope="module", params=["container", "process"])
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A daemon of each rung, with an app whose containers stay."""
    place = tmp_path_factory.mktemp("terminals")
    place.chmod(0o700)
    try:
        with at_home(place, VOLANT_ISOLATION=request.param), staying.app.run():
            staying.look.remote()
            yield place
    finally:
        stop_daemon(place)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Starts commands on terminals of their own; they end with the test."""
    started: list[OnTerminal] = []

    def start(*words: object, **options: Any) -> OnTerminal:
        started.append(OnTerminal(*words, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def container(home: Path) -> str:
    """The id of a container that waits for inputs."""
    staying.look.remote()
    [row] = containers(home, function="look")
    return str(row["container_id"])


def _command(home: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [VOLANT, *words], env=os.environ | {"VOLANT_HOME": str(home)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _processes_with(mark: str) -> list[int]:
    """Processes of this machine whose command line has a word of the test's own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue  # it has just ended
        if mark in words and "exec" not in words and "shell" not in words:
            found.append(int(path.parent.name))
    return found


# -- pipes


def test_out_and_err_come_apart_and_the_exit_code_is_the_commands(
    home: Path, container: str
) -> None:
    words = ("sh", "-c", "echo out; echo err >&2; echo $COLOUR; exit 7")
    run = run_volant("container", "exec", container, "--", *words, home=home)
    assert (run.returncode, run.stdout, run.stderr) == (7, "out\nblue\n", "err\n")


def test_a_signal_that_ends_a_command_is_told_as_a_shell_does(home: Path, container: str) -> None:
    run = run_volant("container", "exec", container, "sh", "-c", "kill -TERM $$", home=home)
    assert (run.returncode, run.stderr) == (128 + 15, "")


def test_bytes_pass_without_damage_both_ways(home: Path, container: str) -> None:
    data = bytes(range(256)) * (4 << 10) + os.urandom(1 << 20)
    run = _command(home, "container", "exec", container, "cat")
    out, err = run.communicate(data, timeout=60)
    assert same(out, data)
    assert (err, run.returncode) == (b"", 0)


def test_a_command_that_reads_nothing_ends_all_the_same(home: Path, container: str) -> None:
    run = _command(home, "container", "exec", container, "true")
    assert run.communicate(bytes(1 << 20), timeout=60) == (b"", b"")
    assert run.returncode == 0


def test_a_reader_that_goes_away_ends_the_command(home: Path, container: str) -> None:
    command = _command(home, "container", "exec", container, "--", "yes", "mark-of-yes")
    assert command.stdout is not None
    assert command.stdout.readline() == b"mark-of-yes\n"
    command.stdout.close()
    assert command.wait(60) == 141
    command.stdout = None
    command.communicate(timeout=60)
    eventually(lambda: not _processes_with("mark-of-yes"), within_s=10)


def test_what_is_not_there_is_named(home: Path, container: str) -> None:
    run = run_volant("container", "exec", container, "no-such-program", home=home)
    assert run.returncode == 127
    assert "cannot run `no-such-program`: there is no such program" in run.stderr
    run = run_volant("container", "exec", container[:-1], "true", home=home)
    assert (run.returncode, run.stdout) == (2, "")
    assert f"did you mean {container}?" in run.stderr


# -- terminals


def test_a_terminal_has_a_shell_with_its_size_and_kind(
    home: Path, container: str, terminal: Terminal
) -> None:
    shell = terminal("shell", container, home=home, TERM="xterm-256color", COLORTERM="truecolor")
    shell.read_until(PROMPT)
    shell.resize(33, 77)
    shell.press(b'until [ "$(stty size)" = "33 77" ]; do :; done\n')
    shell.read_until(r"done\r\n(.|\n)*" + PROMPT)
    shell.press(b"echo $TERM/$COLORTERM/$COLOUR; echo $0\n")
    shell.read_until(r"\r\n?xterm-256color/truecolor/blue\r\nbash\r\n(.|\n)*" + PROMPT)
    shell.press(b"exit 9\n")
    code, _ = shell.end()
    assert code == 9


def test_ctrl_c_goes_to_what_runs_in_the_shell(
    home: Path, container: str, terminal: Terminal
) -> None:
    shell = terminal("shell", container, home=home)
    shell.read_until(PROMPT)
    shell.press(WAITS)
    shell.read_until("begun")
    shell.press(b"\x03")
    shell.read_until(r"\^C(.|\n)*" + PROMPT)
    shell.press(b"echo code=$?.\n")
    shell.read_until(r"code=130\.(.|\n)*" + PROMPT)
    shell.press(b"\x04")
    assert shell.end()[0] == 0


def test_jobs_can_be_stopped(home: Path, container: str, terminal: Terminal) -> None:
    shell = terminal("shell", container, home=home)
    shell.read_until(PROMPT)
    shell.press(WAITS)
    shell.read_until("begun")
    shell.press(b"\x1a")
    shell.read_until(r"Stopped(.|\n)*" + PROMPT)


def test_the_local_terminal_is_left_as_it_was(
    home: Path, container: str, terminal: Terminal
) -> None:
    words = f"{VOLANT} container exec {container} true; stty -a | tr ' ;' '\\n\\n' | grep -x icanon"
    shell = terminal("-c", words, home=home, program=Path("/bin/sh"))
    assert shell.end() == (0, ["icanon", ""])


def test_without_pty_there_is_no_terminal_and_with_it_there_is(
    home: Path, container: str, terminal: Terminal
) -> None:
    asks = ("sh", "-c", "test -t 0 && echo yes || echo no")
    plain = terminal("container", "exec", "--no-pty", container, *asks, home=home)
    assert plain.end() == (0, ["no", ""])
    forced = run_volant("container", "exec", "--pty", container, *asks, home=home)
    assert (forced.returncode, forced.stdout) == (0, "yes\n")  # "\r\n", in text


# -- ends


@pytest.mark.parametrize("option", ["--pty", "--no-pty"])
def test_an_interrupt_is_passed_on(home: Path, container: str, option: str) -> None:
    """To all that the command runs, as on a terminal of its own."""
    words = ("sh", "-c", f"{WAITS.decode().strip()}; echo never", f"mark-of-interrupt{option}")
    run = _command(home, "container", "exec", option, container, "--", *words)
    assert run.stdout is not None
    assert run.stdout.readline().strip() == b"begun"
    run.send_signal(signal.SIGINT)
    assert b"never" not in run.communicate(timeout=60)[0]
    assert run.returncode == 130
    eventually(lambda: not _processes_with(words[-1]), within_s=10)


def test_a_command_may_treat_an_interrupt_and_go_on(home: Path, container: str) -> None:
    treats = "trap 'echo heard; exit 7' INT; echo begun; while :; do sleep 0.1; done"
    run = _command(home, "shell", container, "--cmd", f'sh -c "{treats}"')
    assert run.stdout is not None
    assert run.stdout.readline() == b"begun\n"
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=60) == (b"heard\n", b"")
    assert run.returncode == 7


def test_the_second_interrupt_ends_the_client(home: Path, container: str) -> None:
    deaf = "trap 'echo heard' INT; trap '' HUP; echo begun; while :; do sleep 0.1; done"
    mark = "mark-of-deaf"
    run = _command(home, "container", "exec", container, "--", "sh", "-c", deaf, mark)
    assert run.stdout is not None
    assert run.stdout.readline() == b"begun\n"
    run.send_signal(signal.SIGINT)
    assert run.stdout.readline() == b"heard\n"
    assert _processes_with(mark)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    eventually(lambda: not _processes_with(mark), within_s=10)
    assert staying.look.remote(), "the container is none the worse"


@pytest.mark.parametrize("options", [("--pty",), ("--no-pty",)])
def test_nothing_stays_of_a_client_that_was_killed(
    home: Path, container: str, options: tuple[str, ...]
) -> None:
    mark = f"mark-of{options[0]}"
    run = _command(home, "container", "exec", *options, container, "--", "sh", "-c", STUBBORN, mark)
    assert run.stdout is not None
    assert run.stdout.readline().strip() == b"begun"
    assert _processes_with(mark)
    run.kill()
    run.communicate()
    eventually(lambda: not _processes_with(mark), within_s=10)
    assert staying.look.remote(), "the container is none the worse"


def test_a_command_ends_with_its_container(home: Path, container: str) -> None:
    run = _command(home, "container", "exec", container, "--", "sh", "-c", STUBBORN, "mark-of-stop")
    assert run.stdout is not None
    assert run.stdout.readline() == b"begun\n"
    ask(home, "container_stop", container=container)
    out, complaint = run.communicate(timeout=60)
    assert (run.returncode, out) == (137, b"")
    assert complaint == b"volant: the command has ended with its container\n"
    eventually(lambda: not _processes_with("mark-of-stop"), within_s=10)


def test_a_container_with_a_command_is_not_idle(home: Path) -> None:
    """Its window begins when the command has ended."""
    staying.leave.remote()
    [row] = containers(home, function="leave")
    run = _command(home, "container", "exec", row["container_id"], "cat")
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write(b"begun\n")
    run.stdin.flush()
    assert run.stdout.readline() == b"begun\n"
    staying.leave_later.remote()
    eventually(lambda: not containers(home, function="leave_later"), within_s=30)
    assert is_running(home, row["container_id"])
    assert run.communicate(timeout=60) == (b"", b"")
    eventually(lambda: not containers(home, function="leave"), within_s=30)


def test_a_command_is_counted_to_its_container(home: Path) -> None:
    """And so held to its limits."""
    call = staying.stay.spawn()
    [row] = eventually(lambda: [r for r in containers(home, function="stay") if r["pid"]])
    if ask(home, "server_status")["cgroup"] == "none":
        pytest.skip("no cgroups here")
    run = _command(home, "container", "exec", row["container_id"], "--", "sh", "-c",
                   STUBBORN, "mark-of-group")  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.readline() == b"begun\n"
    pid = _processes_with("mark-of-group")[0]
    own = Path(f"/proc/{row['pid']}/cgroup").read_text()
    assert "volant" in own
    assert Path(f"/proc/{pid}/cgroup").read_text() == own
    run.kill()
    run.communicate()
    call.cancel(terminate_containers=True)


# -- rights


def test_a_command_has_the_rights_of_its_container_and_no_more(home: Path, container: str) -> None:
    own = staying.look.remote()
    run = run_volant("container", "exec", container, "cat", "/proc/self/status", home=home)
    fields = dict(line.split(":\t", 1) for line in run.stdout.splitlines())
    same = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
            "NoNewPrivs", "Seccomp", "Seccomp_filters")  # fmt: skip
    assert {name: fields[name].split() for name in same} == {n: own[n].split() for n in same}
    assert int(fields["CapEff"], 16) == 0


ATTEMPTS = """
import ctypes, errno, fcntl, os, sys, termios
libc = ctypes.CDLL(None, use_errno=True)
def tell(name, attempt):
    try: result = attempt()
    except OSError as error: result = errno.errorcode[error.errno]
    if result == -1: result = errno.errorcode[ctypes.get_errno()]
    print(name, result)
tell("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
tell("unshare", lambda: libc.unshare(0x10000000))
tell("setns", lambda: libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0))
tell("ptrace", lambda: libc.ptrace(16, 1, 0, 0))
tell("inject", lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"))
tell("shadow", lambda: open("/etc/shadow").read())
tell("home", lambda: open(sys.argv[1] + "/daemon.key").read())
"""


def test_attempts_to_get_out_are_refused(home: Path, container: str) -> None:
    rung = ask(home, "server_status")["rung"]
    run = run_volant("container", "exec", "--pty", container, "--", "python3", "-c", ATTEMPTS,
                     str(home), home=home)  # fmt: skip
    found = dict(line.split() for line in run.stdout.splitlines())
    refused = {"mount", "unshare", "setns", "ptrace", "inject"}
    assert {found[name] for name in refused - {"setns"}} == {"EPERM"}, run.stdout
    assert found["setns"] in {"EPERM", "EACCES"}
    wanted = {"ENOENT"} if rung == "container" else {"EACCES"}
    assert {found["shadow"], found["home"]} == wanted


def test_other_processes_of_the_host_are_not_seen(home: Path, container: str) -> None:
    if ask(home, "server_status")["rung"] != "container":
        pytest.skip("the rung `process` shows them")
    run = run_volant("container", "exec", container, "sh", "-c", "echo /proc/[0-9]*", home=home)
    assert len(run.stdout.split()) <= 5  # init, the container, a keeper, the shell
    assert str(daemon_pid(home)) not in run.stdout


def test_what_runs_in_a_container_can_be_signalled_from_beside_it(
    home: Path, container: str
) -> None:
    if ask(home, "server_status")["rung"] != "container":
        pytest.skip("Landlock keeps them apart there")
    pid = staying.look.remote()["pid"]
    run = run_volant("container", "exec", container, "kill", "-0", pid, home=home)
    assert (run.returncode, run.stderr) == (0, "")


def test_user_code_in_containers_cannot_run_commands_in_others(home: Path, container: str) -> None:
    from volantd.hub.requests import CONTAINER_HANDLERS

    assert not {"container_exec", "function_shell", "terminal_offer"} & set(CONTAINER_HANDLERS)


# -- fresh containers


def test_a_shell_of_a_function_has_its_image_variables_and_sources(home: Path) -> None:
    words = "sh -c 'echo $COLOUR; ls; python3 -c \"import volant; print(volant.is_local())\"'"
    run = run_volant("shell", APPS / "staying.py::look", "--cmd", words, home=home)
    assert run.returncode == 0, run.stderr
    colour, *names, is_local = run.stdout.splitlines()
    assert (colour, is_local) == ("blue", "False")
    assert "staying.py" in names


@pytest.mark.parametrize("reference", [(), (f"{APPS}/staying.py::look",)])
def test_a_shell_gets_local_files_variables_and_limits(
    home: Path, tmp_path: Path, reference: tuple[str, ...]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/deep.txt").write_text("deep\n")
    (tmp_path / "top.txt").write_text("top\n")
    given = ("--add-local", f"{tmp_path}/data", "--add-local", f"{tmp_path}/top.txt",
             "--secret-from-env", "SHELL_TOKEN", "--memory", "150", "--cpu", "0.5")  # fmt: skip
    words = ("--cmd", "sh -c 'cat data/deep.txt top.txt; echo $SHELL_TOKEN'")
    run = run_volant("shell", *reference, *given, *words, home=home, env={"SHELL_TOKEN": "s3"})
    assert (run.returncode, run.stdout) == (0, "deep\ntop\ns3\n"), run.stderr
    takes = "python3 -c 'bytearray(400 << 20)'"
    assert run_volant("shell", *reference, "--cmd", takes, home=home).returncode == 0
    run = run_volant("shell", *reference, "--memory", "150", "--cmd", takes, home=home)
    assert run.returncode in {1, 137}, "killed, or a MemoryError"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--volume", "v"), "`volant shell --volume` is not implemented yet"),
        (("--secret", "s"), "`volant shell --secret` is not implemented yet"),
        (("--gpu", "any"), "`volant shell --gpu` is not implemented yet"),
        (("--cpu", "0"), "invalid value for `--cpu`"),
        (("--memory", "0"), "invalid value for `--memory`"),
        (("--secret-from-env", "NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE is not set"),
        (("--add-local", "/no/such/path"), "there is no local file or directory /no/such/path"),
        (("--add-local", "/"), "/ has no name"),
        (
            (
                "--add-local",
                "src/volant/config.py",
                "--add-local",
                "src/volant/cli/commands/config.py",
            ),
            "would both be `config.py` in a container",
        ),
    ],
)
def test_what_a_shell_cannot_be_given_is_named(
    home: Path, words: tuple[str, ...], complaint: str
) -> None:
    run = run_volant("shell", *words, home=home)
    assert (run.returncode, run.stdout) == (2, "")
    assert complaint in run.stderr


@pytest.mark.parametrize("option", ["--cpu", "--memory", "--secret-from-env", "--add-local"])
def test_a_container_that_runs_is_given_nothing_more(
    home: Path, container: str, option: str
) -> None:
    run = run_volant("shell", container, option, "1", home=home)
    assert run.returncode == 2
    assert f"`{option}` is for a fresh container, and `{container}` runs already" in run.stderr


def test_a_fresh_container_is_listed_and_ends_with_its_shell(
    home: Path, terminal: Terminal
) -> None:
    shell = terminal("shell", home=home)
    shell.read_until(PROMPT)
    [row] = [row for row in containers(home) if row["state"] == "shell"]
    assert is_running(home, row["container_id"])
    shell.press(b"sleep 600 & exit 4\n")
    assert shell.end()[0] == 4
    eventually(lambda: not is_running(home, row["container_id"]), within_s=10)
    assert not [app for app in ask(home, "app_list")["apps"] if app["app_id"] == row["app_id"]
                and app["state"] != "stopped"]  # fmt: skip


def is_running(home: Path, container_id: str) -> bool:
    return container_id in [row["container_id"] for row in containers(home)]


def test_a_shell_ends_when_its_app_is_stopped(home: Path, terminal: Terminal) -> None:
    shell = terminal("shell", home=home)
    shell.read_until(PROMPT)
    [row] = [row for row in containers(home) if row["state"] == "shell"]
    ask(home, "app_stop", app=row["app_id"])
    assert shell.end()[0] == 137


def test_a_program_whose_import_fails_can_be_looked_into(home: Path, tmp_path: Path) -> None:
    source = """
import volant
app = volant.App("broken")
if not volant.is_local():
    raise RuntimeError("only there")
@app.function()
def f(): ...
"""
    program = program_file(tmp_path, source)
    run = run_volant("shell", program, "--cmd", "cat program.py", home=home)
    assert (run.returncode, run.stdout) == (0, source)


def test_a_shell_asks_which_function_is_meant(home: Path) -> None:
    run = run_volant("shell", APPS / "staying.py", home=home)
    assert run.returncode == 1
    assert f"volant shell {APPS}/staying.py::look" in run.stderr


def test_a_shell_in_a_container_by_its_id(home: Path, container: str) -> None:
    run = run_volant("shell", container, "--cmd", "sh -c 'echo $VOLANT_CONTAINER_ID'", home=home)
    assert run.stdout == f"{container}\n"


def test_an_image_that_is_not_there_is_refused(home: Path) -> None:
    run = run_volant("shell", "im-6f1c2a9be07d4412aa93ce", home=home)
    assert run.returncode in {2, 3}
    assert run.stderr.startswith("error: ")


@pytest.mark.parametrize("words", [("x.py", "--image", "y"), ("--add-python", "3.12")])
def test_options_that_do_not_belong_together_are_refused(
    home: Path, words: tuple[str, ...]
) -> None:
    run = run_volant("shell", *words, home=home)
    assert (run.returncode, run.stdout) == (2, "")
