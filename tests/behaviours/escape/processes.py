"""Processes: of the host, of neighbours, and those of the platform that are in the sandbox."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket

from tests.behaviours.escape.attempts import (
    HELD,
    HOST,
    attempt,
    none_of,
    opening,
    own_processes,
    refused,
    system_call as call,
)

_ATTACH, _SEIZE = 16, 0x4206
#: The init of the cell, and the holder.
_PLATFORM = (1, 2)
_BUFFER = ctypes.create_string_buffer(64)


@attempt("only its own processes are seen")
def see_processes() -> str:
    parents = {os.getppid()}
    return none_of(pid for pid in own_processes() if pid not in (*_PLATFORM, os.getpid(), *parents))


@attempt("no process of the host or of a neighbour is signalled")
def signal_others() -> str:
    return refused(*((lambda pid=pid: os.kill(pid, 0)) for pid in HOST["pids"]))


@attempt("the init of the sandbox outlives every signal")
def signal_init() -> str:
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):
        with contextlib.suppress(PermissionError):
            os.kill(1, number)
    with open("/proc/1/stat") as file:
        state = file.read().rpartition(")")[2].split()[0]
    return HELD if state in "SRI" else f"state {state}"


@attempt("the memory of the holder and of the init is neither read nor written")
def memory_of_the_platform() -> str:
    names = ("mem", "pagemap", "auxv")
    modes = (os.O_RDONLY, os.O_RDWR)
    return refused(*(
        opening(f"/proc/{pid}/{name}", mode) for pid in _PLATFORM for name in names
        for mode in modes
    ))  # fmt: skip


@attempt("what the holder and the init were given, and where they lie, is not read")
def environment_of_the_platform() -> str:
    def read(path):
        with open(path, "rb") as file:
            return file.read()

    names = ("environ", "maps", "smaps", "stack", "syscall", "io")
    return refused(*(
        (lambda path=f"/proc/{pid}/{name}": read(path)) for pid in _PLATFORM for name in names
    ))  # fmt: skip


@attempt("no descriptor of the holder or of the init is reached")
def descriptors_of_the_platform() -> str:
    paths = [f"/proc/{pid}/fd/{fd}" for pid in _PLATFORM for fd in range(16)]
    links = [(lambda path=path: os.readlink(path)) for path in paths]
    return refused(*links, *map(opening, paths))


@attempt("no descriptor is taken out of another process")
def take_descriptors() -> str:
    return refused(*(
        (lambda pid=pid, fd=fd: call("pidfd_getfd", os.pidfd_open(pid), fd, 0)())
        for pid in _PLATFORM for fd in range(8)
    ))  # fmt: skip


@attempt("the program that the platform runs cannot be opened, so not be overwritten when it ends")
def program_of_the_platform() -> str:
    paths = [f"/proc/{pid}/{name}" for pid in _PLATFORM for name in ("exe", "root", "cwd")]
    return refused(*(opening(path) for path in paths), *(opening(f"{path}/") for path in paths))


@attempt("its own program is a copy of its own layers: the host's is not written through it")
def own_program() -> str:
    found = refused(opening("/proc/self/exe", os.O_WRONLY), opening("/proc/self/exe", os.O_RDWR))
    kept = os.open("/proc/self/exe", os.O_PATH)
    return found if found != HELD else refused(opening(f"/proc/self/fd/{kept}", os.O_WRONLY))


@attempt("nobody is traced, not even by who has its user")
def trace() -> str:
    pids = (*_PLATFORM, *HOST["pids"], os.getppid())
    return refused(*(call("ptrace", how, pid, 0, 0) for how in (_ATTACH, _SEIZE) for pid in pids))


@attempt("the memory of others is not copied")
def copy_memory() -> str:
    pids = (*_PLATFORM, os.getppid())
    names = ("process_vm_readv", "process_vm_writev")
    calls = [call(name, pid, _BUFFER, 1, _BUFFER, 1, 0) for name in names for pid in pids]
    return refused(*calls, *(call("kcmp", 1, pid, 0, 0, 0) for pid in _PLATFORM))


@attempt("no descriptor but the command's own three is handed down")
def handed_down() -> str:
    links = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in ("0", "1", "2")}
    odd = [link for link in links.values() if not link.startswith("pipe:") and link != "/dev/null"]
    for fd in range(3, 1024):
        try:
            odd.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return none_of(odd)


@attempt("neither variables nor command lines hold a key, a path or an address of the daemon")
def credentials() -> str:
    home, key = HOST["home"], HOST["key"]
    found = []
    for pid in own_processes():
        for name in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    data = file.read()
            except OSError:
                continue
            if pid in (os.getpid(), os.getppid()) and name == "environ":
                data = b"\0".join(one for one in data.split(b"\0") if not one.startswith(b"HOST="))
            if home.encode() in data or bytes.fromhex(key) in data or key.encode() in data:
                found.append(f"{pid}/{name}")
    found += [name for name in os.environ if name.startswith("VOLANT_")]
    return none_of(name for name in found if name != "VOLANT_SANDBOX_ID")


@attempt("System V shared memory, semaphores and queues are its own")
def system_v() -> str:
    library = ctypes.CDLL(None, use_errno=True)
    found = [
        key
        for key in HOST["ipc_keys"]
        if {library.shmget(key, 1, 0), library.semget(key, 1, 0), library.msgget(key, 0)} != {-1}
    ]
    return none_of(found)


@attempt("message queues of others are not there")
def message_queues() -> str:
    library = ctypes.CDLL("librt.so.1", use_errno=True)
    opened = library.mq_open(HOST["queue"].encode(), os.O_RDONLY)
    return HELD if opened == -1 else "it is there"


@attempt("a descriptor sent to itself is no more than it was")
def pass_descriptors() -> str:
    first, second = socket.socketpair()
    kept = os.open("/", os.O_PATH)
    socket.send_fds(first, [b"x"], [kept])
    _, [fd], _, _ = socket.recv_fds(second, 1, 1)
    there = set(os.listdir(f"/proc/self/fd/{fd}/..")) ^ set(os.listdir("/"))
    return none_of(there) if there else refused(opening(f"/proc/self/fd/{fd}/../etc/shadow"))
