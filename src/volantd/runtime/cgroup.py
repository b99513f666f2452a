"""Control groups: limits, out-of-memory counts and sure kills, on v1 (hybrid) and v2.

    <own cgroup>/volant-<run id>/<name>      one leaf per container, in each hierarchy
    <own cgroup>/volant-daemon               version 2: who was in the own cgroup, while runs live

Owns the directories of its run below the daemon's own cgroup and nothing else; the leaf of
version 2 belongs to all runs together, and the last one puts back what was moved. Every leaf
is used once, because its counters stay with it. Reads and writes files only, so both drivers
are tested on a directory tree in a temporary place.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html,
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

import errno
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SYSFS = "/sys/fs/cgroup"
PREFIX = "volant-"
#: Version 2: a group with processes cannot hand out controllers, so they wait in this leaf of it.
DAEMON_LEAF = "volant-daemon"
#: What is handed down in version 2, where it is there; the first two are needed.
V2_CONTROLLERS = ("memory", "pids", "cpu")
#: v1 hierarchies that are used where they exist; the first two are needed.
V1_CONTROLLERS = ("memory", "pids", "cpu", "freezer")
CPU_PERIOD_US = 100_000
#: What one requested core weighs against the others, and the kernel's bounds for that (v1).
SHARES_PER_CORE = 1024
SHARES_MIN, SHARES_MAX = 2, 262_144
#: Bounds of the same in version 2; the conversion is the one that container engines use.
WEIGHT_MIN, WEIGHT_MAX = 1, 10_000
#: A removal finds the group busy until the last dead process has been let go of.
REMOVE_ATTEMPTS = 50
REMOVE_PAUSE_S = 0.01
#: Looks, each after a pause, until what is to be frozen has stopped: on busy processors it runs for
#: a while until it hears of that.
FREEZE_ATTEMPTS = 2000
FREEZE_PAUSE_S = 0.001
#: Somebody forks, or the last of the other runs ends, while controllers are handed down.
DELEGATE_ATTEMPTS = 20


class CgroupUnavailableError(Exception):
    """There is no cgroup to work with; the text says why, in words for the user."""


class Limits:
    """What a container may use; None means unlimited.

    `memory_bytes` counts its tmpfs files too; `cpu_count` may be a fraction. `cpu_request` is no
    limit: in cores, it says how busy processors are divided.
    """

    __slots__ = ("cpu_count", "cpu_request", "memory_bytes", "process_count")

    def __init__(
        self,
        *,
        memory_bytes: int | None = None,
        cpu_count: float | None = None,
        cpu_request: float | None = None,
        process_count: int | None = None,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.cpu_count = cpu_count
        self.cpu_request = cpu_request
        self.process_count = process_count


def shares_of(cores: float) -> int:
    """A request of processors as `cpu.shares` of version 1."""
    return max(SHARES_MIN, min(SHARES_MAX, int(cores * SHARES_PER_CORE)))


def weight_of(cores: float) -> int:
    """A request of processors as `cpu.weight` of version 2."""
    above = (shares_of(cores) - SHARES_MIN) * (WEIGHT_MAX - WEIGHT_MIN)
    return WEIGHT_MIN + above // (SHARES_MAX - SHARES_MIN)


class Cgroup:
    """One leaf, in as many directories as there are hierarchies."""

    def __init__(self, directories: dict[str, str]) -> None:
        """`directories`: controller -> directory; "unified" for the one of version 2."""
        self.directories = directories

    @property
    def procs_files(self) -> list[str]:
        """The files into which a process id is written to put that process here."""
        return [os.path.join(path, "cgroup.procs") for path in self.directories.values()]

    def add(self, pid: int) -> None:
        """Move a process here; one that has ended meanwhile is no error."""
        for path in self.procs_files:
            try:
                _write(path, str(pid))
            except ProcessLookupError:
                return

    def limit(self, limits: Limits) -> None:
        """Set limits on what is in here."""
        for path, text in self._settings(limits):
            _write(path, text)

    def _settings(self, limits: Limits) -> Iterator[tuple[str, str]]:
        memory, pids, cpu = (self.directories.get(name, "") for name in ("memory", "pids", "cpu"))
        if limits.memory_bytes is not None and memory:
            yield f"{memory}/memory.limit_in_bytes", str(limits.memory_bytes)
            if os.path.exists(f"{memory}/memory.memsw.limit_in_bytes"):
                yield f"{memory}/memory.memsw.limit_in_bytes", str(limits.memory_bytes)
        if limits.process_count is not None and pids:
            yield f"{pids}/pids.max", str(limits.process_count)
        if limits.cpu_count is not None and cpu:
            yield f"{cpu}/cpu.cfs_quota_us", str(int(limits.cpu_count * CPU_PERIOD_US))
        if limits.cpu_request is not None and cpu:
            yield f"{cpu}/cpu.shares", str(shares_of(limits.cpu_request))

    def process_ids(self) -> set[int]:
        """The processes that are in here now."""
        found: set[int] = set()
        for path in self.procs_files:
            found.update(int(line) for line in _read(path).split())
        return found

    def kill(self) -> None:
        """Kill every process in here, those that are just being forked included."""
        unified = self.directories.get("unified")
        if unified is not None and os.path.exists(f"{unified}/cgroup.kill"):
            _write(f"{unified}/cgroup.kill", "1")
            return
        freezer = self.directories.get("freezer")
        if freezer is not None:
            _write(f"{freezer}/freezer.state", "FROZEN")  # so that nothing forks meanwhile
        for pid in self.process_ids():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        if freezer is not None:
            _write(f"{freezer}/freezer.state", "THAWED")

    @property
    def can_freeze(self) -> bool:
        """Whether `freeze` does anything."""
        return self._freezer() is not None

    def freeze(self) -> None:
        """Stop all that runs in here until `thaw`, where that can be done. For threads.

        Raises:
            OSError: it does not stop.
        """
        wanted = self._freezer()
        if wanted is None:
            return
        file, told, words = wanted
        _write(file, words[1])
        for _ in range(FREEZE_ATTEMPTS):
            if words[2] in _read(told):
                return
            time.sleep(FREEZE_PAUSE_S)
        self.thaw()
        raise OSError(errno.EBUSY, "its processes cannot be stopped for a moment")

    def thaw(self) -> None:
        """Let go on what `freeze` has stopped."""
        wanted = self._freezer()
        if wanted is not None:
            _write(wanted[0], wanted[2][0])

    def _freezer(self) -> tuple[str, str, tuple[str, str, str]] | None:
        """What is written to, what tells, and the words: to go on, to stop, and stopped."""
        unified, first = (self.directories.get(name) for name in ("unified", "freezer"))
        if unified is not None and os.path.exists(f"{unified}/cgroup.freeze"):
            words = ("0", "1", "frozen 1")
            return f"{unified}/cgroup.freeze", f"{unified}/cgroup.events", words
        if first is not None:
            file = f"{first}/freezer.state"
            return file, file, ("THAWED", "FROZEN", "FROZEN")
        return None

    def oom_kill_count(self) -> int:
        """How many processes in here the kernel killed for want of memory. Read before `remove`."""
        return _counter(_read(f"{self.directories['memory']}/memory.oom_control"), "oom_kill")

    def peak_memory_bytes(self) -> int:
        """The most memory that was ever charged to this group."""
        return int(_read(f"{self.directories['memory']}/memory.max_usage_in_bytes") or 0)

    def remove(self) -> bool:
        """End what is still in here and remove the group; may take a while, so not on a loop.

        Returns:
            False when something in it does not end; the end of the run removes it then.
        """
        for attempt in range(REMOVE_ATTEMPTS):
            if self._remove_empty():
                return True
            if attempt:
                time.sleep(REMOVE_PAUSE_S)
            try:
                self.kill()
            except OSError:
                continue  # gone while we looked
        return False

    def _remove_empty(self) -> bool:
        gone = True
        for path in self.directories.values():
            try:
                os.rmdir(path)
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


class UnifiedCgroup(Cgroup):
    """One leaf of version 2."""

    def _settings(self, limits: Limits) -> Iterator[tuple[str, str]]:
        path = self.directories["unified"]
        if limits.memory_bytes is not None:
            yield f"{path}/memory.max", str(limits.memory_bytes)
            if os.path.exists(f"{path}/memory.swap.max"):
                yield f"{path}/memory.swap.max", "0"
        if limits.process_count is not None:
            yield f"{path}/pids.max", str(limits.process_count)
        if limits.cpu_count is not None:
            quota = int(limits.cpu_count * CPU_PERIOD_US)
            yield f"{path}/cpu.max", f"{quota} {CPU_PERIOD_US}"
        if limits.cpu_request is not None and os.path.exists(f"{path}/cpu.weight"):
            yield f"{path}/cpu.weight", str(weight_of(limits.cpu_request))

    def oom_kill_count(self) -> int:
        """As in version 1, from the counters of this group."""
        return _counter(_read(f"{self.directories['unified']}/memory.events"), "oom_kill")

    def peak_memory_bytes(self) -> int:
        """As in version 1; 0 on kernels before 5.19."""
        return int(_read(f"{self.directories['unified']}/memory.peak") or 0)


class Cgroups:
    """All groups of one run."""

    def __init__(self, *, version: int, parents: dict[str, str], run_id: str) -> None:
        self.version = version
        self.run_id = run_id
        self.parents = {name: f"{path}/{PREFIX}{run_id}" for name, path in parents.items()}
        self._made = 0

    @classmethod
    def open(
        cls, run_id: str, *, sysfs: str = SYSFS, own_path_file: str = "/proc/self/cgroup"
    ) -> Cgroups:
        """Make this run's groups below the daemon's own.

        Raises:
            CgroupUnavailableError: when there is no hierarchy, or it belongs to someone else.
        """
        version, parents = find_parents(sysfs, own_path_file)
        groups = cls(version=version, parents=parents, run_id=run_id)
        try:
            for path in groups.parents.values():
                os.mkdir(path)
            if version == 2:
                _delegate(parents["unified"], groups.parents["unified"])
        except OSError as error:
            groups.remove_all()
            text = f"no limits by cgroup: {error.strerror} ({error.filename})"
            raise CgroupUnavailableError(text) from error
        return groups

    def create(self, name: str = "") -> Cgroup:
        """Make one leaf without limits."""
        if not name:
            self._made += 1
            name = f"c{self._made}"
        directories = {which: f"{path}/{name}" for which, path in self.parents.items()}
        for path in directories.values():
            os.mkdir(path)
        return self._leaf(directories)

    def _leaf(self, directories: dict[str, str]) -> Cgroup:
        return UnifiedCgroup(directories) if self.version == 2 else Cgroup(directories)

    def limit_all(self, limits: Limits) -> None:
        """Set what all groups of this run may use together."""
        self._leaf(self.parents).limit(limits)

    def remove_all(self) -> None:
        """Kill what is in any group of this run, and remove them all."""
        _remove_trees(list(self.parents.values()))
        if self.version == 2:
            _take_back(os.path.dirname(self.parents["unified"]))


def find_parents(
    sysfs: str = SYSFS, own_path_file: str = "/proc/self/cgroup"
) -> tuple[int, dict[str, str]]:
    """The daemon's own group in each hierarchy.

    Returns:
        The version (1 or 2), and controller -> directory ("unified" for version 2, which on a
        hybrid host is there beside the others, for `cgroup.kill`).

    Raises:
        CgroupUnavailableError: when neither version can be used here.
    """
    own = _own_paths(own_path_file)
    if os.path.exists(f"{sysfs}/cgroup.controllers"):
        path = _existing(sysfs, own.get("", "/"))
        if os.path.basename(path) == DAEMON_LEAF:  # started by somebody whom a run has moved
            path = os.path.dirname(path)
        controllers = _read(f"{path}/cgroup.controllers").split()
        missing = [name for name in ("memory", "pids") if name not in controllers]
        if missing:
            text = f"no limits by cgroup: {' and '.join(missing)} not delegated to {path}"
            raise CgroupUnavailableError(text)
        return 2, {"unified": path}
    parents = {
        name: _existing(f"{sysfs}/{name}", own.get(name, "/"))
        for name in V1_CONTROLLERS
        if os.path.isdir(f"{sysfs}/{name}")
    }
    if "memory" not in parents or "pids" not in parents:
        raise CgroupUnavailableError(f"no limits by cgroup: no memory and pids groups in {sysfs}")
    if os.path.exists(f"{sysfs}/unified/cgroup.procs"):
        parents["unified"] = _existing(f"{sysfs}/unified", own.get("", "/"))
    return 1, parents


def remove_run(run_id: str, *, sysfs: str = SYSFS) -> None:
    """Kill and remove what any daemon with this run id left in any hierarchy."""
    roots = [sysfs]
    is_unified = os.path.exists(f"{sysfs}/cgroup.controllers")
    if not is_unified:
        roots = [f"{sysfs}/{name}" for name in (*V1_CONTROLLERS, "unified")]
    name = PREFIX + run_id
    found = []
    for root in roots:
        for directory, names, _ in os.walk(root):
            if name in names:
                found.append(os.path.join(directory, name))
            names[:] = [
                entry for entry in names if entry == DAEMON_LEAF or not entry.startswith(PREFIX)
            ]
    _remove_trees(found)
    if is_unified:
        for path in found:
            _take_back(os.path.dirname(path))


def _own_paths(path: str) -> dict[str, str]:
    """Controller -> own path in its hierarchy ("" is version 2)."""
    found = {}
    for line in _read(path).splitlines():
        _, controllers, own = line.split(":", 2)
        for name in controllers.split(","):
            found[name] = own
    return found


def _existing(root: str, own: str) -> str:
    """The directory of an own path; the root where the path is from outside this namespace."""
    path = root + own.rstrip("/")
    return path if os.path.isdir(path) else root


def _delegate(path: str, run_path: str) -> None:
    """Version 2: hand the controllers of a group down to a run in it, and on to its leaves.

    The run's directory is there already: whoever ends another run sees by it that this one lives.

    Raises:
        OSError: when the kernel does not allow it, or not within some attempts.
    """
    for attempt in range(DELEGATE_ATTEMPTS):
        try:
            if _read(f"{path}/cgroup.type"):  # the root group may hold processes and groups
                os.makedirs(f"{path}/{DAEMON_LEAF}", exist_ok=True)
                _move_all(path, f"{path}/{DAEMON_LEAF}")
            _enable(path)
            _enable(run_path)
        except OSError as error:
            is_last = attempt == DELEGATE_ATTEMPTS - 1
            if is_last or error.errno not in (errno.EBUSY, errno.ENOENT):
                raise
            time.sleep(REMOVE_PAUSE_S)
        else:
            return


def _take_back(path: str) -> None:
    """Version 2: undo `_delegate` once no group but the leaf is left in there."""
    leaf = f"{path}/{DAEMON_LEAF}"
    try:
        if [entry.name for entry in os.scandir(path) if entry.is_dir()] != [DAEMON_LEAF]:
            return  # the root group, or not the last run, or somebody else's groups need it
        have = _read(f"{path}/cgroup.subtree_control").split()
        wanted = [f"-{name}" for name in V2_CONTROLLERS if name in have]
        _write(f"{path}/cgroup.subtree_control", " ".join(wanted))
        for _attempt in range(REMOVE_ATTEMPTS):
            _move_all(leaf, path)
            try:
                os.rmdir(leaf)
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(REMOVE_PAUSE_S)  # somebody was just forked in there
            else:
                return
    except OSError:
        return  # gone, or a new run has begun here meanwhile


def _move_all(source: str, target: str) -> None:
    for pid in _read(f"{source}/cgroup.procs").split():
        if pid == "0":
            continue  # in a pid namespace that cannot be seen from here
        try:
            _write(f"{target}/cgroup.procs", pid)
        except ProcessLookupError:
            continue


def _enable(path: str) -> None:
    have = _read(f"{path}/cgroup.controllers").split()
    missing = [name for name in V2_CONTROLLERS[:2] if name not in have]
    if missing:
        raise OSError(errno.ENOENT, f"{' and '.join(missing)} not handed down", path)
    wanted = [f"+{name}" for name in V2_CONTROLLERS if name in have]
    _write(f"{path}/cgroup.subtree_control", " ".join(wanted))


def _remove_trees(paths: list[str]) -> None:
    """Kill and remove group trees, leaves first; what stays busy is left to the next start."""
    for path in paths:
        for directory, _, _ in os.walk(path, topdown=False):
            _kill_all(directory)
            for _attempt in range(REMOVE_ATTEMPTS):
                try:
                    os.rmdir(directory)
                except FileNotFoundError:
                    break
                except OSError:
                    _kill_all(directory)
                    time.sleep(REMOVE_PAUSE_S)
                else:
                    break


def _kill_all(directory: str) -> None:
    try:
        Cgroup({"unified": directory}).kill()
    except OSError:
        return


def _counter(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as source:
            return source.read()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    except OSError as error:
        error.filename = path  # a refused write does not say where
        raise
    finally:
        os.close(fd)
