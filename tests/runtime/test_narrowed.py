"""What containers may do less of than other programs, in both rungs, and what goes on working."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from volantd.agent.limits import limit_memory
from volantd.runtime import cgroup as cgroups
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote


def test_a_socket_does_not_keep_its_closer_waiting(container: Container) -> None:
    """SO_LINGER seems to be set: the hub closes what a container sends it, on its event loop."""
    code = """
import socket, struct, time
listener = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
one.setblocking(False)
try:
    while one.send(bytes(65536)): pass
except BlockingIOError: pass
one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
lingers, _ = struct.unpack("ii", one.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
result = lingers, one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
"""
    assert container.ask(code) == (0, 1)


def test_no_file_gets_the_rights_of_its_owner(container: Container) -> None:
    """A file with such a bit could be run by other users of the host, on the rung `process`."""
    code = """
import os, stat, tempfile
os.chdir(tempfile.mkdtemp())
os.umask(0)
open("file", "w").close()
attempts = [
    lambda mode: os.chmod("file", mode),
    lambda mode: os.fchmod(os.open("file", os.O_RDONLY), mode),
    lambda mode: os.close(os.open("new", os.O_CREAT | os.O_WRONLY, mode)),
    lambda mode: os.mkdir("directory", mode),
    lambda mode: os.mkfifo("fifo", mode),
]
result = []
for attempt in attempts:
    for mode in (0o4711, 0o2755, 0o700):
        try: attempt(mode)
        except PermissionError: result.append("refused")
        else: result.append("done")
for name in os.listdir():
    assert not os.stat(name).st_mode & (stat.S_ISUID | stat.S_ISGID), name
"""
    assert container.ask(code) == ["refused", "refused", "done"] * 5


def test_programs_that_set_modes_and_times_go_on_working(container: Container) -> None:
    code = """
import io, os, shutil, stat, subprocess, tarfile, tempfile, zipfile
place = tempfile.mkdtemp(); os.chdir(place)
with open("program", "w") as file: file.write("#!/bin/sh\\necho ran\\n")
os.chmod("program", 0o755); os.utime("program", (10**9, 10**9)); os.mkdir("tree", 0o1777)
shutil.copy2("program", "tree/copy"); shutil.copystat("program", "tree/copy")
shutil.copytree("tree", "second"); shutil.move("second", "third")
with tarfile.open("all.tar.gz", "w:gz") as archive: archive.add("tree")
with tarfile.open("all.tar.gz") as archive: archive.extractall("from-tar")
with zipfile.ZipFile("all.zip", "w") as archive: archive.write("tree/copy")
zipfile.ZipFile("all.zip").extractall("from-zip")
with tempfile.NamedTemporaryFile() as one, tempfile.TemporaryFile() as two: two.write(b"x")
for command in (
    ["cp", "-r", "tree", "copied"], ["cp", "-a", "program", "kept"],
    ["install", "-m", "755", "program", "installed"], ["chmod", "-R", "go-w", "copied"],
    ["mv", "kept", "moved"], ["touch", "-d", "2001-01-01", "moved"],
    ["mkdir", "-m", "1777", "made"], ["tar", "-xf", "all.tar.gz", "-C", "made"],
):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
result = [
    (stat.S_IMODE(os.stat(name).st_mode), int(os.stat(name).st_mtime))
    for name in ("tree/copy", "third/copy", "from-tar/tree/copy", "made/tree/copy")
] + [subprocess.run(["./installed"], capture_output=True).stdout]
"""
    assert container.ask(code) == [(0o755, 10**9)] * 4 + [b"ran\n"]


def test_packages_can_be_installed(container: Container) -> None:
    """As pip does it: into a directory beside, from a wheel, without a network."""
    if container.ask("import importlib.util; result = importlib.util.find_spec('pip') is None"):
        pytest.skip("this Python has no pip")
    code = """
import os, subprocess, sys, tempfile, zipfile
place = tempfile.mkdtemp()
wheel = place + "/small-1.0-py3-none-any.whl"
info = "small-1.0.dist-info/"
with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("small.py", "answer = 42\\ndef main(): print(answer)\\n")
    archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n")
    about = ["Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any", ""]
    archive.writestr(info + "WHEEL", "\\n".join(about))
    archive.writestr(info + "entry_points.txt", "[console_scripts]\\nsmall = small:main\\n")
    archive.writestr(info + "RECORD", "")
import pip
# Without the paths that this environment adds: those to our own sources are not shown.
start = f"import sys; sys.path.append({os.path.dirname(pip.__path__[0])!r}); import runpy;"
start += "runpy.run_module('pip', run_name='__main__')"
command = [sys.executable, "-S", "-c", start, "--isolated", "--disable-pip-version-check"]
command += ["install", "--no-cache-dir", "--no-index", "--no-deps"]
command += ["--target", place + "/to", wheel]
done = subprocess.run(command, capture_output=True, text=True)
assert done.returncode == 0, done.stderr
sys.path.insert(0, place + "/to")
import small
result = small.answer, os.access(place + "/to/bin/small", os.X_OK)
"""
    assert container.ask(code) == (42, True)


def test_the_init_of_a_cell_cannot_be_taken_over_without_landlock(
    container_lab: Laboratory,
) -> None:
    """It has the container's user, and is not counted to the container."""
    # Forks of this zygote behave as on a kernel that has no Landlock.
    zygote = container_lab.zygote("""
import gc
from volant.runner import isolate
[plan] = [one for one in gc.get_objects() if isinstance(one, isolate.Plan)]
plan.landlock_abi = 0
""")
    forked = container_lab.fork(zygote)
    code = """
result = []
for name, mode in (("mem", "r+b"), ("maps", "rb"), ("environ", "rb"), ("syscall", "rb")):
    try: open(f"/proc/1/{name}", mode, buffering=0).read(1)
    except PermissionError: result.append("refused")
    except OSError as error: result.append(str(error))
    else: result.append("read")
"""
    assert forked.ask(code) == ["refused"] * 4
    status = forked.ask("result = open('/proc/1/status').read()")
    assert "CapPrm:\t0000000000040000" in status, "CAP_SYS_CHROOT and nothing else"
    assert "CapBnd:\t0000000000000000" in status
    assert "Seccomp:\t2" in status, "which refuses it to use that"
    forked.end()
    container_lab.end(zygote)


def test_a_nursery_makes_no_cell_at_a_path_of_the_zygotes_choice(
    container_lab: Laboratory,
) -> None:
    zygote = container_lab.zygote(r"""
import gc
from volant.runner import nursery
[own] = [one for one in gc.get_objects() if isinstance(one, nursery.Nursery)]
own.order("../../tmp/cell")
own._socket.send(b"\xff")
answers = []
while len(answers) < 2:
    word, name, reason, _ = own.receive()
    if name != "s1":
        answers.append((word, name, reason))
open("answers", "w").write(repr(answers))
""")
    root = Path(zygote.state_dir) / "root"
    refused = ("failed", "-", "no cell can have this name")
    assert ast.literal_eval((root / "root/answers").read_text()) == [refused] * 2
    assert not (root / "tmp/cell").exists()
    container_lab.end(zygote)


ROOM = """
import os
found = os.statvfs("/dev/shm")
result = found.f_blocks * found.f_frsize, found.f_files
"""


def test_shared_memory_that_no_limit_counts_is_small(container_lab: Laboratory) -> None:
    zygote = container_lab.zygote("""
import os
found = os.statvfs("/dev/shm")
open("room", "w").write(str(found.f_blocks * found.f_frsize))
""")
    forked = container_lab.fork(zygote)
    assert forked.ask(ROOM) == (64 << 20, 16384)
    assert forked.ask("result = open('room').read()") == str(64 << 20), "its zygote's own"
    forked.end()
    container_lab.end(zygote)


def test_shared_memory_that_a_limit_counts_may_be_large(container_lab: Laboratory) -> None:
    try:
        groups = cgroups.Cgroups.open(f"test-{os.getpid()}")
    except cgroups.CgroupUnavailableError as error:
        pytest.skip(str(error))
    zygote = container_lab.zygote(leaves=Leaves(groups.create))
    forked = container_lab.fork(zygote)
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    room, file_count = forked.ask(ROOM)
    assert room == pytest.approx(half, rel=0.01)
    assert file_count == 65536
    forked.end()
    container_lab.end(zygote)
    groups.remove_all()


def test_without_a_cgroup_no_file_is_larger_than_the_memory_asked_for(
    lab: Laboratory, shared_zygote: Zygote
) -> None:
    """A file in memory is no address space, so RLIMIT_AS alone would not see it."""
    forked = lab.fork(shared_zygote)
    limit_memory(forked.forked.pid, 256 << 20)
    code = """
import os
fd = os.memfd_create("large")
result = 0
try:
    while result < 512: result += os.write(fd, bytes(1 << 20)) >> 20
except OSError as error:
    result = result, error.strerror
"""
    assert forked.ask(code) == (256, "File too large")
    with pytest.raises(Failed, match="MemoryError"):
        forked.ask("bytearray(300 << 20)")
    forked.end()
