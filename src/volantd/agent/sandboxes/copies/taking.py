"""What is taken of a sandbox: which processes, in which images, and what takes the places of pipes.

It all stands still while this looks. Process ids are those that the sandbox sees.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from volantd.runtime.copies import scanning
from volantd.runtime.copies.asked import CopyFailedError
from volantd.runtime.copies.entering import NOWHERE, READS, WRITES

if TYPE_CHECKING:
    from volantd.agent.sandboxes.live import Live
    from volantd.runtime.cgroup import Cgroup
    from volantd.runtime.containers.forked import ForkedContainer
    from volantd.runtime.copies.scanning import Tree

#: Ids for who restores, which no process that is restored has.
PIDS_FREE, PID_FIRST = 1000, 300


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TakenTree:
    """A tree of processes.

    Attributes:
        images: the directory in which its memory lies.
        root: its first process.
        outside: names of pipes that it shares with others, and what takes their places in a copy.
    """

    images: str
    root: int
    outside: dict[str, int]

    def as_dumped(self) -> dict[str, Any]:
        """For a request to dump it."""
        return {"images": self.images, "pid": self.root, "outside": list(self.outside)}

    def as_restored(self) -> dict[str, Any]:
        """For a request to restore it."""
        return {"images": self.images, "outside": self.outside}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """All that runs in a sandbox.

    Attributes:
        trees: what was started, and what such left behind.
        main: its program, None if it has none.
        running: those that were not stopped by anybody else.
        last_pid: an id behind which `PIDS_FREE` are free.
    """

    trees: tuple[TakenTree, ...]
    main: int | None
    running: frozenset[int]
    last_pid: int


def look_at(
    source: Live, old: ForkedContainer, cgroup: Cgroup, stopped: set[int], place: str
) -> Taken:
    """On a thread: see what is to be dumped, and make directories for it.

    Args:
        source: the sandbox.
        old: what holds it.
        cgroup: its control group.
        stopped: those, by their ids on this machine, that were stopped for this.
        place: a directory.

    Raises:
        CopyFailedError: its program has just ended.
        OSError: something else has.
    """
    found = [one for one in scanning.trees(cgroup, old.pid) if not one.has_terminal]
    main = _main_of(source, old.pid, found)
    made = []
    for index, tree in enumerate(found):
        images = os.path.join(place, str(index))
        os.mkdir(images, 0o700)
        outside = {name: _in_place_of(name, tree, found, source.pipes) for name in tree.pipes}
        made.append(TakenTree(images=images, root=tree.root.inner, outside=outside))
    members = [one for tree in found for one in tree.members]
    return Taken(
        trees=tuple(made), main=None if main is None else main.root.inner,
        running=frozenset(one.inner for one in members if one.pid in stopped),
        last_pid=free_pid(scanning.thread_ids(members)),
    )  # fmt: skip


def _main_of(source: Live, holder: int, found: list[Tree]) -> Tree | None:
    """The tree of a sandbox's program: what its holder has started first."""
    if source.main is None:
        return None
    if source.main_pid:
        wanted = [one for one in found if one.root.pid == source.main_pid]
    else:
        started = [one for one in found if one.root.parent == holder]
        wanted = sorted(started, key=lambda one: one.root.started_at)[:1]
    if not wanted:
        raise CopyFailedError("its program has just ended")
    return wanted[0]


def _in_place_of(name: str, tree: Tree, found: list[Tree], streams: dict[str, int]) -> int:
    if name in streams:
        return streams[name]
    reads, _ = tree.pipes[name]
    others = [one.pipes[name] for one in found if name in one.pipes]
    if any(read for read, _ in others) and any(write for _, write in others):
        return READS if reads else WRITES
    return NOWHERE


def free_pid(used: set[int]) -> int:
    """An id behind which `PIDS_FREE` are free."""
    last = PID_FIRST
    for pid in sorted(used):
        if pid > last + PIDS_FREE:
            break
        last = max(last, pid)
    return last
