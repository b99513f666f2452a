"""The kernel's doors: system calls, settings, devices and namespaces."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import socket
import stat
import time

from tests.behaviours.escape.attempts import (
    HELD,
    HOST,
    attempt,
    none_of,
    opening,
    refused,
    system_call as call,
)

_NEW = {"ns": 0x20000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000,
        "ipc": 0x8000000, "uts": 0x4000000, "cgroup": 0x2000000}  # fmt: skip
_BUFFER = ctypes.create_string_buffer(4096)
_MS_REMOUNT_BIND = 32 | 4096


# -- mounts and roots


@attempt("nothing can be mounted, also not what no device is needed for")
def mount() -> str:
    kinds = (b"tmpfs", b"proc", b"sysfs", b"cgroup", b"cgroup2", b"overlay", b"devtmpfs")
    return refused(*(call("mount", b"none", b"/mnt", kind, 0, 0) for kind in kinds))


@attempt("no mount can be made writable, moved or taken away")
def remount() -> str:
    writable = call("mount", b"none", b"/sys/devices/system", 0, _MS_REMOUNT_BIND, 0)
    return refused(writable, call("umount2", b"/proc", 2), call("mount", b"/", b"/mnt", 0, 8192, 0))


@attempt("the newer calls for mounts are shut as well")
def mount_by_descriptor() -> str:
    return refused(
        call("open_tree", -100, b"/", 1), call("fsopen", b"tmpfs", 0), call("fsmount", -1, 0, 0),
        call("move_mount", -100, b"/tmp", -100, b"/mnt", 0), call("fspick", -100, b"/", 0),
        call("mount_setattr", -100, b"/", 0, _BUFFER, 32), call("fsconfig", -1, 6, 0, 0, 0),
    )  # fmt: skip


@attempt("the root cannot be changed, so there is none to break out of")
def change_root() -> str:
    os.makedirs("/tmp/jail", exist_ok=True)
    return refused(
        lambda: os.chroot("/tmp/jail"), call("pivot_root", b"/tmp/jail", b"/tmp/jail"),
    )  # fmt: skip


@attempt("no file is opened by its inode, around all directories")
def open_by_handle() -> str:
    root_of_a_disk = b"\x08\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0"
    handle = ctypes.create_string_buffer(root_of_a_disk)
    place = os.open("/etc/alternatives" if os.path.isdir("/etc/alternatives") else "/", os.O_RDONLY)
    return refused(call("open_by_handle_at", place, handle, 0))


@attempt("layers below cannot be reached by attributes of an overlay, and whiteouts are no files")
def overlay_tricks() -> str:
    os.makedirs("/tmp/over", exist_ok=True)
    forbidden = ("trusted.overlay.redirect", "trusted.overlay.opaque", "security.capability")
    attempts = [
        (lambda name=name: os.setxattr("/tmp/over", name, b"/.volant")) for name in forbidden
    ]
    return refused(*attempts, opening("/.volant/scratch/s1"), opening("/.volant/base/etc"))


@attempt("nothing of the daemon's layers shows below their mount points")
def directories_of_mounts() -> str:
    found = []
    for place in ("/.volant/scratch", "/.volant/base", "/.volant/lower"):
        if os.path.isdir(place):
            found += os.listdir(place)
    return none_of(found)


# -- namespaces


@attempt("no namespace is made, so no capability is gained in one")
def make_namespaces() -> str:
    made = [call("unshare", bits) for bits in _NEW.values()]
    return refused(*made, *(call("clone", bits | 17, 0, 0, 0, 0) for bits in _NEW.values()))


@attempt("clone3, whose flags no filter sees, is not there")
def make_namespaces_by_clone3() -> str:
    flags = ctypes.create_string_buffer(_NEW["user"].to_bytes(8, "little") + bytes(80))
    return refused(call("clone3", flags, 88))


@attempt("nobody else's namespaces are entered, nor its own again")
def enter_namespaces() -> str:
    tries = []
    for pid in (1, 2, os.getpid()):
        for name in _NEW:
            path = f"/proc/{pid}/ns/{'mnt' if name == 'ns' else name}"
            tries.append(lambda path=path: call("setns", os.open(path, os.O_RDONLY), 0)())
    return refused(*tries)


@attempt("the map of ids stays as it is")
def map_ids() -> str:
    names = ("uid_map", "gid_map")
    tries = []
    for name in names:

        def write(name=name):
            with open(f"/proc/self/{name}", "wb", buffering=0) as file:
                return file.write(b"0 0 4294967295")

        tries.append(write)
    return refused(*tries)


# -- what programs for the kernel use


@attempt("no program is loaded into the kernel, and no counter opened")
def programs_for_the_kernel() -> str:
    return refused(
        call("bpf", 0, _BUFFER, 120), call("bpf", 5, _BUFFER, 120),
        call("perf_event_open", _BUFFER, 0, -1, -1, 0),
    )  # fmt: skip


@attempt("there is no ring of requests, which no filter sees")
def rings() -> str:
    return refused(
        call("io_uring_setup", 8, _BUFFER), call("io_uring_enter", 0, 1, 0, 0, 0, 0),
        call("io_uring_register", 0, 0, 0, 0), call("io_setup", 8, _BUFFER),
    )  # fmt: skip


@attempt("no fault of the kernel waits for a program")
def user_fault() -> str:
    return refused(call("userfaultfd", 0), call("userfaultfd", 1), opening("/dev/userfaultfd"))


@attempt("no key is added, read or asked for")
def keys() -> str:
    added = call("add_key", b"user", b"mine", b"x", 1, -3)
    return refused(added, call("keyctl", 0, -3, 1), call("request_key", b"user", b"mine", 0, -3))


@attempt("no module is loaded, and no other kernel")
def modules() -> str:
    return refused(
        call("init_module", _BUFFER, 16, b""), call("finit_module", 0, b"", 0),
        call("delete_module", b"none", 0), call("kexec_load", 0, 0, 0, 0),
        call("kexec_file_load", -1, -1, 0, b"", 0), call("reboot", 0, 0, 0, 0),
    )  # fmt: skip


@attempt("no socket of a family by which a module would be loaded")
def odd_sockets() -> str:
    families = (9, 15, 17, 21, 29, 30, 31, 38, 40, 44)
    return refused(*((lambda one=one: socket.socket(one, socket.SOCK_DGRAM)) for one in families))


@attempt("no packet is made by hand, and none of others read")
def raw_sockets() -> str:
    return refused(
        lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58),
        lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3),
        lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9),
    )  # fmt: skip


@attempt("the clock is everybody's, and stays")
def set_time() -> str:
    now = time.clock_gettime(time.CLOCK_REALTIME)
    return refused(
        lambda: time.clock_settime(time.CLOCK_REALTIME, now), call("settimeofday", _BUFFER, 0),
        call("adjtimex", b"\x02" + bytes(300)), call("clock_adjtime", 0, b"\x02" + bytes(300)),
    )  # fmt: skip


@attempt("its name is given, not taken")
def set_host_name() -> str:
    return refused(lambda: socket.sethostname("host"), call("setdomainname", b"host", 4))


@attempt("what the kernel has logged is not shown, and its console is not there")
def kernel_log() -> str:
    return refused(
        call("syslog", 3, _BUFFER, 4096), opening("/dev/kmsg"), opening("/proc/kmsg"),
        opening("/dev/console"), opening("/dev/tty0"), opening("/dev/mem"), opening("/dev/port"),
    )  # fmt: skip


@attempt("no accounting, swap or quota of the machine is touched")
def machine_files() -> str:
    return refused(
        call("acct", 0), call("swapon", b"/tmp/swap", 0), call("swapoff", b"/tmp/swap"),
        call("quotactl", 0, b"", 0, 0), call("vhangup"), call("iopl", 3), call("ioperm", 0, 8, 1),
    )  # fmt: skip


@attempt("a call that is newer than the filter does not exist, nor one of another architecture")
def unknown_calls() -> str:
    HOST["numbers"].update({"next": HOST["ceiling"] + 1, "x32": 0x40000000 + 165})
    return refused(call("next", 0), call("x32", b"none", b"/mnt", b"tmpfs", 0, 0))


@attempt("no device is made, whatever its number")
def device_nodes() -> str:
    kinds = [(stat.S_IFBLK, 254, 0), (stat.S_IFBLK, 8, 0), (stat.S_IFCHR, 1, 1),
             (stat.S_IFCHR, 10, 232), (stat.S_IFCHR, 10, 229), (stat.S_IFCHR, 4, 0)]  # fmt: skip
    return refused(*(
        (lambda kind=kind, major=major, minor=minor:
            os.mknod("/tmp/device", kind | 0o666, os.makedev(major, minor)))
        for kind, major, minor in kinds
    ))  # fmt: skip


@attempt("only harmless devices are there")
def devices() -> str:
    harmless = {"null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "ptmx", "fd",
                "stdin", "stdout", "stderr"}  # fmt: skip
    return none_of(set(os.listdir("/dev")) - harmless)


@attempt("devices of the host keep their modes and owners")
def modes_of_devices() -> str:
    names = ("null", "zero", "full", "random", "urandom")
    tries = [(lambda name=name: os.chmod(f"/dev/{name}", 0)) for name in names]
    opened = os.open("/dev/null", os.O_RDWR)
    return refused(*tries, lambda: os.unlink("/dev/null"), lambda: os.fchmod(opened, 0))


@attempt("nothing is typed into a terminal by a program")
def terminal_injection() -> str:
    _, follower = os.openpty()
    requests = (0x5412, 0x541C, 0x100005412)
    tries = [(lambda number=number: fcntl.ioctl(follower, number & 0xFFFFFFFF, b"x"))
             for number in requests]  # fmt: skip
    return refused(*tries, call("ioctl", follower, 0x100005412, b"x"))


@attempt("no setting of the kernel can be written")
def settings() -> str:
    own = ("/proc/sys/kernel/shm", "/proc/sys/kernel/msg", "/proc/sys/kernel/sem",
           "/proc/sys/kernel/auto_msgmni", "/proc/sys/fs/mqueue/", "/proc/sys/user/",
           "/proc/sys/kernel/pid_max", "/proc/sys/kernel/ns_last_pid")  # fmt: skip
    found = []
    for top in ("/proc/sys", "/proc/irq", "/proc/fs", "/proc/bus", "/proc/acpi", "/sys"):
        for directory, _, files in os.walk(top):
            for name in files:
                path = os.path.join(directory, name)
                if not path.startswith(own) and refused(opening(path, os.O_WRONLY)) != HELD:
                    found.append(path)
    return none_of(found)


@attempt("no core is handed to a program of the host")
def core_pattern() -> str:
    names = ("core_pattern", "modprobe", "hotplug", "poweroff_cmd", "core_pipe_limit")
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    tries = refused(*(opening(f"/proc/sys/kernel/{name}", os.O_WRONLY) for name in names))
    return tries if limit == (0, 0) else f"cores of {limit}"


@attempt("the keys of the console, and the memory of the kernel, are not to be had")
def kernel_files() -> str:
    names = ("sysrq-trigger", "kcore", "kmsg", "kpagecount", "kpageflags", "timer_list", "iomem")
    writes = [opening(f"/proc/{name}", os.O_WRONLY) for name in names]
    reads = [opening(f"/proc/{name}") for name in ("kcore", "kmsg", "kpagecount", "kpageflags")]
    return refused(*writes, *reads)


@attempt("of /sys there is a part to be read, without debugging, firmware and control groups")
def sysfs() -> str:
    names = ("kernel", "fs", "firmware", "fs/cgroup", "kernel/debug", "kernel/security", "module",
             "class", "bus", "block", "power", "dev")  # fmt: skip
    return none_of(name for name in names if os.path.lexists(f"/sys/{name}"))


@attempt("no file of a control group is there: none to run a program by, none to leave one")
def control_groups() -> str:
    names = ("release_agent", "notify_on_release", "cgroup.procs", "tasks", "devices.allow",
             "memory.limit_in_bytes", "memory.max", "pids.max", "cgroup.kill")  # fmt: skip
    found = []
    for top, _, files in os.walk("/"):
        if not top.startswith("/proc"):
            found += [os.path.join(top, name) for name in files if name in names]
    with open("/proc/self/cgroup") as file:
        found += [line for line in file if line.rstrip().rpartition(":")[2] != "/"]
    return none_of(found)
