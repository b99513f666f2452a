"""From a fork in its cell to a sandbox on a kernel of its own, which is gVisor's.

    zygote --fork--> in its cell, whose root is the sandbox's: waits for BOOT --exec--> runsc
        runsc --> sentry: the kernel       .--image: the root of the cell   <-- the sandbox
              '-> gofer: opens files in  view--what this interpreter needs  <-- hidden from it
        in there: this interpreter again, `guest`: has the image as root directory, and holds

Everything around a sandbox is what containers have too: its user namespace, control group, network
and files. But the calls of its programs are answered by a kernel that is a process in there, and
that a filter of its own confines. The holder in it is the same program, on the same channel; what
it can be sent, descriptors of pipes and sockets, gVisor hands in. Out it hands none.
Invariant: no program of the sandbox runs before the way out of its root directory is closed.
"""

from __future__ import annotations

import _socket
import json
import os
import stat
import sys

from volant.runner import control, linux
from volant.runner.sandboxes.guest import IMAGE, SETS_IDS
from volant.runner.view import places, roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from volant.runner import isolate

#: The view, as runsc sees it: what is the root directory of the kernel in there.
_ROOT = "/root"
_BUNDLE, _STATE = "/bundle", "/state"
#: What the cell has of the kernel of this machine, and the sandbox of its own.
_KERNEL_DIRS = ("/proc", "/dev", "/sys/devices/system")
#: To change its root directory and then never again; and what root has in a sandbox. Nothing on
#: this machine is reached by them.
_CAPABILITIES = (
    "CAP_SYS_CHROOT", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
)  # fmt: skip
_START = "import sys; sys.path.append({sdk!r}); from volant.runner.sandboxes.guest import main"
_SAFE = linux.MS_NOSUID | linux.MS_NODEV


def boot(plan: isolate.Plan, channel_fd: int, limits: dict[str, Any]) -> NoReturn:
    """In a cell: boot gVisor there as soon as the agent says so, and be it from then on."""
    try:
        connection = control.Connection(channel_fd)  # is kept, or it would be closed
        received = connection.receive()
        if received is None or received[0] != control.BOOT:
            os._exit(0)  # the agent has thought better of it
        limits = {**limits, "memory_bytes": received[1]["memory_bytes"]}
        hostname = _socket.gethostname()
        _build_view(plan)
        _describe(hostname, plan, limits)
        os.dup2(channel_fd, 0)
        arguments = ["runsc", f"--root={_STATE}", "--network=host", "--ignore-cgroups"]
        # Files are those of the cell, at once: for snapshots, and for volumes.
        arguments += ["--overlay2=none", "run", f"--bundle={_BUNDLE}", hostname]
        os.execve(plan.runsc_fd, arguments, {"PATH": "/"})
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        os.write(2, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
    finally:
        os._exit(1)


def _build_view(plan: isolate.Plan) -> None:
    """Leave the cell for a mount namespace whose root holds what runsc and its kernel need."""
    linux.unshare(linux.CLONE_NEWNS)
    kernel = [(path, linux.open_tree(path, recursive=True)) for path in ("/proc", "/dev")]
    image = linux.open_tree("/", recursive=True)
    linux.mount("view", "/proc", "tmpfs", _SAFE, "mode=755,size=1m")
    os.chdir("/proc")
    for path in ("/tmp", _BUNDLE, _STATE, _ROOT, _ROOT + IMAGE, _ROOT + "/proc", _ROOT + "/tmp"):
        os.mkdir(f".{path}", 0o755)
    for path, fd in kernel:
        _attach(fd, f".{path}")
    for path, fd in plan.opened:
        _attach(fd, f".{_ROOT}{path}")
    for path, target in plan.links:
        os.symlink(target, f".{_ROOT}{path}")
    linux.move_mount(image, f".{_ROOT}{IMAGE}")
    os.close(image)
    roots.enter("/proc")
    for path in _KERNEL_DIRS:  # the sandbox is to reach them by no file
        linux.umount(f"{_ROOT}{IMAGE}{path}", linux.MNT_DETACH)


def _attach(fd: int, place: str) -> None:
    """Attach a mount at a place that is made for it."""
    os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.makedirs(place, 0o755, exist_ok=True)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o755))
    linux.move_mount(fd, place)
    os.close(fd)


def _describe(hostname: str, plan: isolate.Plan, limits: dict[str, Any]) -> None:
    """Write what runsc has to know, as the OCI has it."""
    words = [plan.cwd, SETS_IDS if plan.may_set_ids else "-"]
    words += [f"{name}={value}" for name, value in limits.items() if value is not None]
    start = _START.format(sdk=os.path.dirname(places.SDK_MOUNTS[0])) + "; main()"
    mounts = [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "dev"), ("/dev/pts", "devpts"),
              ("/dev/shm", "tmpfs")]  # fmt: skip  # of the sandbox
    description = {
        "ociVersion": "1.0.0",
        "hostname": hostname,
        "root": {"path": _ROOT},
        "mounts": [{"destination": IMAGE + path, "type": kind, "source": kind}
                   for path, kind in mounts],
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": True,
            "args": [sys.executable, "-I", "-S", "-B", "-c", start, *words],
            "env": [],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
        },
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }  # fmt: skip
    with open(f"{_BUNDLE}/config.json", "w", encoding="utf-8") as target:
        json.dump(description, target)
