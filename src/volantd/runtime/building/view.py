"""From a fork of the launcher to a running build step: its root, its namespaces, its command.

    launcher --fork--> A (maps owners, binds)  --clone(PARENT, new namespaces)--> B --exec--> step

The root of a step is an overlay: the layers of its image below, an empty directory on top, which
becomes the next layer. As root, all are mounted with their owners mapped to a range of ids that is
nobody else's, so on disk a layer has the owners that the step saw. A normal user has one id to
give: the step's root is the user, everything belongs to it, and the filter lets what needs others
seem to work.
Invariant: B has left everything of the host behind before anything of the image is executed.
"""

from __future__ import annotations

import os

from volant.runner import isolate, linux, seccomp
from volant.runner.view import roots
from volantd.runtime import template
from volantd.runtime.volumes import mounting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: What installing packages needs, in the step's own user namespace: owners, modes and other users.
CAPABILITIES = (
    linux.CAP_CHOWN, linux.CAP_DAC_OVERRIDE, linux.CAP_FOWNER, linux.CAP_FSETID, linux.CAP_KILL,
    linux.CAP_SETGID, linux.CAP_SETUID, linux.CAP_SETPCAP, linux.CAP_SETFCAP,
)  # fmt: skip
#: Files of the host that a step needs to find others by their names; no part of its layer.
NETWORK_FILES = ("resolv.conf", "hosts")
#: Directories that every step finds, whatever its image holds.
POINTS = ("proc", "dev", "sys", "etc", "tmp")
#: For programs that look whether they have become another user, and stop: where there is no other.
#: It is the lowest layer, so nothing of it gets into another one.
ONE_ID_DIR = "one-id"
_APT_DIR = "etc/apt/apt.conf.d"
_APT_TEXT = 'APT::Sandbox::User "root";\n'
_READ_ONLY = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
_NO_DEVICES = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV


def start(request: dict[str, Any], base_dir: str, report_fd: int, fds: list[int]) -> NoReturn:
    """Become the step that a spawn request asks for; never returns.

    Args:
        request: the launcher's `spawn` message for the rung "build".
        base_dir: the curated files of this run.
        report_fd: gets `pid N` and, should something fail, `error TEXT`; closes at exec.
        fds: where the step's output goes.
    """
    try:
        template.settle(request)
        _start(request, base_dir, report_fd, fds[0])
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        template.report(report_fd, f"error {type(error).__name__}: {error}")
    os._exit(1)


def _start(request: dict[str, Any], base_dir: str, report_fd: int, log_fd: int) -> None:
    root = os.path.join(request["state_dir"], "root")
    layers: list[str] = request["layers"]
    shared, readable = request["shared"], request["readable"]
    owner: int | None = request["uid_base"]
    _make_root(root, owner, len(layers), len(shared) + len(readable) + len(request["volumes"]))
    if owner is None:
        _make_one_id_layer(f"{root}/{ONE_ID_DIR}", layers)
        userns_fd = None
        template.enter_own_user_namespace(linux.CLONE_NEWNS)
    else:
        userns_fd = template.make_user_namespace(owner, template.ID_COUNT)
        linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    template.bind(root, root, _NO_DEVICES, recursive=False)
    for index, layer in enumerate(layers):
        _bind_mapped(layer, f"{root}/layers/{index}", _READ_ONLY, userns_fd)
    _bind_mapped(request["output"], root + "/output", _NO_DEVICES, userns_fd)
    for index, (source, _) in enumerate(shared):
        _bind_mapped(source, f"{root}/shared/{index}", _NO_DEVICES, userns_fd)
    for index, (source, _) in enumerate(readable, len(shared)):
        target = f"{root}/shared/{index}"
        template.bind(source, target, _READ_ONLY, userns_fd, recursive=False)
    for index, wanted in enumerate(request["volumes"], len(shared) + len(readable)):
        _mount_volume(wanted, f"{root}/shared/{index}", root + "/volume", owner, userns_fd)
    template.bind(base_dir + "/etc", root + "/etc", _READ_ONLY)
    template.mount_devices(root + "/dev", own_nodes=userns_fd is not None)
    if userns_fd is not None:
        linux.setns(userns_fd, linux.CLONE_NEWUSER)
    namespaces = linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    namespaces |= linux.CLONE_NEWCGROUP | linux.CLONE_NEWNS
    pid = linux.clone(namespaces | linux.CLONE_PARENT)
    if pid:
        template.report(report_fd, f"pid {pid}")
        os._exit(0)
    _enter(request, root)
    _execute(request, log_fd)


def _make_root(root: str, owner: int | None, layer_count: int, shared_count: int) -> None:
    names = ["", "layers", "layers/none", "output", "shared", "volume", "etc", "dev", "new"]
    names += [f"layers/{index}" for index in range(layer_count)]
    names += [f"shared/{index}" for index in range(shared_count)]
    for name in names:
        path = os.path.join(root, name)
        os.mkdir(path, 0o755)
        if owner is not None:
            os.chown(path, owner, owner)


def _make_one_id_layer(place: str, layers: list[str]) -> None:
    """Tell apt, where an image has it."""
    os.mkdir(place, 0o755)
    if any(os.path.isdir(f"{layer}/{_APT_DIR}") for layer in layers):
        os.makedirs(f"{place}/{_APT_DIR}")
        with open(f"{place}/{_APT_DIR}/00{ONE_ID_DIR}", "w", encoding="ascii") as target:
            target.write(_APT_TEXT)


def _bind_mapped(source: str, target: str, attributes: int, userns_fd: int | None) -> None:
    mapped = template.bind(source, target, attributes, userns_fd, recursive=False)
    if userns_fd is not None and not mapped:
        raise OSError(
            f"the file system of {source} cannot map owners (ext4, xfs, btrfs and tmpfs can): "
            "images cannot be built there"
        )


def _mount_volume(
    wanted: dict[str, Any], target: str, place: str, owner: int | None, userns_fd: int | None
) -> None:
    """Mount a volume; `place` is covered by what it is put together of."""
    if userns_fd is None or owner is None:
        fd = mounting.put_together_as_user(wanted, place)
    else:
        linux.mount("volume", place, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=700,size=64k")
        os.chdir(place)
        fd = mounting.put_together(wanted, userns_fd, owner)
        os.chdir("/")
    mounting.put_down(wanted, fd, target)


def _enter(request: dict[str, Any], root: str) -> None:
    """B: mount the step's root, and make it the only one there is."""
    os.setsid()
    # This copy of the view is locked to its place; a fresh copy on top of it is not.
    fd = linux.open_tree(root, recursive=True)
    linux.move_mount(fd, root)
    os.fchdir(fd)
    os.close(fd)
    if request["uid_base"] is not None:
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    os.umask(0o022)
    lower = [f"layers/{index}" for index in reversed(range(len(request["layers"])))]
    if request["uid_base"] is None:
        lower.append(ONE_ID_DIR)
    linux.mount(
        "overlay", "new", "overlay", linux.MS_NODEV | linux.MS_NOSUID,
        f"lowerdir={':'.join(lower or ['layers/none'])},upperdir=output/diff,workdir=output/work,"
        "volatile,userxattr",
    )  # fmt: skip
    for name in POINTS:
        _make_directory(f"new/{name}")
    linux.mount("dev", "new/dev", "", linux.MS_BIND | linux.MS_REC)
    isolate.mount_devices("new", counts_memory=request["counts_memory"])
    isolate.mount_proc("new")
    places = [(f"etc/{name}", f"/etc/{name}") for name in NETWORK_FILES]
    shared = [*request["shared"], *request["readable"]]
    shared += [("", wanted["target"]) for wanted in request["volumes"]]
    places += [(f"shared/{index}", path) for index, (_, path) in enumerate(shared)]
    held = [(linux.open_tree(source, recursive=False), path) for source, path in places]
    roots.enter("new")
    # Not before: links of the image now lead to its own files only.
    for fd, path in held:
        _make_point(path, is_directory=not path.startswith("/etc/"))
        linux.move_mount(fd, path)
        os.close(fd)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # after the ids: changing them clears it


def _make_directory(path: str) -> None:
    """Make a directory of our own where the image has none; a link there is refused."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if os.path.islink(path):
            raise OSError(f"/{path.partition('/')[2]} is a link in this image") from None


def _make_point(path: str, *, is_directory: bool) -> None:
    if is_directory:
        os.makedirs(path, 0o755, exist_ok=True)
        return
    if os.path.islink(path) and not os.path.exists(path):
        os.unlink(path)  # it led to a file of a running system
    # Not for writing: that alone would make a copy of it in the layer.
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o644))


def _execute(request: dict[str, Any], log_fd: int) -> None:
    os.makedirs(request["cwd"], 0o755, exist_ok=True)
    os.chdir(request["cwd"])
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    isolate.limit_resources(request["limits"])
    linux.drop_bounding_set(CAPABILITIES)
    linux.capset(CAPABILITIES)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    # The network is the host's, and so are the sockets in it that have names and no files.
    scoped = linux.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
    isolate.restrict_reach(linux.landlock_abi(), scoped)
    has_one_id = request["uid_base"] is None
    linux.install_seccomp(seccomp.build(may_set_ids=True, has_one_id=has_one_id))
    argv = request["argv"]
    try:
        os.execvpe(argv[0], argv, request["env"])
    except OSError as error:
        raise OSError(
            error.errno, f"cannot be executed in this image: {error.strerror}", argv[0]
        ) from None
