"""Starts the program that serves a bucket as a file system, in a mount namespace of its own.

    launcher --fork--> namespace with the mount --exec--> server: answers the kernel, asks the store
    helper of a container: enters that namespace, copies the mount, maps its owners, moves it

The mount is in no namespace but this one and those of containers, so it is gone with them, whoever
is killed. The server has ids that nobody else has, no capability, and only the files it was given.
Invariant: what it is told of a store is neither in its arguments nor in its environment.
"""

from __future__ import annotations

import os
import resource

from volant.runner import linux
from volantd.runtime import template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

DEVICE = "/dev/fuse"
_FLAGS = linux.MS_NOSUID | linux.MS_NODEV
_OPTIONS = "rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"


def start(request: dict[str, Any], place: str, report_fd: int, fds: list[int]) -> NoReturn:
    """Become the server that a request asks for; never returns.

    Args:
        request: `program`, a path; `argv`, in which `{fuse}` and `{config}` stand for paths of
            descriptors; `env`; `uid`, of the server.
        place: a directory of the run, over which the mount is.
        report_fd: is closed when the server runs; gets `error TEXT` should it fail.
        fds: its configuration, a file in memory, and where it prints.
    """
    config_fd, log_fd = fds
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, 9)
        fuse_fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        program_fd = os.open(request["program"], os.O_RDONLY | os.O_CLOEXEC)
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("bucket", place, "fuse", _FLAGS, f"fd={fuse_fd},{_OPTIONS}")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, 0)
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        for fd in (fuse_fd, config_fd):
            os.set_inheritable(fd, True)
        names = {"fuse": f"/dev/fd/{fuse_fd}", "config": f"/dev/fd/{config_fd}"}
        argv = [word.format(**names) if word[0] == "{" else word for word in request["argv"]]
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory has keys in it
        os.chdir("/")
        os.setgroups([])
        os.setresgid(request["uid"], request["uid"], request["uid"])
        os.setresuid(request["uid"], request["uid"], request["uid"])
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # changing ids has cleared it
        # By its descriptor: the way to it may be through directories that are not for everybody.
        os.execve(program_fd, argv, request["env"])
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        template.report(report_fd, f"error {type(error).__name__}: {error}")
    os._exit(1)


def mount_of(pid: int, place: str) -> int:
    """A copy of the mount of a server, detached; leaves the caller in its mount namespace.

    Raises:
        OSError: ENOTCONN when it does not serve any more.
    """
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    linux.setns(namespace, linux.CLONE_NEWNS)
    os.close(namespace)
    os.stat(place)  # waits until it serves: only then may owners be mapped
    return linux.open_tree(place, recursive=False)
