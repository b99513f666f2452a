"""Gives a container that is there already device nodes of its own, and files of their driver.

    launcher --fork--> helper: a new /dev in a mount namespace of its own
                       helper: enters the container's, puts it there ──► exits

Every container of a template sees the template's /dev, which has harmless nodes only and cannot be
written. One that was granted devices gets another in its place, with those nodes besides; no other
container sees it, and nobody inside can make a node: that takes rights outside their user
namespace. Runs in a forked child of the launcher, as root.
Invariant: nothing is imported or executed once the container's files are in sight.
"""

from __future__ import annotations

import errno
import os
import stat

from volant.runner import linux
from volantd.runtime import template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Where the loader of an image looks by itself, the first that is there.
_MULTIARCH = f"{os.uname().machine}-linux-gnu"
LIBRARY_DIRS = (f"/usr/lib/{_MULTIARCH}", "/usr/lib64", "/usr/lib")
_FILES = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV


def start(request: dict[str, Any], place: str, report_fd: int, container_fd: int) -> NoReturn:
    """Do what a grant request says; never returns.

    Args:
        request: `nodes`: (name below /dev, major, minor, mode) each; `files`: (path on the host,
            name) each, which go where the image's loader looks.
        place: a directory of the run, over which the new /dev is built unseen.
        report_fd: gets `error TEXT` should something fail, and is closed when all is done.
        container_fd: a pidfd of the container.
    """
    try:
        if os.geteuid() != 0:
            raise PermissionError(errno.EPERM, "only a daemon of root can grant devices")
        _grant(request["nodes"], request["files"], place, container_fd)
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        template.report(report_fd, f"error {type(error).__name__}: {error}")
    os._exit(0)


def _grant(nodes: list[list[Any]], files: list[list[str]], place: str, container_fd: int) -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    template.mount_devices(place, own_nodes=True, more=[_checked(*node) for node in nodes])
    devices = linux.open_tree(place, recursive=False)
    libraries = []
    for source, name in files:
        fd = linux.open_tree(source, recursive=False)
        linux.mount_setattr(fd, "", _FILES, recursive=False)
        libraries.append((fd, name))
    linux.setns(container_fd, linux.CLONE_NEWNS)
    kept = [(linux.open_tree(path, recursive=False), path) for path in ("/dev/shm", "/dev/pts")]
    for fd, path in ((devices, "/dev"), *kept):
        linux.move_mount(fd, path)
    directory = next((path for path in LIBRARY_DIRS if os.path.isdir(path)), "")
    for fd, name in libraries if directory else ():
        path = f"{directory}/{name}"
        _make_file(path)
        linux.move_mount(fd, path)


def _checked(name: str, major: int, minor: int, mode: int) -> tuple[str, int, int, int]:
    parts = name.split("/")
    if len(parts) > 2 or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} cannot be the name of a device")
    return name, major, minor, mode & 0o666


def _make_file(path: str) -> None:
    """Make an empty file to mount over, if there is none, as the root of the container."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    owner = os.stat("/")
    os.setegid(owner.st_gid)  # ours mean nothing to the container's file systems
    os.seteuid(owner.st_uid)
    try:
        os.close(os.open(path, flags, 0o644))
    except FileExistsError:
        pass
    finally:
        os.seteuid(0)
        os.setegid(0)


def node_of(path: str, dev: str = "/dev") -> list[Any]:
    """A device node of the host as a grant request names it.

    Raises:
        OSError: it is not there, or no device for characters.
    """
    info = os.stat(path)
    if not stat.S_ISCHR(info.st_mode):
        raise OSError(errno.ENODEV, "no device node", path)
    name = os.path.relpath(path, dev)
    return [name, os.major(info.st_rdev), os.minor(info.st_rdev), stat.S_IMODE(info.st_mode)]
