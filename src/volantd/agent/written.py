"""What containers and zygotes have on the disk: files below a directory, and files without a name.

Everything here looks at what somebody hostile made, and changes meanwhile: no link is followed, no
depth is too deep, and what has vanished counts nothing. It may take a while, so it is called on a
thread. Not seen are files without a name that only a mapping or a message on its way holds.
A zygote's containers are born with the files that it has open: those count for the zygote alone.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from volant.runner.view.places import SCRATCH_DIR
from volantd.usage import bytes_below

_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Whoever wrote: a container, or a zygote with what its import did.

    Attributes:
        path: on the host, everything below it is its own but what lies at `others`.
        pid: its first process, which all others of it descend from or share a namespace with; 0
            for who writes without one.
        more: further directories that are its own: where its volumes are written to.
        other_pids: first processes of other writers among those.
    """

    path: str
    pid: int
    more: tuple[str, ...] = ()
    others: frozenset[str] = frozenset()
    other_pids: frozenset[int] = frozenset()


def measure(writers: list[Writer]) -> list[int]:
    """Bytes on disk of each writer."""
    processes = Processes()
    unlinked = []
    for writer in writers:
        pids = processes.of(writer.pid) if writer.pid else set()
        pids = pids.difference(*map(processes.of, writer.other_pids))
        unlinked.append(files_unlinked(pids, writer.path))
    # What a zygote has open, its containers were born with.
    inherited = {
        file for writer, files in zip(writers, unlinked, strict=True) if writer.other_pids
        for file in files
    }  # fmt: skip
    sizes = []
    for writer, files in zip(writers, unlinked, strict=True):
        own = files if writer.other_pids else files.keys() - inherited
        total = sum(bytes_below(one) for one in writer.more)
        total += bytes_below(writer.path, writer.others)
        sizes.append(total + sum(files[file] for file in own))
    return sizes


def files_unlinked(pids: set[int], path: str) -> dict[tuple[int, int], int]:
    """Files that have no name any more and that one of some processes has open: bytes on disk.

    Args:
        pids: processes of this machine.
        path: on the file system that is meant; layers of containers lie on it too.
    """
    try:
        device = os.lstat(path).st_dev
    except OSError:
        return {}
    files: dict[tuple[int, int], int] = {}
    for pid in pids:
        layers: set[str] | None = None
        for number in _names(f"/proc/{pid}/fd"):
            try:
                info = os.stat(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue
            if info.st_nlink or not stat.S_ISREG(info.st_mode):
                continue
            if info.st_dev != device:
                if layers is None:
                    layers = _layers(pid)
                if _mount_of(pid, number) not in layers:
                    continue  # a memory file, say
            files[info.st_dev, info.st_ino] = info.st_blocks * _BLOCK_BYTES
    return files


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _layers(pid: int) -> set[str]:
    """The mounts of a process that write to a container's scratch directory."""
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as source:
            return {line.split(" ", 1)[0] for line in source if f"upperdir={SCRATCH_DIR}/" in line}
    except OSError:
        return set()


def _mount_of(pid: int, number: str) -> str:
    try:
        with open(f"/proc/{pid}/fdinfo/{number}") as source:
            fields = dict(line.split(":", 1) for line in source if ":" in line)
    except OSError:
        return ""
    return fields.get("mnt_id", "").strip()


class Processes:
    """The processes of this machine at one moment: parents, and PID namespaces."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        self._namespaces: dict[int, str] = {}
        self._ours = os.readlink("/proc/self/ns/pid") if os.path.isdir("/proc/self/ns") else ""
        for name in _names("/proc"):
            if name.isdigit():
                self._read(int(name))

    def _read(self, pid: int) -> None:
        try:
            with open(f"/proc/{pid}/stat", "rb") as source:
                parent = int(source.read().rpartition(b")")[2].split()[1])
            self._children.setdefault(parent, []).append(pid)
            self._namespaces[pid] = os.readlink(f"/proc/{pid}/ns/pid")
        except OSError:
            return  # it has ended, or is another user's

    def of(self, pid: int) -> set[int]:
        """A process, what descends from it, and what shares a PID namespace other than ours."""
        found = {pid}
        own = self._namespaces.get(pid, self._ours)
        if own != self._ours:
            found |= {other for other, name in self._namespaces.items() if name == own}
        waiting = list(found)
        while waiting:
            for child in self._children.get(waiting.pop(), ()):
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return found
