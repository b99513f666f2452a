"""Processes: those of the host and of neighbours are neither seen nor reached."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Failed
from volant.runner import linux

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote


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
    opened = container.ask("""
try: result = bool(open("/proc/1/mem", "r+b", buffering=0))
except PermissionError: result = False
""")
    assert not opened or linux.landlock_abi() < 6, "from Landlock 6 on its memory is out of reach"


def test_the_init_of_a_cell_has_one_capability_more_than_its_container(
    container: Container,
) -> None:
    """So that the kernel keeps the container from its memory, where no Landlock does."""
    wanted = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid")
    code = f"""
result = []
for pid in ("1", "self"):
    lines = open("/proc/" + pid + "/status").read().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    result.append({{name: fields[name].split() for name in {wanted}}})
"""
    init, own = container.ask(code)
    assert {"".join(own[name]) for name in wanted[:5]} == {"0" * 16}
    assert int(init["CapPrm"][0], 16) == 1 << linux.CAP_SYS_CHROOT
    assert {name: value for name, value in init.items() if not name.startswith("Cap")} == {
        name: value for name, value in own.items() if not name.startswith("Cap")
    }
    assert (init["NoNewPrivs"], init["Seccomp"]) == (["1"], ["2"])
