"""From a fork of the launcher to a running zygote: namespaces, mounts, exec.

    launcher --fork--> A (builds the view)  --clone(PARENT, new namespaces)--> B --exec--> zygote
                        mount namespace                 user pid ipc uts cgroup [net]
                        idmapped read-only trees        proc, pivot_root, fewer capabilities

Runs in forked children of the launcher only. As root, A builds the view with the host's
rights, because only those may map the owners of files; B starts in a user namespace that
maps nothing of the host. As a normal user both live in a user namespace where the user is
root. Invariant: B has left everything of the host behind before the image's Python is executed.
"""

from __future__ import annotations

import errno
import os
import stat

from volant.runner import isolate, linux
from volant.runner.view import places, roots
from volantd.runtime import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

ID_COUNT = 65536
#: Owners of this machine's files that a sandbox knows, where it is shown these: those of packages.
#: People's belong to nobody there, so what is private to them stays so also to who is root.
SYSTEM_ID_COUNT = 1000
#: Among the first that the kernel ends when the whole machine runs out of memory.
OOM_SCORE = "500"
_DEFAULT_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": places.WORK_DIR,
    "LANG": "C.UTF-8",
}
_START = "import sys; sys.path[0] = {sdk!r}; from volant.runner.zygote import main; main()"
_READ_ONLY = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
_NO_DEVICES = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV


def start(request: dict[str, Any], base_dir: str, report_fd: int, fds: list[int]) -> NoReturn:
    """Become the zygote that a spawn request asks for; never returns.

    Args:
        request: the launcher's `spawn` message.
        base_dir: the curated files of this run.
        report_fd: gets `pid N` and, should something fail, `error TEXT`; closes at exec.
        fds: control socket and log, as received.
    """
    try:
        settle(request)
        if request["rung"] == "container":
            _start_container(request, base_dir, report_fd, fds)
        else:
            _start_process(request, report_fd, fds)
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        report(report_fd, f"error {_told(error)}")
    os._exit(1)


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full: there is no room for what a container shows"
    return f"{type(error).__name__}: {error}"


def settle(request: dict[str, Any]) -> None:
    """Enter the cgroup of a request, and be among the first to go when memory is short."""
    for path in (request.get("cgroup") or {}).get("procs_files", ()):
        with open(path, "wb", buffering=0) as procs:
            procs.write(b"0")
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
        score.write(OOM_SCORE.encode())


def report(fd: int, line: str) -> None:
    """Send the launcher a line about the process that starts."""
    os.write(fd, line.replace("\n", " ")[:4000].encode("utf-8", "replace") + b"\n")


# -- process rung


def _start_process(request: dict[str, Any], report_fd: int, fds: list[int]) -> None:
    state_dir = request["state_dir"]
    for name in ("root", "scratch", "tmp", "sdk"):
        os.mkdir(os.path.join(state_dir, name), 0o700)
    sdk = os.path.join(state_dir, "sdk")
    os.symlink(os.path.join(request["sdk_dir"], "volant"), os.path.join(sdk, "volant"))
    os.symlink(request["cloudpickle_dir"], os.path.join(sdk, "cloudpickle"))
    os.symlink(request["lent_dir"], os.path.join(state_dir, "lent"))
    report(report_fd, f"pid {os.getpid()}")
    os.chdir(os.path.join(state_dir, "root"))
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    readable = [*request["trees"], request["sdk_dir"], request["cloudpickle_dir"], sdk]
    readable += [request["lent_dir"], os.path.join(state_dir, "lent")]
    readable += [f"/{name}" for name in tree.MERGED]
    readable += [f"/etc/{name}" for name in (*tree.allowed_names(), *tree.bound_names())]
    readable += ["/proc", "/sys/devices/system", "/run/systemd/resolve"]
    # Not shm, pts and ptmx: they hold other programs' memory, and terminals that somebody types at.
    writable = [f"/dev/{name}" for name in tree.DEVICES]
    # Which of them is whose, variables tell; this rung hides none.
    writable += [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("nvidia")]
    marked = [f"r:{path}" for path in readable] + [f"w:{path}" for path in writable]
    env = {"HOME": os.path.join(state_dir, "root"), "TMPDIR": os.path.join(state_dir, "tmp")}
    _execute(request, fds, sdk, marked, {**env, **request["env"]}, has_ids=False)


# -- container rung


def _start_container(
    request: dict[str, Any], base_dir: str, report_fd: int, fds: list[int]
) -> None:
    state_dir, uid_base = request["state_dir"], request["uid_base"]
    layers: list[str] = request["layers"]
    lends = _lends(request)
    shows_image = layers and not lends and not request["over_machine"]
    trees = [] if shows_image else tree.judge_trees(request["trees"], state_dir)
    owner = uid_base if os.geteuid() == 0 else None
    layer_count = isolate.LAYERS_AHEAD if request["blank"] else len(layers)
    apart = [places.TREES_DIR + path for path in trees]
    tree.build_root(state_dir, [*trees, *apart], owner, layer_count=layer_count, lends=lends)
    namespaces = linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    namespaces |= linux.CLONE_NEWCGROUP | linux.CLONE_NEWNS
    if request["block_network"]:
        namespaces |= linux.CLONE_NEWNET
    if owner is None:
        userns_fd = None
        enter_own_user_namespace(linux.CLONE_NEWNS)
    else:
        userns_fd = make_user_namespace(owner, ID_COUNT)
        linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    root = os.path.join(state_dir, "root")
    trees_fd = userns_fd
    if owner is not None and trees and request["sandboxes"] and not lends:
        trees_fd = make_user_namespace(owner, SYSTEM_ID_COUNT)
    marked = _mount_view(request, root, base_dir, trees, (userns_fd, trees_fd))
    changed = [item[2:] for item in marked if item[0] == isolate.OVERLAY]
    tree.note_changeable(state_dir, changed)
    if userns_fd is not None:
        linux.setns(userns_fd, linux.CLONE_NEWUSER)
    pid = linux.clone(namespaces | linux.CLONE_PARENT)
    if pid:
        report(report_fd, f"pid {pid}")
        os._exit(0)
    _enter_view(request, root, marked, mapped=owner is not None)
    env = {**_DEFAULT_ENV, **request["env"]}
    _execute(request, fds, places.SDK_DIR, marked, env, has_ids=owner is not None)


def _lends(request: dict[str, Any]) -> bool:
    """Whether the template shows this machine, and its containers an image without a Python."""
    has_image = bool(request["layers"] or request["blank"])
    return request["sandboxes"] and has_image and not request["over_machine"]


def enter_own_user_namespace(more_flags: int) -> None:
    """Become root of a new user namespace that knows no one else (needs no privilege)."""
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | more_flags)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "wb", buffering=0) as target:
            target.write(text.encode())


def make_user_namespace(first_id: int, count: int) -> int:
    """Make a user namespace whose ids 0..count-1 are first_id.. outside; needs root.

    It belongs to the first of them, or what is counted for each user of the machine (instances of
    inotify, queued signals) would be root's, and those inside could use all of that up.

    Returns:
        A descriptor of the namespace (close on exec).
    """
    here, there = os.pipe2(os.O_CLOEXEC)
    hold, release = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(release)
            linux.prctl(linux.PR_SET_SECUREBITS, linux.SECBIT_NO_SETUID_FIXUP)
            os.seteuid(first_id)  # with all capabilities
            linux.unshare(linux.CLONE_NEWUSER)
            os.write(there, b"+")
            os.read(hold, 1)
        except OSError as error:
            os.write(there, (error.strerror or str(error)).encode())
        finally:
            os._exit(0)
    os.close(hold)
    os.close(there)
    try:
        answer = os.read(here, 1024)
        if answer != b"+":
            text = answer.decode() or "its first process died"
            raise OSError(errno.EPERM, f"no user namespace can be made: {text}")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "wb", buffering=0) as target:
                target.write(f"0 {first_id} {count}".encode())
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(release)
        os.close(here)
        os.waitpid(pid, 0)


def _mount_view(
    request: dict[str, Any], root: str, base_dir: str, trees: list[str],
    namespaces: tuple[int | None, int | None],
) -> list[str]:  # fmt: skip
    """Mount everything below R; returns the trees as marked for the zygote.

    `namespaces` are of whose users the owners are, of trees in particular; None to map none.
    """
    lends, is_over = _lends(request), request["over_machine"]
    userns_fd, trees_fd = namespaces
    bind(root, root, _NO_DEVICES, recursive=False)
    # Once more, without anything mounted inside: the kernel takes nothing else as a layer.
    lower = root + places.LOWER_DIR
    below = os.path.join(request["state_dir"], "lower") if lends else root
    bind(below, lower, _NO_DEVICES, recursive=False)
    if lends:  # what is written there is for the containers
        bind(below + places.WORK_DIR, root + places.FILES_DIR, _NO_DEVICES, recursive=False)
    scratch = os.path.join(request["state_dir"], "scratch")
    bind(scratch, root + places.SCRATCH_DIR, _NO_DEVICES, recursive=False)
    bind(base_dir, root + places.BASE_DIR, _READ_ONLY, userns_fd)
    layers = _bind_layers(request["layers"], root, userns_fd)
    if not layers or lends or is_over:
        bind(base_dir + "/etc", root + "/etc", _READ_ONLY, userns_fd)
    bind(os.path.join(request["sdk_dir"], "volant"), f"{root}{places.SDK_DIR}/volant", _READ_ONLY)
    bind(request["cloudpickle_dir"], f"{root}{places.SDK_DIR}/cloudpickle", _READ_ONLY)
    bind(request["lent_dir"], root + places.LENT_DIR, _READ_ONLY)
    bind("/sys/devices/system", root + "/sys/devices/system", _READ_ONLY)
    mount_devices(root + "/dev", own_nodes=userns_fd is not None)
    lent = _lend_gvisor(request, root, trees)
    ours = () if request["sandboxes"] else places.SDK_MOUNTS
    marked = [f"{isolate.BIND}:{path}" for path in ours]
    of_image = [f"{isolate.CHANGE if is_over else isolate.LAYER}:{path}" for path in layers]
    if layers and not lends and not is_over:
        return marked + of_image
    for name in tree.bound_names():
        bind(f"/etc/{name}", f"{root}/etc/{name}", _READ_ONLY)
        marked.append(f"{isolate.BIND}:/etc/{name}")
    marked += _bind_trees(trees, root, trees_fd)
    return lent + of_image + ([] if lends else marked)


def _lend_gvisor(request: dict[str, Any], root: str, trees: list[str]) -> list[str]:
    """Open gVisor's program, if it is to run; that and what the interpreter needs there, marked."""
    if request["runsc"] is None:
        return []
    program = os.open(request["runsc"], os.O_RDONLY)
    os.set_inheritable(program, True)
    links = [f"/{name}" for name in tree.MERGED if os.path.islink(f"{root}/{name}")]
    needed = ("/etc", *trees, *links, places.SDK_MOUNTS[0])
    return [f"{isolate.RUNSC}:{program}", *(f"{isolate.LENT}:{path}" for path in needed)]


def _bind_layers(layers: list[str], root: str, userns_fd: int | None) -> list[str]:
    """Mount the layers of an image, and say where a template finds them, highest first."""
    found = []
    for index, layer in enumerate(layers):
        place = f"{places.LAYERS_DIR}/{index}"
        mapped = bind(layer, root + place, _READ_ONLY, userns_fd, recursive=False)
        if userns_fd is not None and not mapped:
            raise OSError(f"the file system of {layer} cannot map owners")
        found.append(place)
    return found[::-1]


def _bind_trees(trees: list[str], root: str, userns_fd: int | None) -> list[str]:
    """Mount trees, with what is mounted in them, and return all that marked.

    Those that containers may change are mounted once more, without what is mounted in them, which
    the kernel takes as no layer.
    """
    marked = []
    points = tree.mount_points()
    for path in trees:
        inside = tree.outermost(path, points)
        if inside and userns_fd is None:  # a normal user cannot tell the one from the other
            bind(path, root + path, _READ_ONLY)
            marked.append(f"{isolate.BIND}:{path}")
            continue
        mapped = bind(path, root + path, _READ_ONLY, userns_fd, recursive=False)
        inside = [point for point in inside if os.path.lexists(root + point)]
        for point in inside:
            bind(point, root + point, _READ_ONLY, userns_fd)
        ours = userns_fd is None and os.stat(path).st_uid == 0  # 0: the user, by the map
        changeable = mapped or ours
        if changeable:
            apart = root + places.TREES_DIR + path
            bind(path, apart, _READ_ONLY, userns_fd, recursive=False)
        marked.append(f"{isolate.OVERLAY if changeable else isolate.BIND}:{path}")
        marked += [f"{isolate.BIND}:{point}" for point in inside] if changeable else []
    return marked


def bind(
    source: str, target: str, attributes: int, userns_fd: int | None = None, *,
    recursive: bool = True,
) -> bool:  # fmt: skip
    """Attach a copy of the mount at `source`; returns whether its owners could be mapped."""
    fd = linux.open_tree(source, recursive=recursive)
    mapped = False
    try:
        if userns_fd is not None:
            try:
                linux.mount_setattr(fd, "", attributes, recursive=recursive, userns_fd=userns_fd)
                mapped = True
            except OSError:
                pass  # this file system cannot: everything in it then belongs to nobody
        if not mapped:
            linux.mount_setattr(fd, "", attributes, recursive=recursive)
        linux.move_mount(fd, target)
    finally:
        os.close(fd)
    return mapped


def mount_devices(
    target: str, *, own_nodes: bool, more: Sequence[tuple[str, int, int, int]] = ()
) -> None:
    """Mount a directory of harmless devices: nodes of its own (as root), or the host's.

    Args:
        target: an existing directory.
        own_nodes: as root.
        more: further nodes of its own: name, major, minor and mode each.
    """
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("dev", target, "tmpfs", flags, "mode=755,size=64k")
    for name in ("shm", "pts"):
        os.mkdir(f"{target}/{name}", 0o755)
    for name, link in tree.DEVICE_LINKS.items():
        os.symlink(link, f"{target}/{name}")
    for name, (major, minor) in tree.DEVICES.items():
        path = f"{target}/{name}"
        if own_nodes:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            os.chmod(path, 0o666)  # noqa: S103  # as on any host: these nodes are for all
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            bind(f"/dev/{name}", path, linux.MOUNT_ATTR_NOSUID)
    for name, major, minor, mode in more:
        path = f"{target}/{name}"
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.mknod(path, mode | stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(path, mode)
    # Containers share this directory: the nodes in it work, but nothing can be left there.
    linux.mount_setattr(linux.AT_FDCWD, target, linux.MOUNT_ATTR_RDONLY, recursive=False)


def _enter_view(request: dict[str, Any], root: str, marked: list[str], *, mapped: bool) -> None:
    """B: leave the host behind (it is still mounted around R until pivot_root)."""
    os.setsid()
    # This copy of the view is locked to its place; a fresh copy on top of it is not.
    fd = linux.open_tree(root, recursive=True)
    linux.move_mount(fd, root)
    os.fchdir(fd)
    os.close(fd)
    if mapped:  # from here on the way to R can no longer be walked, only what is below
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    isolate.mount_devices(".", counts_memory=request["counts_memory"])
    isolate.mount_proc(".")
    roots.enter(".")
    if request["layers"] and not request["sandboxes"]:
        _enter_layers(request, marked)
    if request["block_network"]:
        isolate.raise_loopback()
    os.chdir(places.WORK_DIR)
    is_plain = request["runsc"] is None
    kept = isolate.TEMPLATE_CAPABILITIES if is_plain else isolate.GVISOR_CAPABILITIES
    for_sandboxes = isolate.SANDBOX_CAPABILITIES if request["sandboxes"] else ()
    linux.drop_bounding_set((*kept, *for_sandboxes))
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # after the ids: changing them clears it


def _enter_layers(request: dict[str, Any], marked: list[str]) -> None:
    """For the template of functions: see what its containers will see."""
    layers = [f"{places.LAYERS_DIR}/{index}" for index in range(len(request["layers"]))]
    held = [*places.TEMPLATE_MOUNTS, *layers]
    if not request["over_machine"]:
        roots.enter_image(layers[::-1], held)
        return
    trees = [item[2:] for item in marked if item[0] == isolate.OVERLAY]
    held += [item[2:] for item in marked if item[0] == isolate.BIND]
    held += [places.TREES_DIR + path for path in trees]
    roots.enter_changed(layers[::-1], trees, dict.fromkeys(held))


def _execute(
    request: dict[str, Any], fds: list[int], sdk: str, marked: list[str], env: dict[str, str], *,
    has_ids: bool,
) -> None:  # fmt: skip
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    control_fd, log_fd = fds
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.set_inheritable(control_fd, True)
    flags = "-n" if request["block_network"] else "-"
    flags += "m" if request["counts_memory"] else ""
    flags += "p" if request["private_ports"] else ""
    flags += "s" if request["sandboxes"] else ""
    flags += "b" if request["blank"] else ""
    flags += "o" if request["over_machine"] else ""
    flags += "i" if has_ids else ""
    python = request["python"]
    arguments = [python, "-c", _START.format(sdk=sdk), str(control_fd), request["rung"]]
    arguments += [request["state_dir"] if request["rung"] == "process" else "-", flags, *marked]
    if request["workdir"] is not None:
        arguments.append(f"{isolate.CWD}:{request['workdir']}")
    arguments = [*request["entrypoint"], *arguments]
    try:
        os.execvpe(arguments[0], arguments, env)
    except OSError as error:
        where = "in its container" if request["rung"] == "container" else "here"
        what = "the entrypoint" if request["entrypoint"] else "Python"
        raise OSError(
            error.errno, f"cannot start {what} {where}: {error.strerror}", arguments[0]
        ) from None
