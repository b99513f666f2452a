"""Cleans up after runs whose daemon and launcher were both killed.

    <runs>/<run id>.lock    locked by daemon and launcher together, while either lives
    <runs>/<run id>/        state of that run

Owns the judgement "this run is dead": only the kernel's lock tells, never a pid or an age.
Invariant: a run whose lock is held is never touched.
"""

from __future__ import annotations

import fcntl
import os
import select

from volant.runner import linux
from volantd import removal
from volantd.runtime import cgroup, tree

#: Environment variable by which processes of a run are known, whatever became of them.
RUN_VARIABLE = "VOLANT_RUN_ID"
#: Time that killed processes get to be gone.
GONE_MS_MAX = 2000


def lock_run(runs_dir: str, run_id: str) -> int:
    """Make and lock the lock file of a new run; returns its descriptor.

    The lock lives as long as any copy of this descriptor (the launcher inherits one).

    Raises:
        BlockingIOError: when another process holds it.
    """
    path = os.path.join(runs_dir, f"{run_id}.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise
    return fd


def clean_dead_runs(runs_dir: str) -> list[str]:
    """Remove everything that dead runs left; returns their ids (empty: there was none)."""
    cleaned = []
    for run_id in sorted(_run_ids(runs_dir)):
        try:
            fd = lock_run(runs_dir, run_id)
        except BlockingIOError:
            continue  # alive
        try:
            clean_run(runs_dir, run_id)
            os.unlink(os.path.join(runs_dir, f"{run_id}.lock"))
        except OSError:
            continue  # something is still busy: the next start tries again
        finally:
            os.close(fd)
        cleaned.append(run_id)
    return cleaned


def clean_run(runs_dir: str, run_id: str) -> None:
    """Remove one run, whose lock the caller holds: processes, cgroups, mounts, directories."""
    run_dir = os.path.join(runs_dir, run_id)
    _kill_processes(run_dir, run_id)
    cgroup.remove_run(run_id)
    for point in reversed(tree.mount_points()):
        if point.startswith(run_dir + "/"):
            linux.umount(point, linux.MNT_DETACH)
    removal.remove_run_dir(run_dir)


def _run_ids(runs_dir: str) -> set[str]:
    try:
        names = os.listdir(runs_dir)
    except FileNotFoundError:
        return set()
    return {name.removesuffix(".lock") for name in names}


def _kill_processes(run_dir: str, run_id: str) -> None:
    """Kill every process of this run that can be found, and wait until they are gone."""
    killed = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            fd = linux.pidfd_open(int(name))  # first, so that a reused number cannot be hit
        except OSError:
            continue
        if _belongs(name, run_dir, run_id):
            _kill(fd)
            killed.append(fd)
        else:
            os.close(fd)
    for fd in killed:
        select.select([fd], [], [], GONE_MS_MAX / 1000)
        os.close(fd)


def _kill(pidfd: int) -> None:
    import signal

    try:
        linux.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return  # gone, or somebody else's


def _belongs(pid: str, run_dir: str, run_id: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as source:
            if f"{RUN_VARIABLE}={run_id}".encode() in source.read().split(b"\0"):
                return True
        return (os.readlink(f"/proc/{pid}/cwd") + "/").startswith(run_dir + "/")
    except OSError:
        return False
