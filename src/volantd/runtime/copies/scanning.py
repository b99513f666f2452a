"""What runs in a sandbox and what of its files is its own, as the kernel tells.

    control group ─► processes ─► trees: what was started from outside, and what such left behind
                                  each with its pipes that somebody outside of it has, too

All of it stands still, so nothing that was read becomes untrue. To be called on a thread.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from volantd.runtime import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from volantd.runtime.cgroup import Cgroup

#: Looks, each after a pause, until all that was told to has stopped; and how often that is tried.
#: Who has just forked to execute something cannot stop before the other has executed it.
STOP_LOOKS, STOP_PAUSE_S, STOP_ATTEMPTS = 100, 0.001, 20
#: Fields of `stat` behind the name of the program.
_STATE, _PARENT, _SESSION, _STARTED = 0, 1, 3, 19
_TERMINAL, _LEADERS = "/dev/pts/", ("/dev/ptmx", "/dev/pts/ptmx")
#: Of flags in `fdinfo`: how it was opened, and what only reads or only writes.
_ACCESS, _READS, _WRITES = 0o3, 0o0, 0o1


class Process:
    """A process. `pid` and `parent` are this machine's ids, `inner` is the sandbox's.

    `started_at` counts ticks of the kernel's clock.
    """

    __slots__ = (
        "inner", "is_stopped", "is_zombie", "leads_session", "parent", "pid", "started_at",
    )  # fmt: skip

    def __init__(self, pid: int) -> None:
        """Read what there is of it.

        Raises:
            OSError: it has ended.
        """
        with open(f"/proc/{pid}/stat", "rb") as source:
            words = source.read().rpartition(b")")[2].split()
        self.pid = pid
        self.parent = int(words[_PARENT])
        self.is_stopped = words[_STATE] in b"Tt"
        self.is_zombie = words[_STATE] in b"ZX"
        self.leads_session = int(words[_SESSION]) == pid
        self.started_at = int(words[_STARTED])
        self.inner = _inner(f"/proc/{pid}/status")


def _inner(path: str) -> int:
    """The id of a process or thread where it lives."""
    with open(path, "rb") as source:
        line = next(line for line in source if line.startswith(b"NSpid:"))
    return int(line.split()[-1])


class Tree:
    """A process and all that descends from it.

    Attributes:
        root: the process.
        members: all of them, itself too.
        pipes: names of those that it shares with others: whether it reads, and whether it writes.
        has_terminal: whether it works on a terminal that somebody outside has.
    """

    def __init__(self, root: Process, members: list[Process]) -> None:
        self.root = root
        self.members = members
        self.has_terminal = False
        pipes: dict[str, set[int]] = {}
        names = set()
        for one in members:
            for fd in os.listdir(f"/proc/{one.pid}/fd"):
                name = os.readlink(f"/proc/{one.pid}/fd/{fd}")
                names.add(name)
                if name.startswith("pipe:"):
                    pipes.setdefault(name, set()).add(_access(one.pid, fd))
        if any(name.startswith(_TERMINAL) for name in names):
            self.has_terminal = not names & set(_LEADERS)
        self.pipes = {
            name: (_READS in ends, _WRITES in ends)
            for name, ends in pipes.items()
            if ends in ({_READS}, {_WRITES})
        }


def trees(cgroup: Cgroup, holder: int) -> list[Tree]:
    """What runs in a sandbox, but for what holds it and serves its files.

    Args:
        cgroup: the sandbox's.
        holder: the pid of what holds it.

    Raises:
        OSError: something has just ended.
    """
    found = [one for one in processes(cgroup) if one.pid != holder]
    # Who serves files was forked by the holder and stayed in its session; commands have their own.
    own = {one.pid for one in found if one.parent == holder and not one.leads_session}
    kept = {one.pid: one for one in found if one.pid not in own}
    made = []
    for root in kept.values():
        if root.parent not in kept and root.parent not in own and not root.is_zombie:
            members = [one for one in kept.values() if _descends(one, root.pid, kept)]
            made.append(Tree(root, [one for one in members if not one.is_zombie]))
    return made


def _descends(one: Process, root: int, known: dict[int, Process]) -> bool:
    while one.pid != root:
        if one.parent not in known:
            return False
        one = known[one.parent]
    return True


def processes(cgroup: Cgroup) -> list[Process]:
    """All that run in a control group."""
    return _processes(cgroup.process_ids())


def thread_ids(members: Iterable[Process]) -> set[int]:
    """The ids that processes and their threads have in their sandbox."""
    tasks = [f"/proc/{one.pid}/task" for one in members]
    return {_inner(f"{task}/{tid}/status") for task in tasks for tid in os.listdir(task)}


def _processes(pids: Iterable[int]) -> list[Process]:
    found = []
    for pid in sorted(pids):
        try:
            found.append(Process(pid))
        except OSError:
            continue  # it has ended
    return found


def _access(pid: int, fd: str) -> int:
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as source:
        flags = next(line for line in source if line.startswith("flags:"))
    return int(flags.split()[1], 8) & _ACCESS


# -- standing still


def stop(cgroup: Cgroup, holder: int, *, is_frozen: bool) -> list[int]:
    """Stop all that runs in a sandbox at one instant, by signals; what runs on is what holds it.

    CRIU cannot look into what is frozen, but into what is stopped.

    Args:
        cgroup: the sandbox's.
        holder: the pid of what holds it.
        is_frozen: whether it is frozen already.

    Returns:
        The pids of those that ran.

    Raises:
        OSError: something does not stop.
    """
    for _ in range(1 if is_frozen else STOP_ATTEMPTS):
        if not is_frozen:
            cgroup.freeze()
        stopped = _stop_frozen(cgroup, holder)
        for _ in range(STOP_LOOKS):
            if all(one.is_stopped or one.is_zombie for one in _processes(stopped)):
                return stopped
            time.sleep(STOP_PAUSE_S)
        let_go(stopped)
    if is_frozen:
        cgroup.freeze()
    raise OSError(errno.EBUSY, "its processes cannot be stopped")


def _stop_frozen(cgroup: Cgroup, holder: int) -> list[int]:
    stopped = []
    try:
        for one in processes(cgroup):
            if one.pid != holder and not one.is_stopped and not one.is_zombie:
                os.kill(one.pid, signal.SIGSTOP)
                stopped.append(one.pid)
    finally:
        cgroup.thaw()
    return stopped


def let_go(stopped: Iterable[int]) -> None:
    """Let those that were stopped go on; they are our children's, so no pid is another's."""
    for pid in stopped:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue  # somebody has killed it


# -- files


def parts_of(pid: int, scratch_path: str) -> list[tuple[str, str]]:
    """Where on this machine lies what a sandbox has written, and where in the sandbox.

    Args:
        pid: of what holds it.
        scratch_path: what is written in the container.
    """
    found = [(f"{scratch_path}/root", "/")]
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as source:
        for line in source:
            fields, _, rest = line.partition(" - ")
            kind, _, options = rest.split(" ", 2)
            inside = os.fsdecode(tree.unescaped(os.fsencode(fields.split(" ")[4])))
            words = [one for one in options.split(",") if one.startswith("upperdir=")]
            if kind == "overlay" and words and inside != "/":
                found.append((f"{scratch_path}/{os.path.basename(words[0])}", inside))
    found.sort(key=lambda part: part[1])
    return [*found, (f"/proc/{pid}/root/dev/shm", "/dev/shm")]
