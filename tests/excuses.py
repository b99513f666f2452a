"""Why a test may be skipped on a build machine. Any other skip is a failure there.

A skip is green, so a machine that lost a feature would otherwise look like one that passed. Where
`CI=true` says that nobody watches, a reason has to stand here; elsewhere a skip is just shown.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Reason of the skip -> why it is no loss.
ANYBODY = {
    r"there is no Python 3\.\d+ on this machine": "one interpreter proves the code, more are luck",
    r"this architecture has no such call": "the table has calls of two; on the other it is judged",
    r"this machine's Python is its distribution's": "apt installs such a Python, nobody moves it",
    r"this Python has no shared library": "one without is moved in the same way, and simpler",
    r"there is no GPU on this machine": "nodes of other devices stand in; CUDA needs the real one",
    r"this machine has a GPU": "the test is of a machine without one",
    r"the rung `process` shows them": "that rung does not hide processes, and says so",
    r"Landlock keeps them apart there": "that rung forbids what the test does on the other",
    r"there is no (curl|Chromium) on this machine": "other clients show the same, less vividly",
    r"PostgreSQL is neither installed nor to be had": "the same suite is run over SQLite",
    r"numpy is not installed beside the tests": "plain users' runs have only what they need",
    r"this kernel does not tell how others ended": "then the end is told, and its way is not",
    r"CRIU is neither installed nor to be had": "where it is not, forks are refused by its name",
    r"gVisor is neither installed nor to be had": "the same is held to on this machine's kernel",
    r"on gVisor it takes minutes": "a process there is two of this machine, which are counted",
    r"on gVisor a sandbox ends when its memory": "its kernel is one process, which is ended whole",
    r"SeaweedFS is not built for this machine": "the store of rclone shows the same",
    r"root has ids to give": "a normal user's run, which root's starts, shows what he gets",
    r"less than 8 GiB of memory are free": "the machine is shared; the same is tested smaller",
}
#: Likewise where the tests run as a normal user, which those of root start by themselves.
PLAIN_USER = {
    r"this very run is a plain user's": "it is the run that the skipped test would start",
    r"no limits by cgroup": "control groups belong to root unless somebody delegates them",
    r"without root, trees of other owners are read-only": "there is no copy that could be changed",
    r"only root can ": "the test needs a second user",
    r"a normal user's sandboxes know one id": "the kernel knows no other, and a test shows that",
    r"a normal user shows what is his own": "there is no other person whose files he could show",
    r"what a normal user runs is counted as the user's": "the kernel counts it so, and we say so",
}


def is_build_machine(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the tests run where nobody watches."""
    return environ.get("CI") == "true"


def is_excused(reason: str, *, is_root: bool) -> bool:
    """Whether a build machine takes this reason for a skip."""
    patterns = [*ANYBODY, *(() if is_root else PLAIN_USER)]
    return any(re.search(pattern, reason) for pattern in patterns)
