"""Images in a sandbox that runs: mounted, taken away again, and directories of it handed out.

    launcher --fork--> helper: an overlay of the image in the sandbox's own user namespace, unseen
                       helper: becomes the sandbox's root among its files, puts it there ──► exits

What runs in the sandbox may exchange names meanwhile. So a path is walked once, with the sandbox's
rights, beneath its root and through no link of /proc; what it led to is meant from then on, and the
kernel is asked where that is. A mount is found by its source, which only the daemon chooses, and
nothing is unmounted that is another one.
Invariant: nothing is imported or executed once the sandbox's files are in sight.
"""

from __future__ import annotations

import _socket
import errno
import os
from array import array

from volant.runner import linux
from volantd.runtime import template, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SAFE = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
_FLAGS = linux.MS_NOSUID | linux.MS_NODEV
_WALK = os.O_PATH | os.O_DIRECTORY
#: Where nothing is mounted, and of which nothing is handed out.
FORBIDDEN = ("/proc", "/sys", "/dev", "/.volant")
_NAMES_BYTES_MAX = 1 << 20


def carry_out(wanted: dict[str, Any], place: str, fds: list[int]) -> None:
    """Do one thing with an image, as the only thread of a process that ends then.

    Args:
        wanted: `image` says what: `mount` with `target`, `layers` (directories, the highest first),
            `writable` (a directory with `upper` and `work`), `source` and the sandbox's `pid`;
            `unmount` with `source`; `open` with `target`.
        place: a directory of the run, over which things are put together unseen.
        fds: a pidfd of the sandbox; and a socket to which a directory is handed out.

    Raises:
        OSError: with what failed.
    """
    # The machine's, for there is no way to it from inside; what it tells is this process's.
    own = os.open("/proc/self", _WALK | os.O_CLOEXEC)
    if wanted["image"] == "mount":
        made = _put_together(wanted, place, fds[0])
        linux.setns(fds[0], linux.CLONE_NEWNS)
        os.makedirs(wanted["target"], 0o755, exist_ok=True)
        linux.move_mount_onto(made, _walk(own, wanted["target"]))
        return
    linux.setns(fds[0], linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
    _become_root()
    if wanted["image"] == "unmount":
        _unmount(own, wanted["source"])
    else:
        _hand_out(linux.open_tree_of(_walk(own, wanted["target"])), fds[1])


def _become_root() -> None:
    """As the sandbox's root: the machine's is nobody in there, and owns what it makes."""
    if os.geteuid() != 0:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _put_together(wanted: dict[str, Any], place: str, container_fd: int) -> int:
    """A detached mount of an image, of the sandbox's user namespace."""
    is_root = os.geteuid() == 0
    userns_fd = None
    if is_root:
        userns_fd = os.open(f"/proc/{wanted['pid']}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        linux.pidfd_send_signal(container_fd, 0)  # it lives: so that was its namespace
    else:
        linux.setns(container_fd, linux.CLONE_NEWUSER)
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("images", place, "tmpfs", _FLAGS, "mode=755,size=256k")
    os.chdir(place)
    names = [f"l{index}" for index in range(len(wanted["layers"]))]
    for name in (*names, "w", "m"):
        os.mkdir(name, 0o755)
    attributes = _SAFE | linux.MOUNT_ATTR_RDONLY
    for name, layer in zip(names, wanted["layers"], strict=True):
        mapped = template.bind(layer, name, attributes, userns_fd, recursive=False)
        if is_root and not mapped:
            raise OSError(errno.ENOTSUP, "its file system cannot map owners", layer)
    template.bind(wanted["writable"], "w", _SAFE, recursive=False)
    if is_root:
        linux.setns(container_fd, linux.CLONE_NEWUSER)
        linux.unshare(linux.CLONE_NEWNS)
        _become_root()
    options = "lowerdir=" + ":".join(names)
    options += ",upperdir=w/upper,workdir=w/work,volatile,userxattr"
    linux.mount(wanted["source"], "m", "overlay", _FLAGS, options)
    return linux.open_tree("m", recursive=False)


def _walk(own: int, path: str) -> int:
    """The directory that a path leads to in the sandbox, open, if it is its own business."""
    root = os.open("/", _WALK | os.O_CLOEXEC)
    try:
        found = linux.open_in_root(root, path, _WALK)
    finally:
        os.close(root)
    where = os.readlink(f"fd/{found}", dir_fd=own)
    if where == "/" or any(f"{where}/".startswith(f"{one}/") for one in FORBIDDEN):
        raise OSError(errno.EPERM, "it leads to what every sandbox has of its own", where)
    return found


def _unmount(own: int, source: str) -> None:
    """Take a mount away, wherever it is now; what has files of it open keeps them."""
    found = _mount_from(own, source)
    if found is None:
        return  # it went with what it was mounted in
    mount_id, where = found
    fd = os.open(where, _WALK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if f"\nmnt_id:\t{mount_id}\n" not in f"\n{_read(own, f'fdinfo/{fd}')}":
        raise OSError(errno.EAGAIN, "it was moved this very moment", where)
    os.fchdir(fd)
    linux.umount(".", linux.MNT_DETACH)


def _mount_from(own: int, source: str) -> tuple[str, str] | None:
    """The id of a mount, and where it is; None when it is not there."""
    for line in _read(own, "mountinfo").splitlines():
        fields = line.split(" ")
        if fields[fields.index("-") + 2] == source:
            where = fields[4].encode("utf-8", "surrogateescape")
            return fields[0], os.fsdecode(tree.unescaped(where))
    return None


def _read(own: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)
    try:
        content = b""
        while len(content) < _NAMES_BYTES_MAX and (data := os.read(fd, 1 << 16)):
            content += data
    finally:
        os.close(fd)
    return content.decode("utf-8", "surrogateescape")


def _hand_out(fd: int, agent_fd: int) -> None:
    rights = array("i", [fd])
    agent = _socket.socket(fileno=agent_fd)
    agent.sendmsg([b"+"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
