"""Files: what is private does not exist in a container, and the host's cannot be changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container


NAME = "secret-of-the-host"


@pytest.fixture
def person(container: Container, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with private files, beside our state."""
    home = container.lab.place / "home"
    for relative in (".ssh/id_rsa", ".bash_history", f".volant/{NAME}", f"run/{NAME}"):
        path = home / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    monkeypatch.setenv("HOME", str(home))
    return home


def test_what_is_not_on_the_list_is_not_there(container: Container, person: Path) -> None:
    """Each of these is there on the host, or a machine without it would pass for a safe one."""
    ours = [person / ".ssh/id_rsa", person / ".bash_history", person / f".volant/{NAME}",
            person, container.lab.runs_dir, container.lab.place]  # fmt: skip
    assert all(path.exists() for path in ours)
    systems = [
        "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private", "/etc/sudoers",
        "/etc/machine-id", "/boot", "/sys/fs/cgroup", "/sys/kernel", "/proc/1/root/etc/shadow",
        *(f"/run/{name}" for name in os.listdir("/run")),
        *(f"/var/log/{name}" for name in os.listdir("/var/log")),
    ]  # fmt: skip
    there = {path for path in systems if os.path.lexists(path)}
    assert {"/etc/shadow", "/sys/fs/cgroup", "/sys/kernel"} <= there
    assert any(path.startswith("/run/") for path in there)
    wanted = [*map(str, ours), *systems]
    found = container.ask(f"import os; result = [p for p in {wanted} if os.path.lexists(p)]")
    assert found == []


def test_directories_of_the_host_are_there_and_empty(container: Container) -> None:
    for empty in ("/home", "/run", "/mnt", "/var/log", "/.volant/scratch", "/.volant/base"):
        assert container.ask(f"import os; result = os.listdir({empty!r})") == []
    assert container.ask("result = open('/etc/passwd').read().count('\\n')") == 2


def test_a_secret_of_the_host_is_nowhere_in_the_tree(container: Container, person: Path) -> None:
    """Looks at every directory a container has for files that lie in a home and our state."""
    names = {path.name for path in person.rglob("*") if path.is_file()}
    assert names == {NAME, "id_rsa", ".bash_history"}
    code = f"""
import os
result, seen = [], 0
for top, directories, files in os.walk("/"):
    directories[:] = [name for name in directories if (top, name) != ("/", "proc")]
    seen += len(files)
    result += [os.path.join(top, name) for name in files if name in {names}]
"""
    assert container.ask(code) == []
    assert container.ask(code + "result = seen") > 1000, "it looked nowhere"


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
