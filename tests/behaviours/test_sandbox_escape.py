"""Sandboxes try to get out: each of `tests.behaviours.escape`, in sandboxes as users make them.

The host looks after each attempt: canaries sing, the daemon is who it was, and a neighbour runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import volant
from tests import criu
from tests.behaviours.escape import attempts, files, kernel, network, processes, rights
from tests.behaviours.programs import at_home
from tests.support import daemon_pid, stop_daemon
from volant.config import RUNTIMES
from volant.runner import linux, seccomp

if TYPE_CHECKING:
    from collections.abc import Iterator

app = volant.App("escaping-sandboxes")
CANARY = "a canary that no sandbox may hear"
MODULES = (attempts, files, kernel, network, processes, rights)
PROGRAM = f"""
from tests.behaviours.escape import {", ".join(one.__name__.rpartition(".")[2] for one in MODULES)}
attempts.main()
"""
#: What of the network a sandbox has; of the addresses in the list there are none.
NETWORKS: dict[str, dict[str, Any]] = {
    "shared": {}, "listed": {"outbound_cidr_allowlist": ["198.51.100.0/24"]},
    "blocked": {"block_network": True},
}  # fmt: skip
#: Attempts that may come to something with some of these networks.
MAY_SUCCEED = {
    "loopback_of_the_host": ("shared",), "metadata": ("shared",),
    "devices_of_the_network": ("shared",),
    # What sandboxes send to the listener of theirs leaves their own network no more than this.
    "datagrams": ("shared", "listed"),
    "low_ports": ("listed", "blocked"),
}  # fmt: skip
#: Those that have to come to nothing without a network.
WITHOUT_NETWORK = [name for name in attempts.ATTEMPTS if "blocked" not in MAY_SUCCEED.get(name, ())]
#: What may come to something on a kernel of the sandbox's own, and why that leads nowhere.
ON_ITS_OWN_KERNEL = {
    "shared_files": "/dev, /proc and /sys are that kernel's, and nobody else has them",
    "mounts": "its list says that they can be written",
    "own_filter": "its /proc does not tell of all of it",
    "other_users": "it knows all ids, and no file can be given to those that are not of here",
    "forged_senders": "so may be senders, of whom nobody outside hears",
    "platform_as_another": "see those of root",
    "favour_the_platform": "its scheduler knows no priorities",
    "owners_of_the_machine": "/dev and /proc are that kernel's",
    "raise_limits": "its scheduler knows no priorities",
    "devices": "/dev/fuse is that kernel's, and needs a right that nobody has",
    "modes_of_devices": "they are that kernel's, as /dev is",
    "settings": "they are that kernel's",
    "kernel_files": "they are that kernel's, which does nothing when they are written",
    "sysfs": "it has directories of these names, with nothing of the machine",
    "memory_of_the_platform": "its auxiliary vector can be read, and its memory not",
    "environment_of_the_platform": "what the holder has of it is nothing of ours",
    "descriptors_of_the_platform": "their names can be read, and none opened but /dev/null",
    "own_program": "what is executed may be written there: in its own layer",
    "handed_down": "pipes of the machine have other names",
    "signal_init": "the holder is the init, and ends with all its sandbox: see the tests of harm",
}  # fmt: skip
#: Numbers of calls that are judged by more than their number.
JUDGED = {"clone": (56, 220), "unshare": (272, 97), "ioctl": (16, 29)}
NEIGHBOUR_LEAVES = """
import ctypes, socket, sys, time
for place in ("/tmp", "/root", "/dev/shm", "/var/tmp", "/opt"):
    open(place + "/of-neighbour", "w").write("mine")
library = ctypes.CDLL(None)
key = int(sys.argv[1])
assert -1 not in (library.shmget(key, 1, 0o1666), library.semget(key, 1, 0o1666))
assert library.msgget(key, 0o1666) != -1
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0" + sys.argv[2])
listener.listen()
print("left", flush=True)
sys.stdin.read()
"""


class Host(NamedTuple):
    """Whom the attempts are made against."""

    home: Path
    pid: int
    neighbour: volant.Sandbox
    facts: dict[str, Any]
    #: at a port of its loopback, and as abstract socket: nobody may come
    listeners: tuple[socket.socket, socket.socket]

    def assert_unharmed(self) -> None:
        """It is as it was."""
        assert [path for path in self.facts["canaries"] if Path(path).read_text() != CANARY] == []
        assert not any(map(os.path.exists, self.facts["written"]))
        assert daemon_pid(self.home) == self.pid
        assert fingerprint() == self.facts["programs"]
        for listener in self.listeners:
            with pytest.raises(BlockingIOError):
                listener.accept()
        assert self.neighbour.exec("cat", "/tmp/of-neighbour").stdout.read() == "mine"


def fingerprint() -> list[list[int]]:
    """What would tell of changes to programs and devices of the host."""
    found = []
    for path in ("/usr/bin/env", "/usr/bin", "/dev/null", "/dev/zero", "/etc"):
        status = os.stat(path)
        found.append([status.st_mode, status.st_uid, status.st_ino, int(status.st_mtime)])
    found[2][3] = found[3][3] = 0  # devices are written to
    return found


@contextlib.contextmanager
def _listening() -> Iterator[tuple[dict[str, Any], tuple[socket.socket, socket.socket]]]:
    """Sockets of the host that a sandbox must not reach, and shared memory."""
    name, key = f"volant-test-{os.getpid()}", secrets.randbelow(1 << 30) + 1
    library = ctypes.CDLL(None)
    shared = library.shmget(key + 1, 1, 0o1666)
    messages = ctypes.CDLL("librt.so.1")
    queue = messages.mq_open(f"/{name}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    assert -1 not in (shared, queue)
    os.close(queue)
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as abstract:
        port.bind(("127.0.0.1", 0))
        abstract.bind("\0" + name)
        for listener in (port, abstract):
            listener.listen()
            listener.setblocking(False)
        try:
            names = {
                "port": port.getsockname()[1], "abstract": [name, f"{name}-neighbour"],
                "ipc_keys": [key, key + 1], "queue": f"/{name}",
            }  # fmt: skip
            yield names, (port, abstract)
        finally:
            library.shmctl(shared, 0, None)
            messages.mq_unlink(f"/{name}".encode())


def _person(home: Path, volant_home: Path) -> dict[str, Any]:
    canaries = [home / ".ssh/id_rsa", home / ".netrc", volant_home / "canary", home / "work/notes"]
    for path in canaries:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(CANARY)
    name = f"volant-was-here-{os.getpid()}"
    machine = 0 if os.uname().machine == "x86_64" else 1
    tables = {**seccomp.REFUSED, **seccomp.ABSENT, **JUDGED}
    return {
        "canaries": [str(path) for path in canaries], "home": str(home),
        "socket": str(volant_home / "daemon.sock"), "network": os.readlink("/proc/self/ns/net"),
        "written": [f"{place}/{name}" for place in ("/tmp", "/etc", "/usr/bin", "/root", home)],
        "numbers": {call: numbers[machine] for call, numbers in tables.items()},
        "ceiling": seccomp.CEILING, "directories": [str(home), str(volant_home), str(home.parent)],
        "of_neighbour": [f"{place}/of-neighbour" for place in ("/tmp", "/root", "/dev/shm")],
        "programs": fingerprint(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def criu_path() -> str | None:
    """Where CRIU is; None for nowhere."""
    try:
        return criu.find() if os.geteuid() == 0 else None
    except criu.UnavailableError:
        return None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, criu_path: str | None) -> Iterator[Host]:
    """A home with private files, a daemon that was started in it, and a sandbox beside ours."""
    home = tmp_path_factory.mktemp("person")
    volant_home = home / ".volant"
    facts = _person(home, volant_home)
    try:
        here = {"HOME": str(home), "VOLANT_CRIU_PATH": criu_path or ""}
        with at_home(volant_home, **here), app.run(), _listening() as (names, listeners):
            facts.update(names)
            words = (str(facts["ipc_keys"][0]), facts["abstract"][1])
            neighbour = volant.Sandbox.create("python3", "-c", NEIGHBOUR_LEAVES, *words, app=app)
            assert next(iter(neighbour.stdout)) == "left\n"
            private = [*facts["canaries"], f"{volant_home}/daemon.key", f"{volant_home}/daemon.log"]
            facts["private"] = [*private, "/etc/shadow"]
            assert all(map(os.path.exists, facts["private"]))
            pid = daemon_pid(volant_home)
            assert pid is not None
            facts["key"] = (volant_home / "daemon.key").read_bytes().hex()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            facts["pids"] = [pid, os.getpid(), *map(int, children)]
            yield Host(volant_home, pid, neighbour, facts, listeners)
    finally:
        stop_daemon(volant_home)


def _filled(*words: str, **options: Any) -> volant.Sandbox:
    """A sandbox with the attempts in it."""
    sandbox = volant.Sandbox.create(*words, app=app, timeout=600, **options)
    _fill(sandbox)
    return sandbox


def _fill(sandbox: volant.Sandbox | volant.types.SidecarContainer) -> None:
    """Put the attempts into a container."""
    for module in MODULES:
        path = module.__name__.replace(".", "/")
        script = 'mkdir -p "$(dirname "$0")"; touch tests/__init__.py; cat > "$0"'
        writer = sandbox.exec("sh", "-c", f"cd /tmp; mkdir -p tests; {script}", f"{path}.py")
        writer.stdin.write(Path(str(module.__file__)).read_text())
        writer.stdin.write_eof()
        writer.stdin.drain()
        assert writer.wait() == 0, writer.stderr.read()


@pytest.fixture(scope="module", params=list(itertools.product(NETWORKS, RUNTIMES)), ids="-".join)
def sandbox(host: Host, request: pytest.FixtureRequest) -> Iterator[volant.Sandbox]:
    """One that shares the network of the machine, one that reaches few, and one without any."""
    has, runtime = request.param
    if runtime == "gvisor":
        request.getfixturevalue("runsc")
    tags = {"network": has, "runtime": runtime}
    made = _filled(**NETWORKS[has], runtime=runtime, tags=tags)
    yield made
    made.terminate(wait=True)


@pytest.mark.parametrize("name", list(attempts.ATTEMPTS))
def test_no_attempt_gets_anywhere(host: Host, sandbox: volant.Sandbox, name: str) -> None:
    """Issue 7, proof: what must hold is in the list."""
    has = sandbox.get_tags()["network"]
    if has in MAY_SUCCEED.get(name, ()):
        return
    if sandbox.get_tags()["runtime"] == "gvisor" and name in ON_ITS_OWN_KERNEL:
        return
    if name == "abstract_sockets" and has == "shared" and linux.landlock_abi() < 6:
        pytest.skip("abstract sockets are shared with the network before Landlock 6")
    env = {"HOST": json.dumps(host.facts), "PYTHONPATH": "/tmp"}
    command = sandbox.exec("python3", "-c", PROGRAM, name, env=env)
    said = command.stdout.read()
    assert (said, command.wait()) == (f"{attempts.HELD}\n", 0), command.stderr.read()
    host.assert_unharmed()


@pytest.fixture(scope="module")
def copy(host: Host, criu_path: str | None) -> Iterator[volant.Sandbox]:
    """A fork of a sandbox whose program makes attempts by their names."""
    if os.geteuid() != 0:
        pytest.skip("only root can copy processes")
    if criu_path is None:
        pytest.skip(criu.MISSING)
    env = {"HOST": json.dumps(host.facts), "PYTHONPATH": "/tmp", "PROGRAM": PROGRAM}
    script = 'while read -r name; do python3 -c "$PROGRAM" "$name" 2>&1; done'
    first = _filled("sh", "-c", script, block_network=True, env=env)
    made = first.fork()
    first.terminate(wait=True)
    yield made
    made.terminate(wait=True)


@pytest.mark.parametrize("name", WITHOUT_NETWORK)
def test_what_was_copied_gets_nowhere_either(host: Host, copy: volant.Sandbox, name: str) -> None:
    """Who makes the attempts was restored, and so has whatever it is held by from its images."""
    copy.stdin.write(f"{name}\n")
    copy.stdin.drain()
    assert next(iter(copy.stdout)) == f"{attempts.HELD}\n"
    host.assert_unharmed()


@pytest.fixture(scope="module")
def sidecar(host: Host) -> Iterator[volant.types.SidecarContainer]:
    """One whose sandbox has no network but theirs, and what no other container may find."""
    assert host.pid
    sandbox = volant.Sandbox.create(app=app, timeout=600, block_network=True)
    made = sandbox.sidecars.create(name="attacker")
    _fill(made)
    yield made
    sandbox.terminate(wait=True)


@pytest.mark.parametrize("name", WITHOUT_NETWORK)
def test_no_sidecar_gets_anywhere_either(
    host: Host, sidecar: volant.types.SidecarContainer, name: str
) -> None:
    env = {"HOST": json.dumps(host.facts), "PYTHONPATH": "/tmp"}
    command = sidecar.exec("python3", "-c", PROGRAM, name, env=env)
    said = command.stdout.read()
    assert (said, command.wait()) == (f"{attempts.HELD}\n", 0), command.stderr.read()
    host.assert_unharmed()


def test_there_are_at_least_sixty() -> None:
    """Issue 7, proof."""
    assert len(attempts.ATTEMPTS) >= 60
