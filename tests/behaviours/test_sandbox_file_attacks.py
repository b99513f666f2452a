"""Code in a sandbox that means harm to who uses its files from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest

import volant
from tests.support import eventually
from volant.errors import SandboxFilesystemError, SandboxFilesystemNotFoundError
from volant.runner.sandboxes import holding
from volant.types import FileType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = volant.App("sandbox-file-attacks")

#: Exchanges a directory and a link, as fast as it can, for as long as it runs.
EXCHANGE = """
import ctypes, os
libc = ctypes.CDLL(None)
os.makedirs('/tmp/race/real', exist_ok=True)
open('/tmp/race/real/secret', 'w').write('inside')
os.symlink({target!r}, '/tmp/race/link')
print('begun', flush=True)
while True:
    libc.renameat2(-100, b'/tmp/race/real', -100, b'/tmp/race/link', 2)
"""

#: Ends the commands whose program has a word in it.
_END = """
for name in os.listdir('/proc'):
    if name.isdigit() and int(name) != os.getpid():
        if {!r} in open('/proc/' + name + '/cmdline', 'rb').read():
            os.kill(int(name), 9)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[volant.Sandbox]:
    with app.run():
        made = volant.Sandbox.create(app=app)
        yield made
        made.terminate(wait=True)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A directory of this machine that nothing in a sandbox may reach."""
    (tmp_path / "secret").write_text("outside")
    return tmp_path


def _run(sandbox: volant.Sandbox, code: str) -> None:
    process = sandbox.exec("python3", "-c", code)
    assert process.wait() == 0, process.stderr.read()


@pytest.mark.parametrize(
    "link",
    ["{}", "../../../../../../../../{}", "/proc/1/root{}", "/proc/self/root{}", "/proc/self/cwd{}"],
)
def test_a_link_leads_to_nothing_outside(sandbox: volant.Sandbox, secret: Path, link: str) -> None:
    target = link.format(secret)
    _run(sandbox, f"import os; os.path.lexists('/tmp/l') and os.unlink('/tmp/l')\n"
                  f"os.symlink({target!r}, '/tmp/l')")  # fmt: skip
    files = sandbox.filesystem
    for use in (lambda: files.read_bytes("/tmp/l/secret"), lambda: files.list_files("/tmp/l")):
        with pytest.raises(SandboxFilesystemError):
            use()
    with contextlib.suppress(SandboxFilesystemError):
        files.write_text("changed", "/tmp/l/secret")  # may make directories, in the sandbox
    assert (secret / "secret").read_text() == "outside"
    assert os.listdir(secret) == ["secret"]
    assert files.stat("/tmp/l").type is FileType.SYMLINK
    files.remove("/tmp/l")


def test_directories_that_are_exchanged_for_links_meanwhile_lead_nowhere_else(
    sandbox: volant.Sandbox, secret: Path
) -> None:
    racing = sandbox.exec("python3", "-c", EXCHANGE.format(target=str(secret)))
    assert next(iter(racing.stdout)) == "begun\n"
    files, read = sandbox.filesystem, set()
    for _ in range(100):
        try:
            read.add(files.read_text("/tmp/race/real/secret"))
            files.write_text("inside", "/tmp/race/real/secret")
            files.list_files("/tmp/race/real")
        except SandboxFilesystemError:
            continue
    for _ in range(20):
        try:
            files.remove("/tmp/race/real", recursive=True)
        except SandboxFilesystemError:
            continue
    assert read <= {"inside"}
    assert (secret / "secret").read_text() == "outside"
    assert os.listdir(secret) == ["secret"]
    _run(sandbox, "import os\n" + _END.format(b"renameat2"))


MAKE_SPECIAL = """
import os, socket
if not os.path.exists('/tmp/pipe'):
    os.mkfifo('/tmp/pipe')
    socket.socket(socket.AF_UNIX).bind('/tmp/socket')
"""


@pytest.mark.parametrize("path", ["/tmp/pipe", "/dev/zero", "/dev/tty", "/dev/ptmx", "/tmp/socket"])
def test_nothing_is_waited_for_at_what_is_no_file(sandbox: volant.Sandbox, path: str) -> None:
    _run(sandbox, MAKE_SPECIAL)
    files = sandbox.filesystem
    with pytest.raises(SandboxFilesystemError):
        files.read_bytes(path)
    with pytest.raises(SandboxFilesystemError):
        files.write_text("x", path)
    assert files.stat("/tmp").type is FileType.DIRECTORY


def test_whoever_serves_files_may_be_ended_and_the_next_serves_on(sandbox: volant.Sandbox) -> None:
    files = sandbox.filesystem
    files.write_text("x", "/tmp/x")
    _run(sandbox, _END_OTHERS)
    assert files.read_text("/tmp/x") == "x"


#: Ends every process that has no program of its own but the holder: what serves files.
_END_OTHERS = f"""
import os
def parent(pid):
    return int(open(f'/proc/{{pid}}/stat').read().rsplit(')', 1)[1].split()[1])
def state(pid):
    try:
        return open(f'/proc/{{pid}}/stat').read().rsplit(')', 1)[1].split()[0]
    except OSError:
        return 'X'
pids = [int(name) for name in os.listdir('/proc') if name.isdigit()]
holder = os.getppid()
for pid in pids:
    if pid not in (1, os.getpid(), holder) and parent(pid) == holder:
        os.kill(pid, {int(signal.SIGKILL)})
        while state(pid) not in 'ZXT':
            pass
"""


def test_a_sandbox_that_does_not_answer_can_be_waited_for_no_longer(
    sandbox: volant.Sandbox,
) -> None:
    other = volant.Sandbox.create(app=app)
    files = other.filesystem
    files.write_text("x", "/tmp/x")
    stop = _END_OTHERS.replace(f", {int(signal.SIGKILL)})", f", {int(signal.SIGSTOP)})")
    _run(other, stop)

    async def use() -> None:
        reading = asyncio.ensure_future(files.read_text.aio("/tmp/x"))
        await asyncio.wait([reading], timeout=0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(use())
    assert files.read_text("/tmp/x") == "x"  # of another one that serves
    other.terminate(wait=True)


def test_a_sandbox_that_ends_breaks_off_what_is_under_way(sandbox: volant.Sandbox) -> None:
    other = volant.Sandbox.create(app=app)

    async def use() -> None:
        events = other.filesystem.watch.aio("/tmp")
        waiting = asyncio.ensure_future(anext(events))
        assert not (await asyncio.wait([waiting], timeout=0.05))[0]
        await other.terminate.aio(wait=True)
        with pytest.raises(SandboxFilesystemError, match="does not answer"):
            await waiting

    asyncio.run(use())


def test_more_servers_of_files_than_there_may_be_are_refused(sandbox: volant.Sandbox) -> None:
    other = volant.Sandbox.create(app=app)
    count = holding.FILE_SERVERS_MAX + 1
    handles = [volant.Sandbox.from_id(other.object_id) for _ in range(count)]
    for one in handles[:-1]:
        one.filesystem.stat("/tmp")
    with pytest.raises(SandboxFilesystemError, match="does not answer"):
        handles[-1].filesystem.stat("/tmp")
    handles[0].detach()
    eventually(lambda: _answers(handles[-1]))
    other.terminate(wait=True)


def _answers(sandbox: volant.Sandbox) -> bool:
    try:
        sandbox.filesystem.stat("/tmp")
    except SandboxFilesystemError:
        return False
    return True


def test_a_file_that_grows_for_ever_is_read_as_far_as_it_went(sandbox: volant.Sandbox) -> None:
    grow = (
        "f = open('/tmp/grows', 'wb', 0)\nprint('x', flush=True)\nwhile True: f.write(b'x' * 4096)"
    )
    growing = sandbox.exec("python3", "-c", f"import os\n{grow}")
    with pytest.raises(SandboxFilesystemNotFoundError):
        sandbox.filesystem.read_bytes("/tmp/none")
    assert next(iter(growing.stdout)) == "x\n"
    for _ in range(3):
        assert set(sandbox.filesystem.read_bytes("/tmp/grows")) <= {ord("x")}
    _run(sandbox, "import os\n" + _END.format(b"grows"))
