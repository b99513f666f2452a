"""From a fresh fork of the zygote to a fully isolated container (child side).

    container rung                                         process rung
    ahead, in a cell's init: mnt ipc uts [net] namespaces  own work directory
      overlays of the root and of each tree, proc, dev,
      shm, pts, sys, sdk, pivot_root, lo
    in the container: enter the cell, hostname
    ------- both: rlimits, no capabilities (sandboxes: a few), no_new_privs, Landlock, seccomp

Owns the order of these steps. It makes no decision about what a container may see (the
launcher built that), and raises `OSError` at the first step that fails: a half isolated
child must never go on.
Invariant: nothing of the host can be written once `enter_*` has returned.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import resource
import sys
from _struct import pack

from volant.runner import linux, seccomp
from volant.runner.view import roots
from volant.runner.view.places import (
    FILES_DIR,
    LAYERS_DIR,
    LOWER_DIR,
    NEW_ROOT,
    SCRATCH_DIR,
    WORK_DIR,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a zygote keeps while it runs user code, in its own user namespace: enough for its
#: children to enter their cells.
ZYGOTE_CAPABILITIES = (linux.CAP_SETPCAP, linux.CAP_SYS_CHROOT, linux.CAP_SYS_ADMIN)
#: What its nursery needs besides, to make cells, and to look into those whose ports it decides on.
TEMPLATE_CAPABILITIES = (
    *ZYGOTE_CAPABILITIES, linux.CAP_DAC_OVERRIDE, linux.CAP_NET_ADMIN, linux.CAP_SYS_PTRACE,
)  # fmt: skip
#: What one keeps whose children are gVisor's: it runs no code of others, and they bring a root and
#: files of their own about, and give all of it up before there is any.
GVISOR_CAPABILITIES = (
    *TEMPLATE_CAPABILITIES, linux.CAP_CHOWN, linux.CAP_DAC_READ_SEARCH, linux.CAP_FOWNER,
    linux.CAP_FSETID, linux.CAP_MKNOD, linux.CAP_SETGID, linux.CAP_SETUID,
)  # fmt: skip
#: What root has in a sandbox, within the sandbox's own user namespace: files of any owner and mode,
#: other users, their processes, low ports of its own network. Nothing that mounts, traces, makes
#: devices or roots, or gives rights to files.
SANDBOX_CAPABILITIES = (
    linux.CAP_CHOWN, linux.CAP_DAC_OVERRIDE, linux.CAP_FOWNER, linux.CAP_FSETID, linux.CAP_KILL,
    linux.CAP_SETGID, linux.CAP_SETUID, linux.CAP_SETPCAP, linux.CAP_NET_BIND_SERVICE,
)  # fmt: skip
#: What the init of a cell keeps: whoever enters the cell must have it too, and gives it up then.
INIT_CAPABILITIES = (linux.CAP_SYS_CHROOT,)

#: What fits into /dev/shm of a container whose memory is counted, and so limited, by a cgroup; and
#: of one whose memory only rlimits limit, which do not see these files.
SHM_COUNTED = "size=50%,nr_inodes=65536"
SHM_UNCOUNTED = "size=64m,nr_inodes=16384"

#: Layers that an image may have which a template is shown when it runs already.
LAYERS_AHEAD = 32
#: Layers of one image of a sidecar, with what lies above them: their names fit into one mount.
BESIDE_LAYERS_MAX = 128
#: Trees that a container may change on top of (an overlay), or that it only reads (a bind); and
#: layers of a built image, or over the trees, the highest first; and where an image has it work.
OVERLAY, BIND, LAYER, CHANGE, CWD = "o", "b", "l", "v", "c"
#: What this interpreter needs where it runs on gVisor's kernel.
LENT = "g"
#: A descriptor of gVisor's program.
RUNSC = "x"
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41
_RLIMITS = {
    "files": resource.RLIMIT_NOFILE, "file_size_bytes": resource.RLIMIT_FSIZE,
    "memory_bytes": resource.RLIMIT_AS, "processes": resource.RLIMIT_NPROC,
}  # fmt: skip


class Plan:
    """What the launcher decided for a template and all its children."""

    def __init__(self, arguments: list[str]) -> None:
        """Read it from the launcher's command line: rung, state directory, flags, marked paths.

        Marks: `o:` and `b:` trees, `l:` layers, `v:` layers over the trees, `c:` the working
        directory (container rung); `x:` gVisor's program, `g:` what is lent to those that hold its
        sandboxes; `r:` readable and `w:` writable paths (process rung).
        """
        self.rung, self.state_dir, flags = arguments[:3]
        self.own_network = "n" in flags
        self.counts_memory = "m" in flags
        #: each container has ports of its own in the network that it shares
        self.has_private_ports = "p" in flags
        #: its containers are sandboxes: this interpreter is not of their image, and runs none of
        #: their code
        self.is_for_sandboxes = "s" in flags
        #: files in them may have set-user-id bits, which nothing in there heeds: their owners are
        #: nobody on this machine
        self.may_set_ids = self.is_for_sandboxes and "i" in flags
        #: these are told their image later, by `show`
        self.is_blank = "b" in flags
        marked = [(item[0], item[2:]) for item in arguments[3:]]
        self.trees = [path for mark, path in marked if mark == OVERLAY]
        self.read_only = [path for mark, path in marked if mark == BIND]
        #: what they are shown as their image lies over the trees
        self.is_over_machine = "o" in flags
        self.layers = [path for mark, path in marked if mark == LAYER]
        self.changes = [path for mark, path in marked if mark == CHANGE]
        #: what lies above them: places to mount at, and sources
        self.lower = LOWER_DIR
        #: a descriptor of gVisor's program, if that runs its containers; -1: the kernel does
        self.runsc_fd = next((int(found) for mark, found in marked if mark == RUNSC), -1)
        self.runs_gvisor = self.runsc_fd >= 0
        self.lent = [path for mark, path in marked if mark == LENT]
        #: in a cell, where they cannot be seen: mounts of these that are nowhere yet, and links
        self.opened: list[tuple[str, int]] = []
        self.links: list[tuple[str, str]] = []
        self.readable = [path for mark, path in marked if mark == "r"]
        self.writable = [path for mark, path in marked if mark == "w"]
        self.is_container = self.rung == "container"
        #: what root keeps in its containers
        self.capabilities = SANDBOX_CAPABILITIES if self.is_for_sandboxes else ()
        home = WORK_DIR if self.is_container else os.path.join(self.state_dir, "root")
        shows_image = self.layers or (self.is_blank and not self.is_over_machine)
        lends = self.is_for_sandboxes and shows_image
        self.work_dir = FILES_DIR if lends else home
        #: where containers work; made if their image has no such directory
        self.cwd = next((path for mark, path in marked if mark == CWD), home)
        self._build_programs()
        self.landlock_abi = linux.landlock_abi()
        self.grants: list[tuple[int, int]] = []

    def _build_programs(self) -> None:
        """Make the filters of its containers; the second is for those whose ports are told."""
        inet = self.is_container or not self.own_network
        ids = None if self.is_container else (os.geteuid(), os.getegid())
        self.program = seccomp.build(
            sockets_of_inet=inet, shares_files_as=ids, may_set_ids=self.may_set_ids
        )
        self.told_program = b""
        if self.has_private_ports:
            self.told_program = seccomp.build(
                tells_ports=True, refuses=not self.runs_gvisor, may_set_ids=self.may_set_ids
            )

    def show(self, layer_count: int, cwd: str | None = None) -> None:
        """Have the cells that are made from now on show an image, whose layers were mounted.

        Args:
            layer_count: they lie below `LAYERS_DIR`, numbered from the lowest.
            cwd: where containers work; None for where they would without an image.

        Raises:
            ValueError: it is no plan for this, or there cannot be so many.
        """
        if not self.is_blank or not 0 < layer_count <= LAYERS_AHEAD:
            raise ValueError(f"no image of {layer_count} layers can be shown")
        self.is_blank = False
        layers = [f"{LAYERS_DIR}/{index}" for index in reversed(range(layer_count))]
        if self.is_over_machine:
            self.changes = layers
        else:
            self.layers = layers
        self.cwd = cwd or self.cwd

    def beside(self, first: int, count: int, cwd: str | None = None) -> Plan:
        """That of a sandbox's sidecar, which may show another image.

        Args:
            first: where layers of that were mounted, numbered from here on, the lowest first; the
                last one is what lies above them.
            count: how many there are; 0 for the image that all others have.
            cwd: where the sidecar works; None for where it would without an image.

        Raises:
            ValueError: it is no plan for this.
        """
        if not self.is_for_sandboxes or first < 0 or not 0 <= count <= BESIDE_LAYERS_MAX:
            raise ValueError("there can be no such sidecar")
        plan = Plan.__new__(Plan)
        plan.__dict__.update(self.__dict__)
        if count:
            numbers = reversed(range(first, first + count))
            plan.lower, *plan.layers = [f"{LAYERS_DIR}/{number}" for number in numbers]
            plan.trees, plan.read_only, plan.changes = [], [], []
            plan.cwd = cwd or WORK_DIR
        return plan


def enter_template(plan: Plan) -> None:
    """Confine the zygote itself, after its nursery is there and before it imports user code."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if plan.runs_gvisor:
        linux.capset(GVISOR_CAPABILITIES)
        return
    if plan.is_container:
        kept = (*ZYGOTE_CAPABILITIES, *plan.capabilities)
        linux.drop_bounding_set(kept)
        linux.capset(kept)
        linux.install_seccomp(seccomp.build(template=True, may_set_ids=plan.may_set_ids))
        return
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # what a dead container left is ours to end
    if os.geteuid() == 0:
        linux.drop_bounding_set()
    linux.capset()
    if plan.landlock_abi:
        rights = linux.landlock_rights(plan.landlock_abi)
        _open_grants(plan, rights)
        own = (os.open(plan.state_dir, os.O_PATH | os.O_CLOEXEC), rights)
        _restrict_files(plan, [*plan.grants, own], linux.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
        os.close(own[0])
    linux.install_seccomp(plan.program)  # imports are user code too; every fork inherits it


def make_cell(plan: Plan, name: str, beside_fd: int = -1) -> None:
    """In the init of a cell: make everything that a container needs and that can be made ahead.

    Args:
        plan: what it shows.
        name: its own.
        beside_fd: the init of a cell whose network it shares; -1 for none.
    """
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    if plan.own_network and beside_fd >= 0:
        linux.setns(beside_fd, linux.CLONE_NEWNET)
    elif plan.own_network:
        flags |= linux.CLONE_NEWNET
    linux.unshare(flags)
    roots.mount_container(plan, f"{SCRATCH_DIR}/{name}")
    for directory in ("/sys/devices/system", "/dev"):
        linux.mount(directory, NEW_ROOT + directory, "", linux.MS_BIND | linux.MS_REC)
    mount_devices(NEW_ROOT, counts_memory=plan.counts_memory)
    mount_proc(NEW_ROOT)
    roots.enter(NEW_ROOT)
    if plan.own_network and beside_fd < 0:
        raise_loopback()
    linux.drop_bounding_set()
    # The container sees this process, which has its user and is in no cgroup of its. A capability
    # that it has not keeps it from tracing this, also where Landlock does not; the filter keeps
    # `chroot` from being called with it.
    linux.capset(INIT_CAPABILITIES)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_seccomp(plan.program)


def enter_container(plan: Plan, cell_fd: int, hostname: str, limits: dict[str, Any]) -> int:
    """Container rung: enter a cell (`cell_fd` is its init), then the common confinement.

    Returns:
        What tells its supervisor of what concerns ports; -1 where nobody need know.
    """
    for path in plan.lent:
        if os.path.islink(path):
            plan.links.append((path, os.readlink(path)))
        else:
            plan.opened.append((path, linux.open_tree(path, recursive=True)))
    _enter_cell(plan, cell_fd)
    _socket.sethostname(hostname)
    with open("/etc/hosts", "ab", buffering=0) as hosts:
        hosts.write(f"127.0.0.1\t{hostname}\n".encode())
    if plan.runs_gvisor:  # what confines it is what it will become
        return linux.install_supervised_seccomp(plan.told_program) if plan.told_program else -1
    # The network may be shared with the host, and abstract sockets belong to it.
    scoped = linux.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | linux.LANDLOCK_SCOPE_SIGNAL
    return _confine_in_cell(plan, limits, scoped)


def join_container(plan: Plan, cell_fd: int, limits: dict[str, Any]) -> int:
    """Container rung: enter the cell of a container that lives, for a command beside it.

    It may signal the container's own processes, which the pid namespace bounds already. Returns
    as `enter_container` does.
    """
    _enter_cell(plan, cell_fd)
    return _confine_in_cell(plan, limits, linux.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)


def _enter_cell(plan: Plan, cell_fd: int) -> None:
    # A group of its own, or a signal to "my group" would reach the other containers. Not a
    # session: the kernel then makes a scheduling group too, which costs milliseconds.
    os.setpgid(0, 0)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    linux.setns(cell_fd, flags | (linux.CLONE_NEWNET if plan.own_network else 0))
    os.close(cell_fd)
    linux.unshare(linux.CLONE_NEWCGROUP)
    enter_directory(plan.cwd)


def _confine_in_cell(plan: Plan, limits: dict[str, Any], scoped: int) -> int:
    _confine(plan, limits, ZYGOTE_CAPABILITIES)
    # A network of its own bounds abstract sockets as well, and whoever copies a sandbox speaks with
    # its processes over one.
    if not (plan.is_for_sandboxes and plan.own_network):
        restrict_reach(plan.landlock_abi, scoped)
    if plan.has_private_ports:
        return linux.install_supervised_seccomp(plan.told_program)
    linux.install_seccomp(plan.program)
    return -1


def restrict_reach(landlock_abi: int, scoped: int) -> None:
    """Keep this process from what lies outside its own, as far as this kernel can."""
    if landlock_abi >= 6:
        _restrict(linux.landlock_ruleset(0, scoped))


def enter_process(plan: Plan, name: str, limits: dict[str, Any]) -> None:
    """Process rung: a private directory and the common confinement; this is no container."""
    own = os.path.join(plan.state_dir, "scratch", name)
    work = own + "/work"
    for directory in (own, work, own + "/tmp"):
        os.mkdir(directory, 0o700)
    for entry in os.listdir(plan.work_dir):  # relative paths reach the sources from here too
        os.symlink(os.path.join(plan.work_dir, entry), os.path.join(work, entry))
    join_process(plan, name, limits)


def join_process(plan: Plan, name: str, limits: dict[str, Any]) -> None:
    """Process rung: the directory of one that lives and the common confinement."""
    os.setpgid(0, 0)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    own = os.path.join(plan.state_dir, "scratch", name)
    work, temporary = own + "/work", own + "/tmp"
    os.chdir(work)
    os.environ["HOME"] = work
    os.environ["TMPDIR"] = temporary
    tempfile: Any = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None
    _confine(plan, limits, ())
    if plan.landlock_abi:
        rights = linux.landlock_rights(plan.landlock_abi)
        paths = [(own, rights), (plan.work_dir, linux.LANDLOCK_READ)]
        opened = [(os.open(path, os.O_PATH | os.O_CLOEXEC), right) for path, right in paths]
        scoped = linux.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | linux.LANDLOCK_SCOPE_SIGNAL
        _restrict_files(plan, [*plan.grants, *opened], scoped)
        for fd, _ in [*plan.grants, *opened]:
            os.close(fd)


def enter_directory(path: str) -> None:
    """Make a directory the working directory, and make it first if it is not there."""
    os.makedirs(path, 0o755, exist_ok=True)
    os.chdir(path)


def raise_loopback() -> None:
    """Switch on `lo` in a fresh network namespace."""
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        fcntl.ioctl(probe.fileno(), _SIOCSIFFLAGS, pack("16sH14x", b"lo", _IFF_UP_RUNNING))
    finally:
        probe.close()


def mount_devices(root: str, *, counts_memory: bool) -> None:
    """Mount shared memory and terminals of one's own."""
    safe = linux.MS_NOSUID | linux.MS_NOEXEC
    room = "mode=1777," + (SHM_COUNTED if counts_memory else SHM_UNCOUNTED)
    linux.mount("shm", root + "/dev/shm", "tmpfs", safe | linux.MS_NODEV, room)
    options = "newinstance,ptmxmode=0666,mode=0620"
    linux.mount("devpts", root + "/dev/pts", "devpts", safe, options)


def mount_proc(root: str) -> None:
    """Mount the processes of the caller's own pid namespace."""
    safe = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("proc", root + "/proc", "proc", safe)


def limit_resources(limits: dict[str, Any]) -> None:
    """Limit this process and what it starts, one by one.

    Args:
        limits: any of `files`, `file_size_bytes`, `memory_bytes` (address space), `processes`.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for key, which in _RLIMITS.items():
        wanted = limits.get(key)
        if wanted is None:
            continue
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:  # nobody here may raise a limit
            wanted = min(wanted, hard)
        resource.setrlimit(which, (wanted, wanted))


def _confine(plan: Plan, limits: dict[str, Any], capabilities: tuple[int, ...]) -> None:
    limit_resources(limits)
    for capability in capabilities:
        if capability not in plan.capabilities:
            linux.prctl(linux.PR_CAPBSET_DROP, capability)
    linux.capset(plan.capabilities)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _open_grants(plan: Plan, rights: int) -> None:
    """Keep a descriptor of each path that containers may use, for the rules of each fork."""
    wanted = [(path, linux.LANDLOCK_READ) for path in plan.readable]
    wanted += [(path, rights) for path in plan.writable]
    for path, right in wanted:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not on this host: nothing to allow
        if not os.path.isdir(path):
            right &= linux.LANDLOCK_FILE_RIGHTS
        plan.grants.append((fd, right))


def _restrict_files(plan: Plan, grants: list[tuple[int, int]], scoped: int) -> None:
    rights = linux.landlock_rights(plan.landlock_abi)
    ruleset = linux.landlock_ruleset(rights, scoped if plan.landlock_abi >= 6 else 0)
    for fd, right in grants:
        linux.landlock_allow(ruleset, fd, right)
    _restrict(ruleset)


def _restrict(ruleset: int) -> None:
    linux.landlock_restrict(ruleset)
    os.close(ruleset)
