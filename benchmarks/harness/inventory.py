"""Kernel objects and files that one daemon and its containers hold, counted from outside.

Processes are known by the run's variable in their environment, whoever their parent is by now;
mounts by the home's path; cgroups by the run's id. Other people's work on the machine does not
count.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
_RUN_VARIABLE = b"VOLANT_RUN_ID="
#: A count has settled when it did not change for so long.
_QUIET_S = 1.0
_LOOK_EVERY_S = 0.1


def run_ids(home: Path) -> list[str]:
    """Ids of the runs that have a lock in this home: one while its daemon lives."""
    return sorted(path.stem for path in (home / "run").glob("*.lock"))


def count(home: Path, run_id: str, daemon_pid: int | None, *, proc: Path = PROC,
          cgroups: Path = CGROUPS) -> Counter[str]:  # fmt: skip
    """What is there now, by kind."""
    pids = processes(run_id, proc)
    if daemon_pid is not None:
        pids.add(daemon_pid)
    state = home / "run" / run_id
    return Counter({
        "processes": len(pids),
        "mounts": mounts(home, pids, proc),
        "cgroups": sum(1 for _ in cgroups.glob(f"**/*{run_id}*/**/")),
        "namespaces": len(namespaces(pids, proc) - namespaces({os.getpid()}, proc)),
        "descriptors": sum(_entries(proc / str(pid) / "fd") for pid in pids),
        "files": sum(len(folders) + len(files) for _, folders, files in os.walk(state)),
    })  # fmt: skip


def processes(run_id: str, proc: Path = PROC) -> set[int]:
    """Processes whose environment names the run."""
    wanted = _RUN_VARIABLE + run_id.encode()
    found = set()
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue  # gone by now, or not ours
            if wanted in environment.split(b"\0"):
                found.add(int(entry.name))
    return found


def mounts(home: Path, pids: set[int], proc: Path = PROC) -> int:
    """Mounts of the home in the caller's namespace, and all in the namespaces of `pids`."""
    ours = (proc / "self/mountinfo").read_text().splitlines()
    total = sum(str(home) in line for line in ours)
    seen = namespaces({os.getpid()}, proc, kinds=("mnt",))
    for pid in sorted(pids):
        own = namespaces({pid}, proc, kinds=("mnt",))
        if own and not own <= seen:
            seen |= own
            try:
                total += len((proc / str(pid) / "mountinfo").read_text().splitlines())
            except OSError:
                continue
    return total


def namespaces(pids: set[int], proc: Path = PROC, kinds: tuple[str, ...] | None = None) -> set[str]:
    """The distinct namespaces (`mnt:[4026531840]`) that `pids` are in."""
    found = set()
    for pid in pids:
        directory = proc / str(pid) / "ns"
        try:
            names = kinds or tuple(os.listdir(directory))
            found |= {os.readlink(directory / name) for name in names}
        except OSError:
            continue
    return found


def _entries(directory: Path) -> int:
    try:
        return len(os.listdir(directory))
    except OSError:
        return 0


def difference(before: Counter[str], after: Counter[str]) -> Counter[str]:
    """What is more afterwards, by kind; kinds that are not do not appear."""
    return +Counter({kind: after[kind] - before[kind] for kind in after})


def settled(take: Callable[[], Counter[str]], within_s: float = 15.0) -> Counter[str]:
    """Count until nothing has changed for a while; the last count when it never rests."""
    deadline = time.monotonic() + within_s
    last, since = take(), time.monotonic()
    while time.monotonic() - since < _QUIET_S and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        now = take()
        if now != last:
            last, since = now, time.monotonic()
    return last
