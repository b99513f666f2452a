"""The process rung is no container, and still keeps what can be kept from user code."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed, Laboratory
from volant.runner import linux, seccomp
from volantd.runtime import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.laboratory import Container


@pytest.fixture(scope="module")
def process_lab(machine: probe.Probe) -> Iterator[Laboratory]:
    if not machine.landlock_abi:
        pytest.skip("this kernel has no Landlock: the process rung cannot keep files")
    laboratory = Laboratory("process")
    yield laboratory
    laboratory.close()


@pytest.fixture(scope="module")
def zygote(process_lab: Laboratory):
    return process_lab.zygote()


@pytest.fixture
def inside(process_lab: Laboratory, zygote) -> Iterator[Container]:
    forked = process_lab.fork(zygote)
    yield forked
    forked.end()


def test_private_files_cannot_be_read(inside: Container) -> None:
    secret = inside.lab.place / "secret"
    secret.write_text("x")
    for path in ("/etc/shadow", str(secret), str(Path.home() / ".profile"), "/run", "/var/log"):
        with pytest.raises(Failed, match=r"PermissionError|FileNotFoundError"):
            inside.ask(
                f"import os; os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r})"
            )


def test_nothing_outside_can_be_written(inside: Container) -> None:
    for place in ("/tmp", "/usr", "/etc", "/var/tmp", str(inside.lab.place), "/sys"):
        with pytest.raises(Failed, match=r"PermissionError|FileNotFoundError"):
            inside.ask(f"open({place!r} + '/volant-was-here', 'w')")
        assert not os.path.lexists(f"{place}/volant-was-here")


def test_sources_cannot_be_changed_for_others(process_lab: Laboratory) -> None:
    zygote = process_lab.bare_zygote()
    process_lab.prepare(zygote, "", [("a.txt", 0o644, b"a")])
    forked = process_lab.fork(zygote)
    assert forked.ask("result = open('a.txt').read()") == "a"
    with pytest.raises(Failed, match="PermissionError"):
        forked.ask("open('a.txt', 'w')")
    forked.end()
    process_lab.end(zygote)


def test_another_containers_files_cannot_be_reached(process_lab: Laboratory, zygote) -> None:
    first, second = process_lab.fork(zygote), process_lab.fork(zygote)
    path = first.ask("import os; open('mine', 'w').write('x'); result = os.path.abspath('mine')")
    with pytest.raises(Failed, match="PermissionError"):
        second.ask(f"open({path!r})")
    first.end()
    second.end()


def test_other_processes_cannot_be_signalled(inside: Container) -> None:
    if linux.landlock_abi() < 6:
        pytest.skip("signals are kept in from Landlock 6 on")
    for pid in (os.getpid(), inside.lab.launcher._process.pid, 1):
        with pytest.raises(Failed, match="PermissionError"):
            inside.ask(f"import os; os.kill({pid}, 0)")


@pytest.mark.parametrize("name", ["mount", "ptrace", "bpf", "setns", "keyctl", "init_module"])
def test_dangerous_calls_are_refused(inside: Container, name: str) -> None:
    number = seccomp.REFUSED[name][0 if os.uname().machine == "x86_64" else 1]
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall({number}, 0, 0, 0, 0, 0, 0), ctypes.get_errno()
"""
    assert inside.ask(code) == (-1, 1)


def test_shared_memory_and_terminals_of_others_are_out_of_reach(inside: Container) -> None:
    leader, follower = os.openpty()
    os.write(leader, b"a secret that is typed\n")
    shared = Path(f"/dev/shm/volant-test-{os.getpid()}")
    shared.write_text("a secret that is shared")
    try:
        for path in (os.ttyname(follower), str(shared), "/dev/ptmx"):
            for mode in ("rb", "r+b"):
                with pytest.raises(Failed, match="PermissionError"):
                    inside.ask(f"open({path!r}, {mode!r}, buffering=0)")
        for path in ("/dev/shm", "/dev/pts"):
            with pytest.raises(Failed, match="PermissionError"):
                inside.ask(f"import os; os.listdir({path!r})")
        with pytest.raises(Failed, match="PermissionError"):
            inside.ask(f"import os; os.unlink({str(shared)!r})")
    finally:
        shared.unlink()
        os.close(leader)
        os.close(follower)


def test_what_needs_shared_memory_or_terminals_says_so_and_the_rest_works(
    inside: Container,
) -> None:
    for code in (
        "import multiprocessing; multiprocessing.Lock()",
        "from multiprocessing.shared_memory import SharedMemory; SharedMemory(create=True, size=1)",
        "import os; os.openpty()",
    ):
        with pytest.raises(Failed, match="PermissionError"):
            inside.ask(code)
    code = """
import mmap, multiprocessing, os
ours, theirs = multiprocessing.Pipe()
shared = mmap.mmap(-1, 4096)
def work(): shared[0] = 7; theirs.send(42)
child = multiprocessing.get_context("fork").Process(target=work)
child.start(); child.join()
result = ours.recv(), shared[0], os.memfd_create("x") > 0
"""
    assert inside.ask(code) == (42, 7, True)


def test_owners_and_attributes_of_the_users_files_cannot_be_changed(
    process_lab: Laboratory, inside: Container
) -> None:
    theirs = process_lab.place / "theirs"
    theirs.write_text("x")
    for code in (
        f"os.chmod({str(theirs)!r}, 0o4755)",
        f"os.chown({str(theirs)!r}, -1, os.getegid() + 1)",
        f"os.setxattr({str(theirs)!r}, 'user.x', b'1')",
        f"os.removexattr({str(theirs)!r}, 'user.x')",
    ):
        with pytest.raises(Failed, match=r"PermissionError|Operation not supported"):
            inside.ask(f"import os; {code}")
    assert os.listxattr(theirs) == []
    theirs.chmod(0o4755)
    inside.ask(f"import os; os.chown({str(theirs)!r}, os.geteuid(), os.getegid())")
    assert theirs.stat().st_mode & 0o4000, "nothing was done to it"


def test_what_an_import_does_is_filtered_too(process_lab: Laboratory) -> None:
    theirs = process_lab.place / "program"
    theirs.write_text("x")
    zygote = process_lab.zygote(f"""
import os
try: os.chmod({str(theirs)!r}, 0o4755)
except PermissionError: pass
""")
    assert not theirs.stat().st_mode & 0o4000
    process_lab.end(zygote)


def test_a_blocked_network_has_no_internet_sockets(process_lab: Laboratory) -> None:
    zygote = process_lab.zygote(block_network=True)
    forked = process_lab.fork(zygote)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with pytest.raises(Failed, match="Address family"):
            forked.ask("import socket; socket.create_connection(('127.0.0.1', 1), 1)")
    forked.end()
    process_lab.end(zygote)


def test_the_probe_says_that_it_is_no_container(tmp_path: Path) -> None:
    """Probes in a fork that may not make namespaces, as on a locked-down host."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            linux.install_seccomp(seccomp.build())
            found = probe.probe(str(tmp_path))
            os.write(there, repr((found.rung, found.reasons)).encode())
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    assert "'process'" in text
    assert "no containers: " in text
    assert "unshare: Operation not permitted" in text
    assert "is not a container" in text


def test_the_probe_leaves_nothing_and_is_fast(tmp_path: Path) -> None:
    found = probe.probe(str(tmp_path))
    assert os.listdir(tmp_path) == []
    assert found.took_ms < 1000, "50 ms is the bar, which benchmarks hold; this catches a hang"
    assert probe.Probe.from_fields(found.as_fields()) == found
