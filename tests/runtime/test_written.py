"""What containers and zygotes have written is found from outside, in both rungs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volantd.agent import written

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container, Laboratory

MIB = 1 << 20
WRITE = """
import os, tempfile
def write(name, mebibytes):
    path = os.path.join(tempfile.gettempdir(), name)
    file = open(path, "wb", buffering=0)
    for _ in range(mebibytes): file.write(os.urandom(1 << 20))
    return path, file
"""


def mebibytes(size: int) -> int:
    return round(size / MIB)


def test_files_without_a_name_are_their_containers(container: Container) -> None:
    container.ask(f"""{WRITE}
path, kept = write("unnamed", 0)
os.unlink(path)
if os.fork() == 0:  # whoever holds it may be any process of the container, also an orphan
    if os.fork() == 0:
        import signal
        signal.pause()
    os._exit(0)
os.wait()
kept.write(os.urandom(1 << 19)); kept.write(os.urandom(1 << 19))
kept.close()
memory = os.memfd_create("memory"); os.write(memory, bytes(1 << 19))
_, named = write("named", 1)
""")
    path, pid = container.forked.scratch_path, container.forked.pid
    pids = written.Processes().of(pid)
    assert mebibytes(sum(written.files_unlinked(pids, path).values())) == 1
    [size] = written.measure([written.Writer(path=path, pid=pid)])
    assert mebibytes(size) == 2
    assert os.getpid() not in pids


def test_what_an_import_wrote_is_its_zygotes(lab: Laboratory) -> None:
    zygote = lab.zygote(f"""{WRITE}
write("by-import", 3)
path, unnamed = write("unnamed", 2)
os.unlink(path)
import builtins
builtins.kept = unnamed  # as a module would; containers are born with it
""")
    forked = lab.fork(zygote)
    forked.ask(f"""{WRITE}
path, kept = write("own", 5)
os.unlink(path)
_, named = write("named", 1)
""")
    container = written.Writer(path=forked.forked.scratch_path, pid=forked.forked.pid)
    of_zygote = written.Writer(
        path=zygote.state_dir, pid=zygote.pid, others=frozenset({container.path}),
        other_pids=frozenset({container.pid}),
    )  # fmt: skip
    assert [mebibytes(size) for size in written.measure([container, of_zygote])] == [6, 5]
    forked.end()
    lab.end(zygote)


def test_what_is_being_removed_is_known_until_it_is_gone(lab: Laboratory) -> None:
    zygote = lab.zygote()
    forked = lab.fork(zygote)
    path = forked.forked.scratch_path
    assert path not in lab.launcher.removing
    forked.end()
    assert path in lab.launcher.removing or not os.path.lexists(path)
    lab.eventually(lambda: path not in lab.launcher.removing)
    assert not os.path.lexists(path)
    lab.end(zygote)
