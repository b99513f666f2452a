"""What this machine can isolate: tried for real, once, in a fork that dies afterwards.

Owns the answer to "which rung, and why not a better one", in words that are shown to the user.
It leaves nothing behind and takes less than 50 ms. Nothing is assumed from version
numbers: each step that a container needs is made, in the order in which a container needs it.

Example:
    python -m volantd.runtime.probe
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass

from volant.runner import linux, seccomp
from volantd.runtime import cgroup, template
from volantd.runtime.ports import trial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTAINER, PROCESS = "container", "process"
_NOT_A_CONTAINER = "the process rung is not a container: it shares the host's processes and network"


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        rung: the best rung that works, "container" or "process".
        reasons: why it is not better, or what is missing in it; empty when nothing is.
        is_root: whether containers get a range of user ids of their own.
        is_idmapped: whether owners of the host's files can be mapped (containers may then
            change any file, in their own copy).
        landlock_abi: 0 when this kernel has none.
        has_private_ports: whether containers can listen at the same ports, side by side.
        has_seccomp: whether there is a filter table for this machine.
        cgroup_version: 0 when no limits can be set by cgroup; `cgroup_reason` says why.
        took_ms: how long finding out took.
    """

    rung: str
    reasons: tuple[str, ...]
    is_root: bool
    is_idmapped: bool
    landlock_abi: int
    has_private_ports: bool
    has_seccomp: bool
    cgroup_version: int
    cgroup_reason: str
    took_ms: float

    def as_fields(self) -> dict[str, Any]:
        """As plain values; `from_fields` turns them back."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Probe:
        """Back from `as_fields`."""
        return cls(**{**fields, "reasons": tuple(fields["reasons"])})


def probe(state_dir: str) -> Probe:
    """Find out; tries file systems below `state_dir`, which must exist."""
    begun = time.monotonic()
    is_root = os.geteuid() == 0
    reasons: list[str] = []
    has_seccomp = _has_seccomp(reasons)
    problem = "there is no seccomp table for this machine" if not has_seccomp else None
    is_idmapped = False
    if problem is None:
        answer = _in_child(_try_container, state_dir)
        problem = answer if answer not in ("", "idmapped") else None
        is_idmapped = answer == "idmapped"
    abi = linux.landlock_abi()
    if problem is not None:
        reasons += [f"no containers: {problem}", _NOT_A_CONTAINER]
        if not abi:
            reasons.append("no Landlock in this kernel: files of the host are not protected")
    elif is_root and not is_idmapped:
        reasons.append("owners of the host's files cannot be mapped: trees are read-only inside")
    elif not is_root:
        reasons.append("not root: this machine's directories are read-only inside")
    has_private_ports = problem is None and _has_private_ports(reasons)
    version, cgroup_reason = _cgroup()
    if cgroup_reason:
        reasons.append(cgroup_reason)
    return Probe(
        rung=PROCESS if problem is not None else CONTAINER, reasons=tuple(reasons),
        is_root=is_root, is_idmapped=is_idmapped, landlock_abi=abi,
        has_private_ports=has_private_ports, has_seccomp=has_seccomp,
        cgroup_version=version, cgroup_reason=cgroup_reason,
        took_ms=round((time.monotonic() - begun) * 1000, 1),
    )  # fmt: skip


def _has_seccomp(reasons: list[str]) -> bool:
    try:
        seccomp.build()
    except LookupError as error:
        reasons.append(str(error))
        return False
    return True


def _has_private_ports(reasons: list[str]) -> bool:
    """Have a process bind a port, and see whether it gets its own."""
    problem = _in_child(trial.try_out)
    if problem:
        reasons.append(f"containers share their ports, so two cannot listen at one: {problem}")
    return not problem


def _cgroup() -> tuple[int, str]:
    try:
        version, parents = cgroup.find_parents()
    except cgroup.CgroupUnavailableError as error:
        return 0, str(error)
    for path in parents.values():
        if not os.access(path, os.W_OK):
            return 0, f"no limits by cgroup: {path} cannot be written by this user"
    return version, ""


def _in_child(attempt: Any, *arguments: str) -> str:
    """Run `attempt` in a fork; what it returns, or the text of what it raised."""
    here, there = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(here)
            text = attempt(*arguments)
        except OSError as error:
            text = error.strerror or str(error)
            text += f" ({error.filename})" if error.filename else ""
        except BaseException as error:  # noqa: BLE001  # a fork must end here
            text = f"{type(error).__name__}: {error}"
        os.write(there, text[:4000].encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(pid, 0)
    return text


def _try_container(state_dir: str) -> str:
    """Go the way of a template and its first container, in a throw-away directory."""
    with tempfile.TemporaryDirectory(dir=state_dir, prefix="probe-") as root:
        for name in ("lower", "upper", "work", "merged", "proc"):
            os.mkdir(os.path.join(root, name))
        return _in_child(_try_mounts, root)


def _try_mounts(root: str) -> str:
    is_root = os.geteuid() == 0
    idmapped = ""
    if is_root:
        userns_fd = template.make_user_namespace(template.ID_COUNT * 8192, template.ID_COUNT)
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        fd = linux.open_tree(root, recursive=False)
        try:
            linux.mount_setattr(fd, "", 1, recursive=False, userns_fd=userns_fd)
            idmapped = "idmapped"
        except OSError:
            pass  # containers work without it
        os.close(fd)
        for name in ("", "upper", "work"):
            path = os.path.join(root, name)
            os.chown(path, template.ID_COUNT * 8192, template.ID_COUNT * 8192)
        os.chdir(root)
        linux.setns(userns_fd, linux.CLONE_NEWUSER)
    else:
        os.chdir(root)
        template.enter_own_user_namespace(0)
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC
    linux.unshare(flags | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP)
    if is_root:
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    return _in_child(_try_inside) or idmapped


def _try_inside() -> str:
    linux.mount("proc", "proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    options = "lowerdir=lower,upperdir=upper,workdir=work,volatile,userxattr"
    linux.mount("overlay", "merged", "overlay", linux.MS_NOSUID | linux.MS_NODEV, options)
    pid_namespace = os.open("proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    linux.setns(pid_namespace, linux.CLONE_NEWPID)
    linux.unshare(linux.CLONE_NEWPID)
    linux.drop_bounding_set()
    linux.capset()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_seccomp(seccomp.build())
    return ""


if __name__ == "__main__":
    found = probe(tempfile.gettempdir())
    sys.stdout.write("".join(f"{key}: {value}\n" for key, value in found.as_fields().items()))
