"""Functions try to get out through a daemon as users run it; each attempt must fail.

The attempts are harmless by their arguments even if isolation failed, and what they are after are
canaries in a home directory of the test's own. The one that is not harmless (`rm -rf /`) follows
in its test on probes from inside that have shown its root to be a throw-away one.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.behaviours.apps import escaping
from tests.behaviours.programs import ask, at_home, containers
from tests.support import daemon_pid, stop_daemon
from volant.errors import InternalFailure
from volant.runner import seccomp
from volantd.agent.bare import PROCESSES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "a canary that no container may hear"
#: How long everything may be removed.
REMOVAL_WITHIN_S = 10
#: What a machine call may do in a container; each is refused.
CALLS = ("mount", "umount2", "pivot_root", "chroot", "setns", "ptrace", "process_vm_readv",
         "init_module", "finit_module", "delete_module", "kexec_load", "bpf", "reboot")  # fmt: skip


class Person(NamedTuple):
    """Somebody whose functions turned bad."""

    home: Path
    volant_home: Path
    canaries: list[Path]

    def assert_unharmed(self) -> None:
        """Every canary sings, and the daemon is who it was."""
        assert [path for path in self.canaries if path.read_text() != CANARY] == []
        assert daemon_pid(self.volant_home) is not None


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A home with private files, and a daemon that was started in it; its functions run here."""
    home = tmp_path_factory.mktemp("person")
    volant_home = home / ".volant"
    canaries = [home / ".ssh/id_rsa", home / ".netrc", volant_home / "canary", home / "work/notes"]
    for path in canaries:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(CANARY)
    try:
        with at_home(volant_home, HOME=str(home)), escaping.app.run():
            assert escaping.alive.remote()  # so that the rung is chosen
            if ask(volant_home, "server_status")["rung"] != "container":
                pytest.skip("no containers on this machine")
            yield Person(home, volant_home, canaries)
    finally:
        stop_daemon(volant_home)


def test_private_files_cannot_be_read(person: Person) -> None:
    """Issue 2, isolation: each of them is there on the host, and does not exist inside."""
    private = [*person.canaries, person.volant_home / "daemon.key", Path("/etc/shadow"),
               person.volant_home / "daemon.log", person.volant_home / "daemon.sock"]  # fmt: skip
    assert all(path.exists() for path in private)
    wanted = [str(path) for path in private]
    assert escaping.read.remote(wanted) == dict.fromkeys(wanted, "ENOENT")
    around = [path.replace("/", "/proc/1/root/", 1) for path in wanted]
    assert set(escaping.read.remote(around).values()) <= {"ENOENT", "EACCES"}


def test_private_directories_cannot_be_listed(person: Person) -> None:
    """Issue 2, isolation: of the home directories, not even the names."""
    inside = [person.home, person.volant_home, person.volant_home / "run", person.home.parent]
    assert all(path.is_dir() for path in inside)
    assert escaping.list_names.remote([str(path) for path in inside]) == {}
    assert escaping.list_names.remote(["/home", "/run"]) == {"/home": [], "/run": []}


def test_no_canary_is_anywhere_in_the_tree(person: Person) -> None:
    """Issue 2, isolation: whatever a container can walk to is searched for names and contents."""
    names = ["id_rsa", "daemon.key", "daemon.sock", "daemon.log", "canary"]
    found, seen = escaping.find.remote(names, CANARY)
    own = {f"/root/{Path(escaping.__file__).relative_to(Path(__file__).parents[2])}"}
    assert set(found) <= own
    assert seen > 1000, "it looked nowhere"


def test_the_daemon_cannot_be_connected_to(person: Person) -> None:
    """Issue 2, isolation: its socket is no part of what a container sees."""
    path = person.volant_home / "daemon.sock"
    assert path.is_socket()
    assert escaping.connect.remote([str(path)]) == {str(path): "ENOENT"}


def test_processes_of_the_host_are_neither_seen_nor_signalled(person: Person) -> None:
    """Issue 2, isolation: not the daemon, not its launcher, not these tests."""
    daemon = daemon_pid(person.volant_home)
    assert daemon is not None
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    pids = [daemon, os.getpid(), *map(int, children)]
    assert escaping.probe_signal.remote(pids) == {"ESRCH"}
    seen = escaping.processes.remote()
    assert 1 <= len(seen) <= 2, seen
    assert not any("volantd\0--ready-fd" in line or "pytest" in line for line in seen)


def test_files_of_the_host_cannot_be_written(person: Person) -> None:
    """Issue 2, isolation: what is written at their paths stays inside, or is refused."""
    name = f"volant-was-here-{os.getpid()}"
    places = [person.home, person.volant_home, *map(Path, ("/tmp", "/etc", "/usr/bin", "/root"))]
    before = {path: path.stat().st_mtime_ns for path in places[2:]}
    wanted = [*(str(place / name) for place in places), *map(str, person.canaries)]
    outcomes = escaping.write.remote(wanted)
    assert outcomes[f"/etc/{name}"] == "done", "its own copy it may change"
    assert not any(os.path.exists(place / name) for place in places)
    assert Path("/etc").stat().st_mtime_ns == before[Path("/etc")]
    person.assert_unharmed()


def test_doors_of_the_kernel_are_shut(person: Person) -> None:
    """Issue 2, isolation: mounting, tracing, loading modules and their kin."""
    machine = 0 if os.uname().machine == "x86_64" else 1
    numbers = {name: seccomp.REFUSED[name][machine] for name in CALLS}
    assert escaping.system_calls.remote(numbers) == dict.fromkeys(CALLS, "EPERM")


def test_another_containers_files_are_not_reachable(person: Person) -> None:
    """Issue 2, isolation: both live at the same time, and each has its own of everything."""
    name = f"mine-{os.getpid()}"
    first, there = escaping.leave_files.remote(name)
    assert there == list(escaping.PLACES)
    second, seen = escaping.look_for_files.remote(name)
    assert first != second
    assert {first, second} <= {row["container_id"] for row in containers(person.volant_home)}
    assert seen == []


def test_processes_have_a_limit(person: Person) -> None:
    """Issue 2, isolation: the product's own, which nobody asked for; others are not troubled."""
    count = escaping.start_threads.remote(PROCESSES_MAX + 100)
    assert 0.9 * PROCESSES_MAX < count < PROCESSES_MAX
    assert escaping.alive.remote()


@pytest.mark.parametrize("place", ["", "/dev/shm/big"], ids=["own", "files"])
def test_memory_has_a_limit(person: Person, place: str) -> None:
    """Issue 2, isolation: its container alone is ended, by name; others go on."""
    if ask(person.volant_home, "server_status")["cgroup"] == "none":
        pytest.skip("no limits by cgroup for this user")
    assert escaping.use_memory.remote("", 32) == 32 << 20
    with pytest.raises(InternalFailure, match=r"ran out of memory \(limit 128 MiB"):
        escaping.use_memory.remote(place, 200)
    assert escaping.alive.remote()
    person.assert_unharmed()


def listing(*places: str) -> dict[str, tuple[int, int, int]]:
    found = {}
    for place in places:
        for directory, _, names in os.walk(place):
            for name in names:
                path = os.path.join(directory, name)
                if "__pycache__" not in path:
                    info = os.lstat(path)
                    found[path] = (info.st_mode, info.st_size, info.st_mtime_ns)
    return found


HARMLESS_DEVICES = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}


def assert_throw_away(person: Person) -> None:
    """Harmless probes from inside: namespaces of its own, and no mount that reaches the host."""
    inside = escaping.namespaces.remote()
    for name in ("mnt", "pid", "user"):
        assert inside[name] != os.readlink(f"/proc/self/ns/{name}"), f"not isolated: {name}"
    for mount in escaping.mounts.remote():
        before, _, after = mount.partition(" - ")
        kind, options = after.split()[0], before.split()[5].split(",")
        harmless = kind in {"overlay", "tmpfs", "proc", "devpts"} or "ro" in options
        # Who may make no device nodes binds the host's, one by one; root's, and no way to a file.
        harmless = harmless or (kind == "devtmpfs" and before.split()[4] in HARMLESS_DEVICES)
        assert harmless, f"not isolated: {mount}"
    name = f"volant-was-here-{os.getpid()}"
    for place in ("/etc", "/root", "/tmp", "/usr/bin"):
        escaping.write.remote([f"{place}/{name}"])
        assert not os.path.lexists(f"{place}/{name}"), "not isolated"
    wanted = [str(path) for path in person.canaries]
    assert set(escaping.read.remote(wanted).values()) == {"ENOENT"}, "not isolated"


@pytest.mark.slow
def test_removing_everything_harms_nobody(person: Person) -> None:
    """Issue 2, isolation: `rm -rf --no-preserve-root /` empties a root that is thrown away."""
    assert_throw_away(person)
    places = ["/usr/bin", "/usr/sbin", "/etc", sys.base_prefix, str(person.home / "work"),
              str(Path(escaping.__file__).parent), str(person.home / ".ssh")]  # fmt: skip
    before = listing(*places), os.listdir("/"), os.listdir("/usr")
    removed = escaping.remove_everything.remote(REMOVAL_WITHIN_S)
    assert removed or os.geteuid() != 0, "it did remove what it saw"
    assert (listing(*places), os.listdir("/"), os.listdir("/usr")) == before
    person.assert_unharmed()
    assert escaping.alive.remote()
    victim = next(row for row in containers(person.volant_home, function="remove_everything"))
    os.kill(victim["pid"], signal.SIGKILL)
