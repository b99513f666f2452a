"""Forks of the launcher that copy a sandbox: memory out of it and into another, and files.

    dump     enters the sandbox, with the machine's rights ──► CRIU, for each tree of processes
    fill     writes what a sandbox wrote into the files of a new one, in which nothing runs yet
    restore  becomes the root of a new sandbox, in its control group ──► CRIU, for each tree

A dump needs rights of the machine: nobody else is told the filters of a process, or may suspend
them. What is dumped stands still, and sees nothing of it. What is restored has, from its birth, the
namespaces and the control group of the new sandbox, and gets its filters back from the images.
Invariant: no program of a sandbox is executed by who has rights that it has not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from volant.runner import linux
from volantd.runtime import template
from volantd.runtime.copies import criu, filling, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_IN_THERE = (
    linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
)  # fmt: skip
_LAST_PID = "/proc/sys/kernel/ns_last_pid"
_AMBIENT, _AMBIENT_RAISE, _KEEP_CAPABILITIES = 47, 2, 8
#: Of what a fork says that cannot become CRIU.
TEXT_BYTES_MAX = 4096
#: Where what is restored writes to, or reads from: nowhere, one end of a new pipe, or the other.
NOWHERE, READS, WRITES = -1, -2, -3


def start(request: dict[str, Any], report_fd: int, fds: list[int], shelf_fd: int) -> NoReturn:
    """Do a step that a request names; never returns.

    Args:
        request: `step`, and `pid` of what holds the sandbox; see the functions for the others.
        report_fd: gets `error TEXT` should something fail, and is closed when all is done.
        fds: a pidfd of what holds the sandbox, and pipes that what is restored has.
        shelf_fd: a directory in memory, in which CRIU keeps what it finds out about the kernel.
    """
    try:
        step = request["step"]
        if step == "fill":
            _fill(request, fds)
        else:
            cache_fd = _opened_cache(shelf_fd, step, first_id_of(request["pid"]))
            (_dump if step == "dump" else _restore)(request, fds, cache_fd)
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        said = str(error) if isinstance(error, RefusedError) else f"{type(error).__name__}: {error}"
        template.report(report_fd, f"error {said}")
    os._exit(0)


class RefusedError(Exception):
    """CRIU cannot do it; the text says why."""


def _dump(request: dict[str, Any], fds: list[int], cache_fd: int) -> None:
    """Write memory to images.

    The request has `program` (see `criu.Program`) and `trees`, each with `images` (an empty
    directory), `pid` (of its root, as the sandbox sees it) and `outside` (names of what its
    processes share with others).
    """
    first_id = first_id_of(request["pid"])
    program = criu.Opened(request["program"], cache_fd)
    places = [_open_images(tree["images"], first_id) for tree in request["trees"]]
    linux.setns(fds[0], _IN_THERE)
    os.chdir("/")

    def run(tree: dict[str, Any], place: int) -> None:
        _become(first_id)
        outside = [word for name in tree["outside"] for word in ("--external", name)]
        program.execute("dump", place, ["--tree", str(tree["pid"]), "--leave-running", *outside])

    for tree, place in zip(request["trees"], places, strict=True):
        _wait_for(run, tree, place, "dump")


def _restore(request: dict[str, Any], fds: list[int], cache_fd: int) -> None:
    """Have what is in images run.

    The request has `program`; `cgroup` (see `template.settle`); `last_pid`, behind which ids are
    free; `trees`, each with `images` and `outside`: names, and what takes their places, which is
    the number of a pipe that came with the request, NOWHERE, READS or WRITES.
    """
    template.settle(request)
    program = criu.Opened(request["program"], cache_fd)
    first_id = first_id_of(request["pid"])
    places = []
    for tree in request["trees"]:
        images.settle(tree["images"])
        places.append(_open_images(tree["images"], first_id))
    for fd in fds[1:]:
        os.fchown(fd, first_id, first_id)  # whoever opens it again has to be its owner
    linux.setns(fds[0], linux.CLONE_NEWUSER | _IN_THERE)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.chdir("/")
    ends = _Ends(fds[1:])

    def go_beyond(tree: dict[str, Any], place: int) -> None:
        # Only who is among the processes can say which id comes next, and so has one before.
        with open(_LAST_PID, "w", encoding="ascii") as last:
            last.write(str(request["last_pid"]))
        os._exit(0)

    def run(tree: dict[str, Any], place: int) -> None:
        taken = [word for name, fd in tree["fds"].items()
                 for word in ("--inherit-fd", f"fd[{fd}]:{name}")]  # fmt: skip
        os.setsid()  # what led no session gets this one, which is to be one of the sandbox's
        program.execute("restore", place, ["--restore-detached", *taken])

    for tree, place in zip(request["trees"], places, strict=True):
        outside = tree["outside"].items()
        tree["fds"] = {name: ends.of(name, source) for name, source in outside}
        _wait_for(go_beyond, tree, place, "restore")
        _wait_for(run, tree, place, "restore")


class _Ends:
    """Descriptors for what was shared with others."""

    def __init__(self, given: list[int]) -> None:
        self._given = given
        self._nowhere = os.open("/dev/null", os.O_RDWR)
        self._pipes: dict[str, tuple[int, int]] = {}

    def of(self, name: str, source: int) -> int:
        """One more descriptor of what takes the place of a pipe: CRIU closes each that it had."""
        if source >= 0:
            fd = self._given[source]
        elif source == NOWHERE:
            fd = self._nowhere
        else:
            if name not in self._pipes:
                self._pipes[name] = os.pipe()
            fd = self._pipes[name][0 if source == READS else 1]
        made = os.dup(fd)
        os.set_inheritable(made, True)
        return made


def _fill(request: dict[str, Any], fds: list[int]) -> None:
    """Write files.

    The request has `parts`, directories of this machine and what they are in the sandbox;
    `first_id`, what id 0 is in them; `leave_out`, paths in the first of them.
    """
    first_id = first_id_of(request["pid"])
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    parts = [(os.open(path, flags), inside) for path, inside in request["parts"]]
    linux.setns(fds[0], linux.CLONE_NEWNS)
    act_as(first_id)
    leave_out = frozenset(request["leave_out"])
    for source_fd, inside in parts:
        target_fd = os.open(inside, flags)
        filling.Filling(target_fd, request["first_id"], first_id).add(source_fd, leave_out)
        leave_out = frozenset()


def _opened_cache(shelf_fd: int, name: str, owner: int) -> int:
    """A directory of a shelf, for who is about to be CRIU: 15 ms each time but the first."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=shelf_fd)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=shelf_fd)
    os.fchown(fd, owner, owner)
    for found in os.listdir(fd):
        os.chown(found, owner, owner, dir_fd=fd, follow_symlinks=False)
    return fd


def first_id_of(pid: int) -> int:
    """What id 0 is on this machine in the user namespace of a process."""
    with open(f"/proc/{pid}/uid_map", encoding="ascii") as source:
        return int(source.read().split()[1])


def act_as(owner: int) -> None:
    """Access files as somebody else, but with all rights of root."""
    libc = ctypes.PyDLL(None)
    libc.setfsgid(owner)
    libc.setfsuid(owner)
    linux.capset_all()


def _open_images(path: str, owner: int) -> int:
    """A directory of images, which CRIU can read and write in the sandbox; inherited."""
    os.chown(path, owner, owner)
    for name in os.listdir(path):
        os.chown(os.path.join(path, name), owner, owner)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    return fd


def _become(owner: int) -> None:
    """Be who owns the sandbox's files, with the rights of this machine's root, also as CRIU."""
    linux.prctl(_KEEP_CAPABILITIES, 1)
    os.setgroups([])
    os.setresgid(owner, owner, owner)
    os.setresuid(owner, owner, owner)
    held = linux.capset_inheritable()
    for capability in held:
        linux.prctl(_AMBIENT, _AMBIENT_RAISE, capability)


def _wait_for(
    run: Callable[[dict[str, Any], int], None], tree: dict[str, Any], place: int, verb: str
) -> None:
    """Fork, so that who runs is among the sandbox's processes, and wait until it has done it."""
    reads, writes = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            linux.prctl(linux.PR_SET_PDEATHSIG, 9)
            run(tree, place)
        except BaseException as error:  # noqa: BLE001  # must be told, whatever it is
            os.write(writes, str(error).encode("utf-8", "replace"))
        finally:
            os._exit(1)
    os.close(writes)
    status = os.waitpid(child, 0)[1]
    if status:
        said = os.read(reads, TEXT_BYTES_MAX).decode("utf-8", "replace")
        raise RefusedError(said or criu.reason(place, verb) or f"CRIU ended with status {status}")
    os.close(reads)
