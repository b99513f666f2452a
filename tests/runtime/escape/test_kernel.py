"""The kernel's doors: system calls, namespaces, sockets and devices that a container gets not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from volant.runner import linux, seccomp

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container

MACHINE = 0 if os.uname().machine == "x86_64" else 1
SYSCALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.syscall.argtypes = (ctypes.c_long,) * 7
def call(number, *arguments):
    code = libc.syscall(number, *arguments, *(0,) * (6 - len(arguments)))
    return 0 if code != -1 else ctypes.get_errno()
"""
#: CLONE_NEWTIME, which nothing of ours asks for.
NEW_TIME = 0x80
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
#: Those that this architecture has.
REFUSED = sorted(name for name, numbers in seccomp.REFUSED.items() if numbers[MACHINE] is not None)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_call_is_not_permitted(container: Container, name: str) -> None:
    number = seccomp.REFUSED[name][MACHINE]
    assert container.ask(f"{SYSCALL}\nresult = call({number})") == EPERM


@pytest.mark.parametrize("name", sorted(seccomp.ABSENT))
def test_an_absent_call_does_not_exist(container: Container, name: str) -> None:
    number = seccomp.ABSENT[name][MACHINE]
    assert container.ask(f"{SYSCALL}\nresult = call({number})") == ENOSYS


def test_calls_newer_than_our_table_do_not_exist(container: Container) -> None:
    numbers = [*range(seccomp.CEILING + 1, seccomp.CEILING + 40), 0x40000000, 0x40000000 + 165]
    answers = container.ask(f"{SYSCALL}\nresult = [call(n) for n in {numbers}]")
    assert set(answers) == {ENOSYS}


@pytest.mark.parametrize("flag", ["USER", "NS", "PID", "NET", "IPC", "UTS", "CGROUP", "TIME"])
def test_no_namespace_can_be_made(container: Container, flag: str) -> None:
    bits = NEW_TIME if flag == "TIME" else getattr(linux, f"CLONE_NEW{flag}")
    unshare = (272, 97)[MACHINE]
    assert container.ask(f"{SYSCALL}\nresult = call({unshare}, {bits})") == EPERM
    if flag != "TIME":
        clone = (56, 220)[MACHINE]
        code = f"{SYSCALL}\nresult = call({clone}, {bits} | 17)"
        assert container.ask(code) == EPERM


def test_the_own_user_namespace_gives_no_way_in(container: Container) -> None:
    """Its own namespaces are opened for real, so that nothing but the call itself is refused."""
    setns = seccomp.REFUSED["setns"][MACHINE]
    code = f"""{SYSCALL}
import os
result = []
for name in ("mnt", "user", "pid", "net"):
    fd = os.open("/proc/self/ns/" + name, os.O_RDONLY)
    result.append(call({setns}, fd, 0))
"""
    assert container.ask(code) == [EPERM] * 4
    with pytest.raises(Failed, match="Permission"):
        container.ask("open('/proc/self/uid_map', 'wb', buffering=0).write(b'0 0 4294967295')")


@pytest.mark.parametrize("family", [15, 17, 30, 38, 40, 44])  # KEY PACKET TIPC ALG VSOCK XDP
def test_odd_socket_families_are_refused(container: Container, family: int) -> None:
    code = f"import socket\ntry: socket.socket({family}, socket.SOCK_DGRAM)"
    answer = container.ask(code + "\nexcept OSError as error: result = error.errno")
    assert answer == EAFNOSUPPORT


def test_raw_sockets_are_refused(container: Container) -> None:
    with pytest.raises(Failed, match="PermissionError"):
        container.ask("import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)")


def test_terminals_cannot_be_written_into(container: Container) -> None:
    code = """
import fcntl, os, pty
leader, follower = os.openpty()
try: fcntl.ioctl(follower, 0x5412, b"x")
except OSError as error: result = error.errno
"""
    assert container.ask(code) == EPERM


def test_set_user_id_programs_gain_nothing(container: Container) -> None:
    code = """
import os, shutil, subprocess
shutil.copy("/usr/bin/id", "/tmp/id")
try: os.chmod("/tmp/id", 0o6755)
except PermissionError: pass  # as the filter has it
result = open("/proc/self/status").read().split("CapEff:")[1].split()[0]
mount = ["mount", "-t", "tmpfs", "none", "/mnt"]
result = result, subprocess.run(mount, capture_output=True).returncode
"""
    capabilities, code_of_mount = container.ask(code)
    assert capabilities == "0" * 16
    assert code_of_mount != 0


@pytest.mark.parametrize("kind", ["S_IFBLK", "S_IFCHR"])
def test_device_nodes_cannot_be_made(container: Container, kind: str) -> None:
    code = f"import os, stat; os.mknod('/tmp/disk', stat.{kind} | 0o666, os.makedev(254, 0))"
    with pytest.raises(Failed, match="PermissionError"):
        container.ask(code)


def test_only_harmless_devices_are_there(container: Container) -> None:
    found = set(container.ask("import os; result = os.listdir('/dev')"))
    assert found == {
        "null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "ptmx",
        "fd", "stdin", "stdout", "stderr",
    }  # fmt: skip
    with pytest.raises(Failed, match="Read-only"):
        container.ask("open('/dev/left-behind', 'w')")
