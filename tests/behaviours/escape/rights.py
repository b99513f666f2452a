"""Rights: those of root in a sandbox reach no farther than the sandbox."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
from typing import TYPE_CHECKING

from tests.behaviours.escape.attempts import HELD, attempt, none_of, opening, refused

if TYPE_CHECKING:
    from collections.abc import Callable

#: By their numbers: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP and
#: NET_BIND_SERVICE.
_RIGHTS = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10))
#: What else confines it: nobody gains by executing a program, and calls are filtered.
_CONFINED = {"NoNewPrivs": 1, "Seccomp": 2}
#: The init of the cell, and the holder; on a kernel of its own the first is the holder.
_PLATFORM = (1, 2)
_library = ctypes.CDLL(None, use_errno=True)


def _rights() -> dict[str, int]:
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    return {name: int(fields.get(name, "0"), 16) for name in names}


def _seen_below(top: str) -> list[str]:
    return [os.path.join(place, name) for place, _, names in os.walk(top) for name in names]


def _as_another(make: Callable[[], str]) -> str:
    """What an attempt says that another user of the sandbox makes, if there can be one."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        told = "it has failed"
        try:
            with contextlib.suppress(OSError):  # there is one id alone
                os.setgroups([])
            try:
                os.setresgid(44, 44, 44)
                os.setresuid(33, 33, 33)
            except OSError:
                told = HELD
            else:
                told = make()
        finally:
            os.write(writes, told.encode())
            os._exit(0)
    os.close(writes)
    with open(reads, "rb") as said:
        told = said.read().decode()
    os.waitpid(child, 0)
    return told


@attempt("a program with set-user-id bits lends nobody its owner or its group")
def set_user_id() -> str:
    shutil.copy("/bin/sh", "/tmp/sh")
    with contextlib.suppress(OSError):  # where there is one id it is refused
        os.chmod("/tmp/sh", 0o6755)
    reads = "grep -E '^(Uid|Gid|CapPrm|CapEff):' /proc/self/status"

    def run() -> str:
        done = subprocess.run(["/tmp/sh", "-p", "-c", reads], capture_output=True, check=True)
        told = set(done.stdout.decode().split()) - {"Uid:", "Gid:", "CapPrm:", "CapEff:"}
        return none_of(told - {"33", "44", f"{0:016x}"})

    return _as_another(run)


@attempt("where what it makes would be a user's of this machine, no file has such bits")
def set_user_id_of_a_user() -> str:
    with open("/proc/self/uid_map") as file:
        if file.read().split()[2:] != ["1"]:
            return HELD  # the user is nobody's
    shutil.copy("/bin/sh", "/tmp/sh")
    create = os.O_CREAT | os.O_WRONLY
    return refused(
        *((lambda mode=mode: os.chmod("/tmp/sh", mode)) for mode in (0o4755, 0o2755, 0o6755)),
        lambda: os.open("/tmp/made", create, 0o4755), lambda: os.mkdir("/tmp/kept", 0o2755),
    )  # fmt: skip


@attempt("those of the system give no capability and no other user")
def run_set_user_id() -> str:
    own = (f"{_RIGHTS:016x}" if os.geteuid() == 0 else f"{0:016x}").encode()
    script = "grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status; id -u"
    user, found = str(os.geteuid()).encode(), []
    for program in ("su", "mount", "passwd", "newuidmap", "sudo"):
        path = shutil.which(program)
        if path is None or not os.stat(path).st_mode & 0o6000:
            continue
        done = subprocess.run([path, "-c", script], capture_output=True, check=False, timeout=5,
                              stdin=subprocess.DEVNULL)  # fmt: skip
        told = done.stdout.split()
        usual = (b"CapPrm:", b"CapEff:", b"CapAmb:", own, user, b"0" * 16)
        found += [one for one in told if one not in usual]
    return none_of(found)


@attempt("no file gets a capability")
def file_capabilities() -> str:
    shutil.copy("/bin/sh", "/tmp/capable")
    value = b"\x01\0\0\x02" + b"\xff" * 8 + bytes(8)
    return refused(lambda: os.setxattr("/tmp/capable", "security.capability", value))


@attempt("there is a filter, and no program gives rights")
def own_filter() -> str:
    fields = _rights()
    return none_of(name for name, value in _CONFINED.items() if fields[name] != value)


@attempt("there are the rights that root has in a sandbox, and no others")
def own_rights() -> str:
    fields = _rights()
    wanted = {"CapInh": 0, "CapPrm": _RIGHTS, "CapEff": _RIGHTS, "CapBnd": _RIGHTS, "CapAmb": 0}
    return none_of(f"{name} {fields[name]:x}" for name in wanted if fields[name] != wanted[name])


@attempt("what is not there cannot be had: by asking, by inheriting, by a program of root's")
def more_rights() -> str:
    def ask(bits):
        def call():
            header = struct.pack("II", 0x20080522, 0)
            data = struct.pack("6I", bits, bits, 0, 0, 0, 0)
            if _library.capset(header, data) or _rights()["CapPrm"] == _RIGHTS:
                raise OSError(ctypes.get_errno(), "capset")

        return call

    def raise_ambient(number):
        def call():
            if _library.prctl(47, 2, number, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")

        return call

    others = [number for number in range(41) if not _RIGHTS >> number & 1]
    tries = [ask(_RIGHTS | 1 << number) for number in others if number < 32]
    told = refused(*tries, *map(raise_ambient, others))
    if told != HELD:
        return told
    shown = subprocess.run(["cat", "/proc/self/status"], capture_output=True, check=True, text=True)
    return HELD if f"CapEff:\t{_RIGHTS:016x}" in shown.stdout else shown.stdout


@attempt("who has become another has no right, and does not come back, by itself or by programs")
def come_back() -> str:
    def tries() -> str:
        if any(_rights()[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")):
            return "it has kept rights"
        told = refused(lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0),
                       lambda: os.setgroups([0]), lambda: os.chown("/tmp", 33, 33),
                       opening("/etc/hosts", os.O_WRONLY))  # fmt: skip
        return told if told != HELD else run_set_user_id()

    return _as_another(tries)


@attempt("another user signals nobody of the platform")
def signal_as_another() -> str:
    return _as_another(lambda: refused(*(
        (lambda pid=pid, number=number: os.kill(pid, number))
        for pid in _PLATFORM for number in (0, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)
    )))  # fmt: skip


@attempt("another user reaches of the platform even less: no memory, no descriptor, no limit")
def platform_as_another() -> str:
    names = ("mem", "environ", "maps", "exe", "root", "cwd", "fd/0", "fd", "stack")
    paths = [f"/proc/{pid}/{name}" for pid in _PLATFORM for name in names]
    return _as_another(lambda: refused(
        *map(opening, paths), lambda: resource.prlimit(2, resource.RLIMIT_NOFILE, (1, 1)),
        lambda: os.sched_setaffinity(2, {0}), lambda: os.setpriority(os.PRIO_PROCESS, 2, 5),
        lambda: open("/proc/2/oom_score_adj", "w").close(),
    ))  # fmt: skip


@attempt("limits, priorities and marks of the holder are not changed for the better")
def favour_the_platform() -> str:
    def write(path, text):
        with open(path, "w") as file:
            file.write(text)

    return refused(
        lambda: os.setpriority(os.PRIO_PROCESS, 2, -5), lambda: os.setpriority(os.PRIO_USER, 0, -5),
        lambda: os.sched_setscheduler(2, os.SCHED_FIFO, os.sched_param(1)),
        lambda: write("/proc/2/oom_score_adj", "-1000"),
        lambda: write("/proc/1/oom_score_adj", "-1000"),
        lambda: resource.prlimit(2, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)),
    )  # fmt: skip


@attempt("no file is given to who is not of here")
def owners_from_elsewhere() -> str:
    with open("/tmp/mine", "w") as file:
        file.write("mine")
    ids = (65536, 70000, 100000, 1 << 20, (1 << 31) - 1)
    given = [(lambda one=one: os.chown("/tmp/mine", one, -1)) for one in ids]
    given += [(lambda one=one: os.lchown("/tmp/mine", -1, one)) for one in ids]
    return refused(*given)


@attempt("no file of the machine is given to anybody")
def owners_of_the_machine() -> str:
    shared = ("/dev/null", "/dev/zero", "/proc/sys/kernel/core_pattern", "/proc/1", "/proc",
              "/sys/devices/system", "/sys/devices/system/cpu", "/etc/ssl/certs",
              "/etc/alternatives", *_seen_below("/etc/alternatives"))  # fmt: skip
    there = [path for path in shared if os.path.lexists(path)]
    return refused(*(
        (lambda path=path: os.chown(path, 33, 33, follow_symlinks=False)) for path in there
    ))  # fmt: skip


@attempt("what is closed to all but the machine's root is closed to the sandbox's")
def closed_files() -> str:
    found = []
    for top in ("/sys", "/dev", "/etc/ssl/certs", "/etc/alternatives", "/proc/sys", "/proc/fs"):
        for path in _seen_below(top):
            with contextlib.suppress(OSError):
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode) and info.st_uid == 65534 and not info.st_mode & 0o004:
                    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                    found.append(path)
    return none_of(found)


@attempt("no file is made that nobody could remove, and none that is counted for another")
def attributes_of_files() -> str:
    fd = os.open("/tmp/kept", os.O_CREAT | os.O_RDWR)
    flags = (0x10, 0x20, 0x4000)  # immutable, only to be appended to, with its data in the journal
    sets = [(lambda one=one: fcntl.ioctl(fd, 0x40086602, struct.pack("l", one))) for one in flags]
    project = struct.pack("IIIII8x", 0, 0, 0, 77, 0)
    return refused(*sets, lambda: fcntl.ioctl(fd, 0x401C5820, project))


@attempt("attributes with which overlays and kernels trust a file are not set")
def trusted_attributes() -> str:
    shutil.copy("/bin/sh", "/tmp/trusted")
    names = ("trusted.overlay.opaque", "trusted.overlay.redirect", "security.ima", "security.evm",
             "security.capability")  # fmt: skip
    value = struct.pack("<5II", 0x03000001, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0, 0)
    path = "/tmp/trusted"
    return refused(*((lambda name=name: os.setxattr(path, name, value)) for name in names))


@attempt("nobody is told that somebody else has sent something")
def forged_senders() -> str:
    first, second = socket.socketpair()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def send(*ids):
        rights = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("iII", *ids))]
        return first.sendmsg([b"x"], rights)

    own = os.getpid()
    return refused(lambda: send(1, 0, 0), lambda: send(2, 0, 0), lambda: send(own, 70000, 0),
                   lambda: send(own, 0, 100000))  # fmt: skip


@attempt("ports below 1024 of the machine's network are the machine's")
def low_ports() -> str:
    def bind(family, address, kind):
        with socket.socket(family, kind) as one:
            one.bind((address, 81))

    tries = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")]
    return refused(*(
        (lambda family=family, address=address, kind=kind: bind(family, address, kind))
        for family, address in tries for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    ))  # fmt: skip


@attempt("who is root here cannot become a user that is not of here")
def other_users() -> str:
    return refused(lambda: os.setuid(70000), lambda: os.setresuid(1 << 20, 0, 0))


@attempt("no limit is raised")
def raise_limits() -> str:
    def raised(which):
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY:
            raise OSError
        try:
            resource.setrlimit(which, (hard + 1, hard + 1))
        except ValueError as error:
            raise OSError from error

    limits = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE,
              resource.RLIMIT_NPROC)  # fmt: skip
    raises = [(lambda which=which: raised(which)) for which in limits]
    return refused(*raises, lambda: os.nice(-1))
