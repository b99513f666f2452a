"""Mounts volumes and buckets into a container that is there already, and mounts them anew.

    launcher --fork--> helper: an overlay for each in a mount namespace of its own
                       helper: enters the container's, puts them there ──► exits

Layers are real directories of the host. As root they are mapped, so that owners in a volume are
those that the container sees; directories that it renames are redirected, which only the mounter's
attributes can say, and no container can. For a normal user the overlay is one of the container's
own user namespace: all is the user's, and renaming a directory that was committed fails with EXDEV.
Nobody inside can unmount it, or mount anything.
Invariant: nothing is imported or executed once the container's files are in sight.
"""

from __future__ import annotations

import ctypes
import errno
import os

from volant.runner import linux
from volantd.runtime import template
from volantd.runtime.buckets import serving
from volantd.runtime.volumes import images
from volantd.runtime.volumes.images import FORBIDDEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

_SAFE = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
_OVERLAY_FLAGS = linux.MS_NOSUID | linux.MS_NODEV
#: What a report begins with when something in the container uses what was to be mounted anew.
BUSY = "busy"


def start(
    request: dict[str, Any], place: str, report_fd: int, fds: list[int],
    servers: Mapping[str, int],
) -> NoReturn:  # fmt: skip
    """Do what a mount request says; never returns.

    Args:
        request: `pid` of the container; `mounts`, each with `target` (a path in it), `layers`
            (directories, the highest first), `writable` (a directory with `upper` and `work`, or
            "") and `again` (another one is mounted there, and goes first). What a process of ours
            is given has `is_there`: its target was made for it. A bucket has `server`, the id of
            what serves it, and then `writable` only says whether it is. What has `image` is for
            `images`, and alone.
        place: a directory of the run, over which things are put together unseen.
        report_fd: gets `error TEXT` should something fail, and is closed when all is done.
        fds: a pidfd of the container, and what else there may be for `images`.
        servers: the processes of those that serve buckets, by their ids.
    """
    try:
        if "image" in request["mounts"][0]:
            images.carry_out({**request["mounts"][0], "pid": request["pid"]}, place, fds)
        elif os.geteuid() == 0:
            _mount_as_root(request, place, fds[0], servers)
        else:
            _mount_as_user(request, place, fds[0])
    except OSError as error:
        word = BUSY if error.errno == errno.EBUSY else type(error).__name__
        template.report(report_fd, f"error {word}: {error}")
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        template.report(report_fd, f"error {type(error).__name__}: {error}")
    os._exit(0)


def _mount_as_root(
    request: dict[str, Any], place: str, container_fd: int, servers: Mapping[str, int]
) -> None:
    userns_fd = os.open(f"/proc/{request['pid']}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    linux.pidfd_send_signal(container_fd, 0)  # it lives: so that was its namespace
    buckets = _buckets(request["mounts"], place, servers)
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("volumes", place, "tmpfs", _OVERLAY_FLAGS, "mode=700,size=256k")
    os.chdir(place)
    made = []
    first_id = _first_id(request["pid"])
    for index, wanted in enumerate(request["mounts"]):
        if index in buckets:
            linux.mount_setattr(buckets[index], "", _SAFE, recursive=False, userns_fd=userns_fd)
            made.append(buckets[index])
            continue
        os.mkdir(str(index))
        os.chdir(str(index))
        made.append(put_together(wanted, userns_fd, first_id))
        os.chdir("..")
    os.close(userns_fd)
    linux.setns(container_fd, linux.CLONE_NEWNS)
    owner = os.stat("/")
    for wanted, fd in zip(request["mounts"], made, strict=True):
        _attach(wanted, fd, (owner.st_uid, owner.st_gid))


def _buckets(
    mounts: list[dict[str, Any]], place: str, servers: Mapping[str, int]
) -> dict[int, int]:
    """Detached mounts of the buckets among some mounts, by their places in the list."""
    wanted = {index: one["server"] for index, one in enumerate(mounts) if "server" in one}
    if not wanted:
        return {}
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    made = {}
    for index, server in wanted.items():
        if server not in servers:
            raise OSError(errno.ENOTCONN, "what serves the bucket is gone")
        made[index] = serving.mount_of(servers[server], place)
        linux.setns(own, linux.CLONE_NEWNS)
    os.close(own)
    return made


def put_together(wanted: dict[str, Any], userns_fd: int, first_id: int) -> int:
    """A detached mount of one volume, put together in the working directory.

    Args:
        wanted: see `start`.
        userns_fd: the user namespace of those who see it.
        first_id: who its root is on this machine.
    """
    names = [f"l{index}" for index in range(len(wanted["layers"]))]
    for name, layer in zip(names, wanted["layers"], strict=True):
        os.mkdir(name)
        if not template.bind(
            layer, name, _SAFE | linux.MOUNT_ATTR_RDONLY, userns_fd, recursive=False
        ):
            raise OSError(errno.ENOTSUP, "its file system cannot map owners", layer)
    options = "lowerdir=" + ":".join(names)
    if wanted["writable"]:
        os.mkdir("w")
        template.bind(wanted["writable"], "w", _SAFE, userns_fd, recursive=False)
        options += ",upperdir=w/upper,workdir=w/work,volatile"
        options += ",redirect_dir=on,index=off,metacopy=off"
    elif len(names) == 1:
        return linux.open_tree(names[0], recursive=False)
    os.mkdir("m")
    # Files are copied up as the container's root: host's root has no owner that the map knows.
    _act_as(first_id)
    linux.mount("overlay", "m", "overlay", _OVERLAY_FLAGS, options)
    _act_as(0)
    return linux.open_tree("m", recursive=False)


def _act_as(owner: int) -> None:
    """Access files as somebody else, but with all rights of root."""
    libc = ctypes.PyDLL(None)
    libc.setfsgid(owner)
    libc.setfsuid(owner)
    linux.capset_all()


def _first_id(pid: int) -> int:
    with open(f"/proc/{pid}/uid_map", encoding="ascii") as source:
        return int(source.read().split()[1])


def _mount_as_user(request: dict[str, Any], place: str, container_fd: int) -> None:
    linux.setns(container_fd, linux.CLONE_NEWUSER)
    linux.unshare(linux.CLONE_NEWNS)
    made = [put_together_as_user(wanted, place) for wanted in request["mounts"]]
    linux.setns(container_fd, linux.CLONE_NEWNS)
    for wanted, fd in zip(request["mounts"], made, strict=True):
        _attach(wanted, fd, None)


def put_together_as_user(wanted: dict[str, Any], place: str) -> int:
    """A detached mount of one volume, in the user namespace that this process is in.

    Args:
        wanted: see `start`.
        place: a directory that nobody looks at any more.
    """
    options = "lowerdir=" + ":".join(map(linux.escaped, wanted["layers"]))
    if wanted["writable"]:
        above = linux.escaped(wanted["writable"])
        options += f",upperdir={above}/upper,workdir={above}/work,volatile,userxattr"
    elif len(wanted["layers"]) == 1:
        return linux.open_tree(wanted["layers"][0], recursive=False)
    linux.mount("overlay", place, "overlay", _OVERLAY_FLAGS, options)
    return linux.open_tree(place, recursive=False)


def _attach(wanted: dict[str, Any], fd: int, owner: tuple[int, int] | None) -> None:
    target = wanted["target"]
    if wanted["again"]:
        linux.umount(target)
    elif not wanted.get("is_there"):
        _make_directory(target, owner)
    put_down(wanted, fd, target)


def put_down(wanted: dict[str, Any], fd: int, target: str) -> None:
    """Mount what was put together, and close it."""
    read_only = 0 if wanted["writable"] else linux.MOUNT_ATTR_RDONLY
    linux.mount_setattr(fd, "", _SAFE | read_only, recursive=False)
    linux.move_mount(fd, target)
    os.close(fd)


def _make_directory(path: str, owner: tuple[int, int] | None) -> None:
    """Make a directory to mount over, if there is none, as the root of the container."""
    if owner is not None:
        os.setegid(owner[1])  # ours mean nothing to the container's file systems
        os.seteuid(owner[0])
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    finally:
        if owner is not None:
            os.seteuid(0)
            os.setegid(0)
    if any((os.path.realpath(path) + "/").startswith(one + "/") for one in FORBIDDEN):
        raise OSError(errno.EPERM, "nothing can be mounted there", path)
