"""Sandboxes use up what there is, break what holds them, or say what nobody should obey.

Whoever does so harms itself: its sandbox may end, and a neighbour, the daemon and the host go on.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import volant
from tests import gvisor
from tests.behaviours.programs import ask
from tests.behaviours.test_isolation import HARMLESS_DEVICES, listing
from tests.support import daemon_pid, eventually, run_volant
from tests.terminal import OnTerminal
from volant.errors import InvalidError
from volantd.agent.bare import PROCESSES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("harmful")
#: What a person's terminal would obey: a title, a clipboard, a question answered as if typed.
ESCAPES = ("\x1b]0;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b[6n", "\x1b[2J", "\x1bc", "\x9b6n")
#: The pid of the holder in a sandbox.
HOLDER = 1 if gvisor.default_runtime() == "gvisor" else 2
#: How long everything may be removed.
REMOVAL_WITHIN_S = 10
FORK_BOMB = """
import os, signal
count = 0
try:
    while count < 100_000:
        if os.fork() == 0:
            signal.pause()
        count += 1
except OSError:
    print(count, flush=True)
    os.read(0, 1)
"""
#: Small ones, each smaller than the holder, which end together.
CROWD = """
import os, signal
for _ in range(400):
    if os.fork() == 0:
        held = bytearray(b"x" * (1 << 20))
        signal.pause()
os.killpg(0, signal.SIGKILL)
"""
INOTIFY = """
import ctypes, os
library, count = ctypes.CDLL(None), 0
while count < 100_000 and library.inotify_init() != -1: count += 1
print(count, flush=True)
os.read(0, 1)
"""
DESCRIPTORS = """
import os
count = 0
try:
    while count < 10_000_000:
        os.dup(0)
        count += 1
except OSError:
    print(count, flush=True)
    os.read(0, 1)
"""
#: Deeper than any path, with directories that nobody may enter.
DEEP = """
import os
os.chdir("/var/tmp")
for index in range(3000):
    os.mkdir("d" * 200)
    if index % 100 == 0:
        os.mkdir("closed")
        os.mkdir("closed/inner")
        os.chmod("closed", 0)
    os.chdir("d" * 200)
"""


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with app.run():
        yield


@pytest.fixture(scope="module")
def neighbour(volant_home: Path) -> Iterator[volant.Sandbox]:
    """One that goes on, as the daemon does."""
    made = volant.Sandbox.create(app=app)
    pid = daemon_pid(volant_home)
    yield made
    assert daemon_pid(volant_home) == pid
    made.terminate(wait=True)


@pytest.fixture
def sandbox(neighbour: volant.Sandbox) -> Iterator[volant.Sandbox]:
    """One that a test may harm."""
    made = volant.Sandbox.create(app=app)
    yield made
    made.terminate(wait=True)
    assert neighbour.exec("true").wait() == 0


# -- what there is of everything


def _begin(sandbox: volant.Sandbox, code: str) -> int:
    """The number that a program prints first; it goes on."""
    return int(next(iter(sandbox.exec("python3", "-c", code).stdout)))


def test_a_fork_bomb_stops_at_its_limit(sandbox: volant.Sandbox, volant_home: Path) -> None:
    """Issue 7, proof: and the sandbox can be ended."""
    if ask(volant_home, "server_status")["cgroup"] == "none":
        pytest.skip("no limits by cgroup for this user")
    if gvisor.default_runtime() == "gvisor":
        pytest.skip("on gVisor it takes minutes until a fork bomb stops")
    assert 100 < _begin(sandbox, FORK_BOMB) < PROCESSES_MAX
    assert sandbox.exec("true").wait() in (0, 126), "it runs, or is refused; nobody waits"
    assert sandbox.terminate(wait=True) == 137


@pytest.mark.parametrize("place", ["", "/dev/shm/big"], ids=["own", "files"])
def test_a_memory_bomb_ends_alone(neighbour: volant.Sandbox, volant_home: Path, place: str) -> None:
    """Issue 7, proof."""
    if ask(volant_home, "server_status")["cgroup"] == "none":
        pytest.skip("no limits by cgroup for this user")
    bomb = volant.Sandbox.create(app=app, memory=(64, 128))
    code = "x = [bytearray(b'x' * (1 << 20)) for _ in range(400)]"
    if place:
        code = f"f = open({place!r}, 'wb', 0)\nfor _ in range(400): f.write(bytes(1 << 20))"
    ended = bomb.exec("python3", "-c", code).wait()
    # gVisor may refuse a program its memory ahead of being ended itself.
    assert ended == 137 or (ended == 1 and gvisor.default_runtime() == "gvisor")
    bomb.terminate(wait=True)
    assert neighbour.exec("true").wait() == 0


def test_a_crowd_that_uses_up_memory_does_not_end_its_sandbox(volant_home: Path) -> None:
    """Issue 7, proof: the kernel ends commands, and not what holds them."""
    if ask(volant_home, "server_status")["cgroup"] == "none":
        pytest.skip("no limits by cgroup for this user")
    if gvisor.default_runtime() == "gvisor":
        pytest.skip("on gVisor a sandbox ends when its memory is used up")
    sandbox = volant.Sandbox.create(app=app, memory=(64, 128), block_network=True)
    assert sandbox.exec("python3", "-c", CROWD).wait() == 137
    assert sandbox.exec("echo", "goes on").stdout.read() == "goes on\n"
    sandbox.terminate(wait=True)


def test_descriptors_have_a_limit(sandbox: volant.Sandbox) -> None:
    """Issue 7, proof."""
    assert _begin(sandbox, DESCRIPTORS) < 100_000
    assert sandbox.exec("true").wait() == 0


def test_what_is_counted_for_each_user_is_its_own(sandbox: volant.Sandbox) -> None:
    """Issue 7, proof: of instances of inotify this machine has a few for each user."""
    if os.geteuid() != 0:
        pytest.skip("what a normal user runs is counted as the user's")
    assert _begin(sandbox, INOTIFY) > 0
    library = ctypes.CDLL(None, use_errno=True)
    instance = library.inotify_init()
    assert instance >= 0, os.strerror(ctypes.get_errno())
    os.close(instance)
    other = volant.Sandbox.create(app=app, block_network=True)  # of another base
    assert _begin(other, INOTIFY) > 0


def test_what_is_printed_does_not_fill_the_disk(
    neighbour: volant.Sandbox, volant_home: Path
) -> None:
    """Issue 7, proof: of a ring and of a log there are only the ends."""
    script = "head -c 100000000 /dev/zero | tr '\\0' x; echo end"
    sandbox = volant.Sandbox.create("sh", "-c", script, app=app)
    assert sandbox.wait() == 0
    printed = sandbox.stdout.read()
    assert len(printed) <= 8 << 20
    assert printed.endswith("xend\n")
    logs = sum(path.stat().st_size for path in (volant_home / "logs").iterdir())
    assert logs < 64 << 20
    assert neighbour.exec("true").wait() == 0


def test_what_is_left_running_does_not_hold_the_daemon(neighbour: volant.Sandbox) -> None:
    """Issue 7, proof: it prints faster than anybody reads."""
    script = "for i in 1 2 3 4; do cat /dev/zero & done; exit 3"
    assert volant.Sandbox.create("sh", "-c", script, app=app).wait() == 3
    assert neighbour.exec("true").wait() == 0


def test_deep_and_closed_directories_are_removed(
    sandbox: volant.Sandbox, volant_home: Path
) -> None:
    """Issue 7, proof: nothing of them stays."""
    command = sandbox.exec("python3", "-c", DEEP)
    assert command.wait() == 0, command.stderr.read()
    assert _deep(volant_home), "it has looked in the wrong place"
    assert sandbox.terminate(wait=True) == 137
    eventually(lambda: not _deep(volant_home), within_s=30)


def _deep(volant_home: Path) -> list[Path]:
    """Where the first of the deep directories lies, below whatever it was moved to."""
    name, start, found = "d" * 200, str(volant_home / "run"), []
    for top, directories, _ in os.walk(start):
        found += [Path(top, name)] if name in directories else []
        if name in directories or top.count("/") > start.count("/") + 10:
            directories.clear()
    return found


# -- what holds it


@pytest.mark.parametrize("number", ["KILL", "TERM", "INT", "SEGV", "HUP"])
def test_who_ends_the_holder_ends_the_sandbox(neighbour: volant.Sandbox, number: str) -> None:
    """Issue 7, proof: and nothing else."""
    sandbox = volant.Sandbox.create(app=app)
    sandbox.exec("sh", "-c", f"sleep 1000 & kill -{number} {HOLDER}; kill -KILL {HOLDER}")
    assert sandbox.wait(raise_on_termination=False) == 137
    assert neighbour.exec("true").wait() == 0


def test_who_stops_the_holder_is_ended_with_the_next_that_has_to_end(
    neighbour: volant.Sandbox,
) -> None:
    """Issue 7, proof: a command that cannot be killed in time is killed with all there is."""
    sandbox = volant.Sandbox.create(app=app)
    assert sandbox.exec("true").wait() == 0  # it is up: some boot first, which takes longer
    sandbox.exec("sh", "-c", f"kill -STOP {HOLDER}; exec sleep 1000", timeout=0.2)
    assert sandbox.wait(raise_on_termination=False) == 137
    stopped = volant.Sandbox.create(app=app)
    command = stopped.exec("sh", "-c", f"kill -STOP {HOLDER}; echo x; exec sleep 1000")
    assert next(iter(command.stdout)) == "x\n"
    assert stopped.terminate(wait=True) == 137
    assert neighbour.exec("true").wait() == 0


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("echo", "\ud800"), {}),
        (("\ud800",), {}),
        (("true",), {"env": {"A": "\ud800"}}),
        (("true",), {"workdir": "/\ud800"}),
        (("true",), {"workdir": "/proc/1/cwd" if HOLDER != 1 else "/proc/1/exe"}),
        (("true",), {"workdir": "/" + "d" * 4000}),
        (("x" * 60_000,), {}),
        ((f"/proc/{HOLDER}/exe",), {}),
        (("/",), {}),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told(
    sandbox: volant.Sandbox, words: tuple[str, ...], options: dict
) -> None:
    """Issue 7, proof: and the sandbox goes on."""
    command = sandbox.exec(*words, **options)
    assert command.wait() in (126, 127)
    assert "cannot run" in command.stderr.read()
    assert sandbox.exec("true").wait() == 0


@pytest.mark.parametrize("workdir", ["/..", "/../../etc/..", "/proc/self/root", "/tmp/link"])
def test_wherever_it_works_is_inside(sandbox: volant.Sandbox, workdir: str) -> None:
    """Issue 7, proof."""
    assert sandbox.exec("ln", "-sfn", "/", "/tmp/link").wait() == 0
    sandbox.exec("touch", "/mark-of-the-root").wait()
    found = sandbox.exec("sh", "-c", "ls $PWD && ls ./", workdir=workdir).stdout.read()
    assert "mark-of-the-root" in found
    assert not os.path.exists("/mark-of-the-root")


def test_variables_change_the_command_alone(sandbox: volant.Sandbox) -> None:
    """Issue 7, proof: those by which a loader or an interpreter is told what to run."""
    env = {"LD_PRELOAD": "/tmp/x.so", "PATH": "/tmp", "PYTHONPATH": "/tmp", "IFS": "/", "HOME": "/"}
    assert sandbox.exec("true", env=env).wait() == 127
    assert sandbox.exec("/bin/sh", "-c", "exit 4", env=env).wait() == 4
    assert sandbox.exec("true").wait() == 0
    with pytest.raises(InvalidError):
        sandbox.exec("true", env={"A=B": "x"})


# -- what it says


def test_a_terminal_does_not_obey_what_is_shown_of_a_sandbox(volant_home: Path) -> None:
    """Issue 7, proof: the log on a terminal, and the list; colours stay, and bytes in a pipe."""
    said = "\x1b[31mred\x1b[0m ".join(("", *ESCAPES, "end"))
    words = ("sh", "-c", 'printf %s "$0"; printf "\\302"; printf "\\2336n"', said)
    with volant.App("saying").run() as running:
        sandbox = volant.Sandbox.create(*words, app=running)
        assert sandbox.wait() == 0
    for options in ((), ("--follow",)):
        shown = OnTerminal("sandbox", "logs", sandbox.object_id, *options, home=volant_home)
        try:
            shown.read_until("")
        finally:
            shown.kill()
        assert "\x1b[31mred\x1b[0m" in shown.written
        assert "^[]0;owned^G" in shown.written
        assert not [one for one in ESCAPES if one in shown.written]
        assert "\x9b" not in shown.written
    piped = run_volant("sandbox", "logs", sandbox.object_id, home=volant_home)
    assert "\x1b]0;owned\x07" in piped.stdout
    listed = run_volant("sandbox", "list", "--all", home=volant_home)
    assert "\x1b" not in listed.stdout


def test_names_of_programs_are_shown_without_what_a_terminal_obeys(volant_home: Path) -> None:
    """Issue 7, proof."""
    volant.Sandbox.create("true", "\x1b]0;owned\x07\nsb-not", app=app).wait()
    listed = run_volant("sandbox", "list", "--all", home=volant_home)
    assert "true ^[]0;owned^G^Jsb-not" in listed.stdout


# -- all there is


def _assert_throw_away(sandbox: volant.Sandbox) -> None:
    """Harmless probes from inside: namespaces of its own, and no mount that reaches the host."""
    for name in ("mnt", "pid", "user"):
        inside = sandbox.exec("readlink", f"/proc/self/ns/{name}").stdout.read().strip()
        assert inside not in ("", os.readlink(f"/proc/self/ns/{name}")), f"not isolated: {name}"
    for mount in sandbox.exec("cat", "/proc/self/mountinfo").stdout.read().splitlines():
        before, _, after = mount.partition(" - ")
        kind, options = after.split()[0], before.split()[5].split(",")
        harmless = kind in {"overlay", "tmpfs", "proc", "devpts"} or "ro" in options
        harmless = harmless or gvisor.default_runtime() == "gvisor"  # mounts of its own kernel
        harmless = harmless or (kind == "devtmpfs" and before.split()[4] in HARMLESS_DEVICES)
        assert harmless, f"not isolated: {mount}"
    name = f"volant-was-here-{os.getpid()}"
    for place in ("/etc", "/root", "/tmp", "/usr/bin"):
        sandbox.exec("touch", f"{place}/{name}").wait()
        assert not os.path.lexists(f"{place}/{name}"), "not isolated"


@pytest.mark.slow
def test_removing_everything_harms_nobody(
    sandbox: volant.Sandbox, neighbour: volant.Sandbox
) -> None:
    """Issue 7, proof: `rm -rf --no-preserve-root /` empties a root that is thrown away."""
    _assert_throw_away(sandbox)
    places = ["/usr/bin", "/usr/sbin", "/etc", sys.base_prefix, str(Path(__file__).parent)]
    before = listing(*places), os.listdir("/"), os.listdir("/usr")
    words = ("rm", "-rf", "--no-preserve-root", "/etc", "/usr/bin", "/tmp", "/root", "/")
    sandbox.exec(*words, timeout=REMOVAL_WITHIN_S).wait()
    if os.geteuid() == 0:
        assert sandbox.exec("rm", "--version").wait() in (126, 127), "it did remove what it saw"
    assert (listing(*places), os.listdir("/"), os.listdir("/usr")) == before
    assert neighbour.exec("ls", "/usr/bin").wait() == 0
    assert shutil.which("rm")
