"""Code in a container tries to get out, or at the host; each attempt must fail.

The attempts are harmless by their arguments even if isolation failed. The one that is not
(`rm -rf`) runs last in its test, after that test has proven the isolation from inside.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from volant.runner import linux, seccomp
from volantd.runtime import cgroup as cgroups
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote

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
#: How long everything may be removed, in the test that does so.
REMOVAL_WITHIN_S = 15
EPERM, ENOENT, ENOSYS, EAFNOSUPPORT = 1, 2, 38, 97


@pytest.fixture(scope="module")
def zygote(container_lab: Laboratory) -> Zygote:
    return container_lab.zygote("import multiprocessing")


@pytest.fixture
def container(container_lab: Laboratory, zygote: Zygote) -> Iterator[Container]:
    forked = container_lab.fork(zygote, {"file_size_bytes": 8 << 20})
    yield forked
    forked.end()


@pytest.fixture
def other(container_lab: Laboratory, zygote: Zygote) -> Iterator[Container]:
    forked = container_lab.fork(zygote)
    yield forked
    forked.end()


# -- the kernel's doors


@pytest.mark.parametrize("name", sorted(seccomp.REFUSED))
def test_a_refused_call_is_not_permitted(container: Container, name: str) -> None:
    number = seccomp.REFUSED[name][MACHINE]
    if number is None:
        pytest.skip("this architecture has no such call")
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
    bits = getattr(linux, f"CLONE_NEW{flag}")
    unshare = (272, 97)[MACHINE]
    assert container.ask(f"{SYSCALL}\nresult = call({unshare}, {bits})") == EPERM
    if flag != "TIME":
        clone = (56, 220)[MACHINE]
        code = f"{SYSCALL}\nresult = call({clone}, {bits} | 17)"
        assert container.ask(code) == EPERM


def test_the_own_user_namespace_gives_no_way_in(container: Container) -> None:
    code = "import os\ntry: os.open('/proc/1/ns/mnt', os.O_RDONLY)\nexcept OSError: result = 'no'"
    opened = container.ask(code + "\nelse: result = 'opened'")
    assert opened in {"no", "opened"}  # seeing it is harmless, setns is refused (above)
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
shutil.copy("/usr/bin/id", "/tmp/id"); os.chmod("/tmp/id", 0o6755)
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


# -- processes


def test_other_processes_are_neither_seen_nor_reached(
    container: Container, other: Container
) -> None:
    pids = container.ask("import os; result = [int(n) for n in os.listdir('/proc') if n.isdigit()]")
    assert sorted(pids) == [1, 2]
    for pid in (os.getpid(), other.forked.pid, container.lab.launcher._process.pid):
        with pytest.raises(Failed, match="ProcessLookupError"):
            container.ask(f"import os; os.kill({pid}, 0)")


def test_killing_everyone_kills_only_oneself(
    container_lab: Laboratory, zygote: Zygote, other: Container
) -> None:
    forked = container_lab.fork(zygote)
    inside = forked.ask("import os; result = os.readlink('/proc/self/ns/pid')")
    assert inside != os.readlink("/proc/self/ns/pid"), "not isolated: the rest must not run"
    everyone = "import os\ntry: os.kill(-1, 9)\nexcept (ProcessLookupError, PermissionError): pass"
    forked.ask(everyone)  # the kernel spares the caller
    with pytest.raises(ConnectionResetError):
        forked.ask("import os, signal; os.killpg(0, signal.SIGKILL)")
    assert forked.wait() == signal.SIGKILL
    assert other.ask("result = 'alive'") == "alive"


def test_the_init_of_a_cell_cannot_be_taken_over(container: Container) -> None:
    for number in (9, 15):
        container.ask(f"import os\ntry: os.kill(1, {number})\nexcept PermissionError: pass")
    assert container.ask("import os; result = os.path.exists('/proc/1')")
    answer = container.ask("""
try:
    memory = open("/proc/1/mem", "r+b", buffering=0)
    result = "opened"
except OSError as error:
    result = type(error).__name__
""")
    if linux.landlock_abi() >= 6:
        assert answer == "PermissionError"


# -- files


def test_what_is_not_on_the_list_is_not_there(container: Container) -> None:
    home = Path.home()
    wanted = [
        "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private", "/etc/sudoers",
        "/etc/machine-id", str(home / ".ssh"), str(home / ".bash_history"), "/boot",
        str(container.lab.place / "runs"), str(container.lab.runs_dir),
        "/run/docker.sock", "/var/run/docker.sock", "/sys/fs/cgroup", "/sys/kernel", "/proc/kcore2",
    ]  # fmt: skip
    found = container.ask(f"import os; result = [p for p in {wanted} if os.path.lexists(p)]")
    assert found == []
    for empty in ("/home", "/run", "/mnt", "/var/log", "/.volant/scratch", "/.volant/base"):
        assert container.ask(f"import os; result = os.listdir({empty!r})") == []
    assert container.ask("result = open('/etc/passwd').read().count('\\n')") == 2


def test_a_secret_of_the_host_is_nowhere_in_the_tree(container: Container) -> None:
    """Looks at every directory a container has for a file that lies beside our state."""
    secret = container.lab.place / "secret-of-the-host"
    secret.write_text("secret")
    code = """
import os
result = []
for top, names, files in os.walk("/"):
    names[:] = [name for name in names if (top, name) not in {("/", "proc"), ("/", "usr")}]
    result += [os.path.join(top, name) for name in files if name == "secret-of-the-host"]
"""
    assert container.ask(code) == []


def test_writes_stay_inside(container: Container, other: Container) -> None:
    """Every tree may be written (or refuses to be), and neither host nor neighbour sees it."""
    places = ["/usr/bin", "/usr/lib", "/etc", "/tmp", "/root", "/", "/opt", sys.prefix]
    code = f"""
result = []
for place in {places}:
    try: open(place + "/volant-was-here", "w").write("x"); result.append(place)
    except OSError: pass
"""
    written = container.ask(code)
    assert {"/etc", "/tmp", "/root", "/", "/opt"} <= set(written)
    if os.geteuid() == 0:
        assert set(written) == set(places)
    for place in places:
        assert not os.path.lexists(f"{place}/volant-was-here")
    seen = f"import os; result = [p for p in {places} if os.path.lexists(p + '/volant-was-here')]"
    assert other.ask(seen) == []


def test_what_containers_share_cannot_be_written(container: Container) -> None:
    for path in (
        "/.volant/sdk/volant/x", "/.volant/sdk/cloudpickle/x", "/sys/devices/system/x",
        "/etc/ssl/certs/x", "/etc/alternatives/x",
    ):  # fmt: skip
        with pytest.raises(Failed, match=r"Read-only|FileNotFound|Permission"):
            container.ask(f"open({path!r}, 'w')")


def test_a_file_of_the_host_can_be_changed_only_in_a_copy(container: Container) -> None:
    if os.geteuid() != 0:
        pytest.skip("without root, trees of other owners are read-only")
    before = Path("/usr/bin/env").stat()
    container.ask("open('/usr/bin/env', 'ab').write(b'changed')")
    assert container.ask("result = open('/usr/bin/env', 'rb').read()[-7:]") == b"changed"
    container.ask("import os; os.chmod('/usr/bin', 0)")
    assert Path("/usr/bin/env").stat() == before
    assert Path("/usr/bin").stat().st_mode & 0o777 != 0


def test_kernel_settings_cannot_be_written(container: Container) -> None:
    """Opens every setting for writing and writes none of them."""
    code = """
import os
result = []
for top in ("/proc/sys", "/proc/irq", "/proc/fs", "/proc/bus", "/proc/acpi", "/proc/scsi", "/sys"):
    for directory, names, files in os.walk(top):
        for name in files:
            path = os.path.join(directory, name)
            try: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError: continue
            result.append(path)
for path in ("/proc/sysrq-trigger", "/proc/kcore", "/proc/kmsg", "/proc/timer_list"):
    try: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError: continue
    result.append(path)
"""
    own = ("/proc/sys/kernel/shm", "/proc/sys/kernel/msg", "/proc/sys/kernel/sem",
           "/proc/sys/kernel/auto_msgmni", "/proc/sys/fs/mqueue/", "/proc/sys/user/",
           "/proc/sys/kernel/pid_max", "/proc/sys/kernel/ns_last_pid")  # fmt: skip
    opened = [path for path in container.ask(code) if not path.startswith(own)]
    assert opened == [], "those of our own ipc, pid and user namespaces are ours to set"


def test_roads_through_proc_lead_nowhere(container: Container) -> None:
    code = """
import os
result = []
for road in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/..", "/../../.."):
    try: result.append(sorted(os.listdir(road)) == sorted(os.listdir("/")))
    except PermissionError: result.append(True)
"""
    assert all(container.ask(code))


def test_memory_shared_by_name_is_not_shared_with_others(
    container: Container, other: Container
) -> None:
    container.ask("open('/dev/shm/mine', 'w').write('x')")
    assert other.ask("import os; result = os.listdir('/dev/shm')") == []


# -- the network, the daemon


def test_sockets_of_the_host_are_out_of_reach(container: Container) -> None:
    path = container.lab.place / "daemon.sock"
    name = f"\0volant-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as by_path, socket.socket(socket.AF_UNIX) as by_name:
        by_path.bind(str(path))
        by_path.listen()
        by_name.bind(name)
        by_name.listen()
        code = "import socket; socket.socket(socket.AF_UNIX).connect({!r})"
        with pytest.raises(Failed, match="FileNotFoundError"):
            container.ask(code.format(str(path)))
        if linux.landlock_abi() < 6:
            pytest.skip("abstract sockets are shared with the network before Landlock 6")
        with pytest.raises(Failed, match="PermissionError"):
            container.ask(code.format(name))


def test_a_blocked_network_is_only_its_own_loopback(container_lab: Laboratory) -> None:
    zygote = container_lab.zygote(block_network=True)
    forked = container_lab.fork(zygote)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert forked.ask("import socket; result = socket.if_nameindex()") == [(1, "lo")]
        with pytest.raises(Failed, match="ConnectionRefused"):
            forked.ask(f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)")
    code = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listener.getsockname(), 5)
result = listener.accept()[1][0]
"""
    assert forked.ask(code) == "127.0.0.1", "its own loopback is up"
    forked.end()
    container_lab.end(zygote)


# -- exhaustion


@pytest.fixture
def seated(container_lab: Laboratory) -> Iterator[Zygote]:
    """A zygote whose containers have cgroups."""
    try:
        groups = cgroups.Cgroups.open(f"test-{os.getpid()}")
    except cgroups.CgroupUnavailableError as error:
        pytest.skip(str(error))
    zygote = container_lab.zygote(leaves=Leaves(groups.create))
    yield zygote
    container_lab.end(zygote)
    groups.remove_all()


def test_a_memory_bomb_ends_itself_alone(
    container_lab: Laboratory, seated: Zygote, other: Container
) -> None:
    bomb, group = container_lab.fork_limited(seated, cgroups.Limits(memory_bytes=64 << 20))
    with pytest.raises(ConnectionResetError):
        bomb.ask("kept = [bytearray(1 << 20) for _ in range(4096)]")
    assert bomb.wait() == signal.SIGKILL
    assert group.oom_kill_count() == 1
    assert group.peak_memory_bytes() > 32 << 20
    assert other.ask("result = 'alive'") == "alive"
    assert group.remove()


def test_shared_memory_counts_as_memory(container_lab: Laboratory, seated: Zygote) -> None:
    bomb, group = container_lab.fork_limited(seated, cgroups.Limits(memory_bytes=64 << 20))
    code = "file = open('/dev/shm/big', 'wb')\nfor _ in range(512): file.write(bytes(1 << 20))"
    with pytest.raises(ConnectionResetError):
        bomb.ask(code)
    assert bomb.wait() == signal.SIGKILL
    assert group.oom_kill_count() >= 1


def test_a_fork_bomb_stops_at_its_limit(
    container_lab: Laboratory, seated: Zygote, other: Container
) -> None:
    bomb, group = container_lab.fork_limited(seated, cgroups.Limits(process_count=32))
    code = """
import os, signal
result = 0
try:
    while result < 500:
        if os.fork() == 0:
            signal.pause()
            os._exit(0)
        result += 1
except OSError:
    pass
"""
    assert bomb.ask(code) < 32
    assert other.ask("import os; pid = os.fork() or os._exit(0); result = os.wait()[1]") == 0
    bomb.end()
    assert group.remove(), "nothing of it is left"


def test_processes_can_be_limited_without_cgroups(
    container_lab: Laboratory,
) -> None:
    zygote = container_lab.zygote("")
    bomb = container_lab.fork(zygote, {"processes": 24})
    code = """
import os, signal
result = 0
try:
    while result < 100:
        if os.fork() == 0:
            signal.pause()
            os._exit(0)
        result += 1
except OSError:
    pass
"""
    assert bomb.ask(code) < 24
    bomb.end()
    container_lab.end(zygote)


def test_a_file_cannot_fill_the_disk(container: Container) -> None:
    code = """
import os, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = open("/tmp/big", "wb", buffering=0)
try:
    while file.write(bytes(1 << 20)): pass
except OSError:
    result = os.path.getsize("/tmp/big")
"""
    assert container.ask(code) == 8 << 20


# -- the whole root


def _listing(*places: str) -> dict[str, tuple[int, int, int]]:
    found = {}
    for place in places:
        for directory, _, names in os.walk(place):
            for name in names:
                path = os.path.join(directory, name)
                if "__pycache__" not in path:
                    info = os.lstat(path)
                    found[path] = (info.st_mode, info.st_size, info.st_mtime_ns)
    return found


@pytest.mark.slow
def test_removing_everything_removes_nothing_of_the_host(
    container_lab: Laboratory, zygote: Zygote, other: Container
) -> None:
    """Proves from inside that no file of the host can be written, then runs `rm -rf /`."""
    forked = container_lab.fork(zygote)
    mounts = forked.ask("result = open('/proc/self/mountinfo').read()").splitlines()
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        kind, options = after.split()[0], before.split()[5].split(",")
        harmless = kind in {"overlay", "tmpfs", "proc", "devpts", "devtmpfs"} or "ro" in options
        assert harmless, f"not isolated: {mount}"
    inside = forked.ask("import os; result = os.readlink('/proc/self/ns/mnt')")
    assert inside != os.readlink("/proc/self/ns/mnt")
    forked.ask("open('/usr/volant-was-here', 'w')") if os.geteuid() == 0 else None
    assert not os.path.lexists("/usr/volant-was-here"), "not isolated: the rest must not run"
    places = ["/usr/bin", "/usr/sbin", "/usr/share/doc", "/etc", sys.base_prefix,
              str(container_lab.sdk_dir)]  # fmt: skip
    before_removal = _listing(*places), os.listdir("/"), os.listdir("/usr")
    code = f"""
import os, subprocess
command = ["rm", "-rf", "--no-preserve-root", "/etc", "/usr/bin", "/root", "/usr/sbin", "/"]
try:
    subprocess.run(command, capture_output=True, timeout={REMOVAL_WITHIN_S})
except subprocess.TimeoutExpired:
    pass  # of many files, enough are gone to tell
result = os.path.exists("/usr/bin/rm")
"""
    is_still_there = forked.ask(code)
    if os.geteuid() == 0:
        assert not is_still_there, "it did remove what it saw"
    assert (_listing(*places), os.listdir("/"), os.listdir("/usr")) == before_removal
    assert other.ask("import subprocess; result = subprocess.run(['ls', '/usr/bin'],"
                     " capture_output=True).returncode") == 0  # fmt: skip
    forked.end()
    container_lab.fork(zygote).end()
