"""The Linux system calls that isolation needs and `os` does not have.

Owns nothing: each function is one system call (or one small family), made through ctypes.
It must not decide anything; what is mounted where is said in `isolate` and in
`volantd.runtime`. Every failure is an `OSError` that carries the errno, the name of the call
and the argument that failed. Runs on Python 3.10 to 3.14, x86_64 and aarch64.

Source: https://man7.org/linux/man-pages/dir_section_2.html
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
MS_BIND, MS_REC = 0x1000, 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
SIGCHLD = 17

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x02, 0x10
FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC = 1, 6, 1
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 0x1, 0x2, 0x4
MOUNT_ATTR_IDMAP = 0x100000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
SECBIT_NO_SETUID_FIXUP = 4
SECCOMP_MODE_FILTER = 2
SECCOMP_SET_MODE_FILTER = 1
#: Whoever supervises gets a descriptor; once it has taken a call, only death interrupts the caller
#: (Linux 5.19).
SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 0x8, 0x20

MADV_COLLAPSE = 25

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_KILL = range(6)
CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN = 6, 7, 8, 10, 12
CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_MKNOD, CAP_SETFCAP = 18, 19, 21, 27, 31
#: Highest capability number asked about; the kernel answers EINVAL beyond its own.
CAP_LAST_MAX = 63

LANDLOCK_RULE_PATH_BENEATH = 1
#: Rights that only reading and executing need: EXECUTE, READ_FILE, READ_DIR.
LANDLOCK_READ = 0b1101
LANDLOCK_REFER = 1 << 13
LANDLOCK_TRUNCATE = 1 << 14
LANDLOCK_IOCTL_DEV = 1 << 15
#: Rights that make sense on a plain file (EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV).
LANDLOCK_FILE_RIGHTS = 0b111 | LANDLOCK_TRUNCATE | LANDLOCK_IOCTL_DEV
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL = 1, 2

_ARCHITECTURE = os.uname().machine if hasattr(os, "uname") else ""
_X86 = _ARCHITECTURE == "x86_64"
_SYS_CLONE = 56 if _X86 else 220
_SYS_IOCTL = 16 if _X86 else 29
_SYS_PIVOT_ROOT = 155 if _X86 else 41
_SYS_CAPGET, _SYS_CAPSET = (125, 126) if _X86 else (90, 91)
_SYS_SETRESUID = 117 if _X86 else 147
_SYS_SECCOMP = 317 if _X86 else 277
_SYS_PIDFD_SEND_SIGNAL, _SYS_PIDFD_OPEN, _SYS_PIDFD_GETFD = 424, 434, 438
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_SYS_OPENAT2 = 437
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446

# PyDLL keeps the interpreter lock during the call: all of these are short, and the child of
# `clone` below must not have to take a lock that nobody will ever release.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long,) * 7
_madvise = _libc.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_prctl = _libc.prctl
_prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4


def _fail(call: str, detail: object) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, f"{call}: {os.strerror(number)}", str(detail))


def _call(call: str, detail: object, number: int, *args: int) -> int:
    result = _syscall(number, *args, *(0,) * (6 - len(args)))
    if result == -1:
        _fail(call, detail)
    return int(result)


def _path(path: str) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(os.fsencode(path))


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount `source` on `target`; `kind` is the file system type ("" for binds)."""
    code = _libc.mount(
        os.fsencode(source), os.fsencode(target), os.fsencode(kind) or None,
        ctypes.c_ulong(flags), os.fsencode(data) or None,
    )  # fmt: skip
    if code == -1:
        _fail("mount", f"{kind or 'bind'} {source} on {target}")


def escaped(path: str) -> str:
    """A path as options of an overlay name it; people's directories may have any character."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def umount(target: str, flags: int = 0) -> None:
    """Unmount what is on top at `target`."""
    if _libc.umount2(os.fsencode(target), flags) == -1:
        _fail("umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of this mount namespace and put the old one at `put_old`."""
    new, old = _path(new_root), _path(put_old)
    _call("pivot_root", new_root, _SYS_PIVOT_ROOT, ctypes.addressof(new), ctypes.addressof(old))


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_NEW* flags for new ones."""
    if _libc.unshare(flags) == -1:
        _fail("unshare", hex(flags))


def setns(fd: int, flags: int) -> None:
    """Enter the namespace that `fd` refers to."""
    if _libc.setns(fd, flags) == -1:
        _fail("setns", hex(flags))


def pidfd_open(pid: int, flags: int = 0) -> int:
    """A descriptor of a process; `os` has this only where Python was built on a new system.

    Raises:
        ProcessLookupError: when it is gone, and reaped.
    """
    return _call("pidfd_open", pid, _SYS_PIDFD_OPEN, pid, flags)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A descriptor of another process, as one of ours (close on exec)."""
    return _call("pidfd_getfd", fd, _SYS_PIDFD_GETFD, pidfd, fd)


def pidfd_send_signal(fd: int, number: int) -> None:
    """Send a signal to the process of a descriptor.

    Raises:
        ProcessLookupError: when it is gone.
    """
    _call("pidfd_send_signal", fd, _SYS_PIDFD_SEND_SIGNAL, fd, number)


def ioctl(fd: int, request: int, address: int) -> None:
    """One ioctl about memory; unlike that of `fcntl` it never begins again after a signal."""
    _call("ioctl", hex(request), _SYS_IOCTL, fd, request, address)


def inotify_init(flags: int) -> int:
    """A descriptor that tells what happens to files."""
    fd = int(_libc.inotify_init1(flags))
    if fd == -1:
        _fail("inotify_init1", hex(flags))
    return fd


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Have the descriptor tell of a path too; the number that its events will have."""
    number = int(_libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(mask)))
    if number == -1:
        _fail("inotify_add_watch", path)
    return number


def disconnect(fd: int) -> None:
    """Reset the connection of a TCP socket: its peer sees an error, and no end of the stream."""
    nowhere = ctypes.create_string_buffer(16)  # AF_UNSPEC
    if _libc.connect(fd, nowhere, 16) == -1:
        _fail("connect", f"{fd} to nowhere")


def clone(flags: int) -> int:
    """Fork with CLONE_* flags and nothing else: 0 in the child, its pid in the parent.

    No at-fork handler runs, so the caller has one thread and the child goes on to `execve`.
    """
    return _call("clone", hex(flags), _SYS_CLONE, flags | SIGCHLD)


def open_tree(path: str, *, recursive: bool) -> int:
    """Copy the mount at `path` into a detached one; returns its descriptor (close on exec)."""
    name = _path(path)
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _call("open_tree", path, _SYS_OPEN_TREE, AT_FDCWD, ctypes.addressof(name), flags)


def move_mount(fd: int, target: str) -> None:
    """Attach a detached mount at `target`."""
    empty, name = _path(""), _path(target)
    _call(
        "move_mount", target, _SYS_MOVE_MOUNT, fd, ctypes.addressof(empty),
        AT_FDCWD, ctypes.addressof(name), MOVE_MOUNT_F_EMPTY_PATH,
    )  # fmt: skip


class _How(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


def open_in_root(root_fd: int, path: str, flags: int) -> int:
    """Open what a path leads to where a directory is the root; through no link of /proc."""
    how = _How(flags=flags | os.O_CLOEXEC, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    name = _path(path)
    return _call(
        "openat2", path, _SYS_OPENAT2, root_fd, ctypes.addressof(name), ctypes.addressof(how),
        ctypes.sizeof(how),
    )  # fmt: skip


def open_tree_of(fd: int) -> int:
    """Copy the mount at an open directory into a detached one, without what is mounted below."""
    empty = _path("")
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH
    return _call("open_tree", f"fd {fd}", _SYS_OPEN_TREE, fd, ctypes.addressof(empty), flags)


def move_mount_onto(fd: int, target_fd: int) -> None:
    """Attach a detached mount at a directory that is open."""
    empty = _path("")
    _call(
        "move_mount", f"fd {target_fd}", _SYS_MOVE_MOUNT, fd, ctypes.addressof(empty), target_fd,
        ctypes.addressof(empty), MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
    )  # fmt: skip


def detached_tmpfs() -> int:
    """A temporary file system that is mounted nowhere, and gone with its descriptor."""
    kind = _path("tmpfs")
    made = _call("fsopen", "tmpfs", _SYS_FSOPEN, ctypes.addressof(kind), FSOPEN_CLOEXEC)
    try:
        _call("fsconfig", "create", _SYS_FSCONFIG, made, FSCONFIG_CMD_CREATE)
        return _call("fsmount", "tmpfs", _SYS_FSMOUNT, made, FSMOUNT_CLOEXEC)
    finally:
        os.close(made)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd")]


def mount_setattr(
    fd: int, path: str, attributes: int, *, recursive: bool, userns_fd: int | None = None
) -> None:
    """Add MOUNT_ATTR_* to a mount; with `userns_fd` its owners are mapped by that namespace.

    Args:
        fd: a detached mount (then `path` is ""), or AT_FDCWD.
        path: the mount point, when `fd` is AT_FDCWD.
        attributes: MOUNT_ATTR_* to set; none is ever cleared.
        recursive: also all mounts below.
        userns_fd: a user namespace, for an idmapped mount.
    """
    request = _MountAttributes(set=attributes)
    if userns_fd is not None:
        request.set |= MOUNT_ATTR_IDMAP
        request.userns_fd = userns_fd
    name = _path(path)
    flags = (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    _call(
        "mount_setattr", path or f"fd {fd}", _SYS_MOUNT_SETATTR, fd, ctypes.addressof(name),
        flags, ctypes.addressof(request), ctypes.sizeof(request),
    )  # fmt: skip


def prctl(option: int, value: int = 0, *more: int) -> int:
    """One prctl; returns what it returned."""
    result = int(_prctl(option, value, *more, *(0,) * (3 - len(more))))
    if result == -1:
        _fail("prctl", f"{option}, {value}")
    return result


def collapse(address: int, size_bytes: int) -> None:
    """Move memory into huge pages now (Linux 6.1 and later), whatever the machine's default is."""
    if _madvise(address, size_bytes, MADV_COLLAPSE) == -1:
        _fail("madvise MADV_COLLAPSE", f"{size_bytes} bytes at {address:#x}")


def drop_bounding_set(keep: tuple[int, ...] = ()) -> None:
    """Take every capability but those in `keep` out of the bounding set, for good."""
    for capability in range(CAP_LAST_MAX + 1):
        if capability in keep:
            continue
        if _prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == -1:
            if ctypes.get_errno() == 22:  # EINVAL: beyond the last one that this kernel knows
                return
            _fail("prctl PR_CAPBSET_DROP", capability)


def take_effective_user(user_id: int) -> None:
    """Give this thread alone another effective user, with no capability but what that owns."""
    _call("setresuid", user_id, _SYS_SETRESUID, -1, user_id, -1)


def capset(capabilities: tuple[int, ...] = ()) -> None:
    """Hold exactly these capabilities (permitted and effective; inheritable is emptied)."""
    bits = sum(1 << number for number in set(capabilities))
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _call("capset", hex(bits), _SYS_CAPSET, ctypes.addressof(header), ctypes.addressof(data))


def capset_all() -> None:
    """Hold every capability that is permitted in effect as well."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _call("capget", "all", _SYS_CAPGET, ctypes.addressof(header), ctypes.addressof(data))
    data[0], data[3] = data[1], data[4]
    _call("capset", "all", _SYS_CAPSET, ctypes.addressof(header), ctypes.addressof(data))


def capset_inheritable() -> list[int]:
    """Have every capability that is permitted in effect and inheritable as well; which these are.

    Such ones can be made ambient, and then survive the execution of a program.
    """
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _call("capget", "all", _SYS_CAPGET, ctypes.addressof(header), ctypes.addressof(data))
    data[0] = data[2] = data[1]
    data[3] = data[5] = data[4]
    _call("capset", "all", _SYS_CAPSET, ctypes.addressof(header), ctypes.addressof(data))
    bits = data[1] | data[4] << 32
    return [number for number in range(CAP_LAST_MAX + 1) if bits >> number & 1]


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install_seccomp(program: bytes) -> None:
    """Put this process and its future children under a BPF program, for good.

    Needs no_new_privs (or CAP_SYS_ADMIN in the own user namespace).
    """
    code = ctypes.create_string_buffer(program, len(program))
    request = _FilterProgram(len(program) // 8, ctypes.addressof(code))
    if _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(request), 0, 0) == -1:
        _fail("prctl PR_SET_SECCOMP", f"{len(program) // 8} instructions")


def install_supervised_seccomp(program: bytes) -> int:
    """As `install_seccomp`, for a program that leaves calls to a supervisor.

    Returns:
        The descriptor by which the supervisor hears of them (close on exec). Once nobody has it
        any more, those calls fail with ENOSYS.
    """
    code = ctypes.create_string_buffer(program, len(program))
    request = _FilterProgram(len(program) // 8, ctypes.addressof(code))
    flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    return _call(
        "seccomp", f"{len(program) // 8} instructions", _SYS_SECCOMP, SECCOMP_SET_MODE_FILTER,
        flags, ctypes.addressof(request),
    )  # fmt: skip


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("fs", "net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # says what a packed structure means; newer Pythons ask for it
    _fields_ = [("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def children() -> list[int]:
    """The children of this thread, those it adopted included; empty where no file tells."""
    try:
        with open("/proc/thread-self/children") as source:
            return [int(word) for word in source.read().split()]
    except OSError:
        return []  # the kernel was built without it


def ended_children() -> Iterator[tuple[int, int]]:
    """Take those children that have ended, by `waitpid`: each with its wait status."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return  # there is none any more
        if pid == 0:
            return  # all that are left go on
        yield pid, status


def drain(wake_fd: int) -> None:
    """Take what `signal.set_wakeup_fd` has written, before looking what happened."""
    try:
        os.read(wake_fd, 4096)
    except BlockingIOError:
        pass


def landlock_abi() -> int:
    """The version of Landlock in this kernel; 0 when there is none or it is switched off."""
    result = _syscall(_SYS_LANDLOCK_CREATE, 0, 0, 1, 0, 0, 0)
    return max(0, int(result))


def landlock_rights(abi: int) -> int:
    """Every file system right that a kernel with this ABI can handle."""
    rights = (1 << 13) - 1
    if abi >= 2:
        rights |= LANDLOCK_REFER
    if abi >= 3:
        rights |= LANDLOCK_TRUNCATE
    if abi >= 5:
        rights |= LANDLOCK_IOCTL_DEV
    return rights


def landlock_ruleset(rights: int, scoped: int = 0) -> int:
    """Make a ruleset that refuses `rights` unless a rule allows them; returns a descriptor.

    Args:
        rights: file system rights to handle; 0 leaves files alone.
        scoped: LANDLOCK_SCOPE_*, only on ABI 6 and later.
    """
    request = _Ruleset(fs=rights, scoped=scoped)
    size = 24 if scoped else 8  # older kernels refuse a structure they do not know
    return _call(
        "landlock_create_ruleset", hex(rights), _SYS_LANDLOCK_CREATE,
        ctypes.addressof(request), size, 0,
    )  # fmt: skip


def landlock_allow(ruleset_fd: int, path_fd: int, rights: int) -> None:
    """Allow `rights` on what `path_fd` refers to and everything below it."""
    rule = _PathBeneath(rights, path_fd)
    _call(
        "landlock_add_rule", f"fd {path_fd}", _SYS_LANDLOCK_ADD, ruleset_fd,
        LANDLOCK_RULE_PATH_BENEATH, ctypes.addressof(rule), 0,
    )  # fmt: skip


def landlock_restrict(ruleset_fd: int) -> None:
    """Put this process and its future children under a ruleset, for good."""
    _call("landlock_restrict_self", f"fd {ruleset_fd}", _SYS_LANDLOCK_RESTRICT, ruleset_fd, 0)
