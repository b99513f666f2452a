"""Whether a machine can give containers ports of their own: what is said when it cannot."""

from __future__ import annotations

import os

from volant.runner import linux, seccomp
from volantd.runtime.ports import trial


def in_child(*, is_supervised: bool) -> str:
    """What the trial says in a process of its own, which may have a supervisor already."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if is_supervised:
                linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
                linux.install_supervised_seccomp(seccomp.build(tells_ports=True))
            os.write(writes, b">" + trial.try_out().encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    assert said.startswith(">")
    return said[1:]


def test_where_it_cannot_be_the_reason_is_told() -> None:
    """The kernel lets a process have one supervisor."""
    assert "seccomp: " in in_child(is_supervised=True)


def test_where_it_can_be_there_is_no_reason() -> None:
    assert in_child(is_supervised=False) in ("", "seccomp: Invalid argument")  # before 5.19
