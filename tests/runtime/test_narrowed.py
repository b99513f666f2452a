"""What containers may do less of than other programs, in both rungs, and what goes on working."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container, Laboratory


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
