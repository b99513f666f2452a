"""The directories that a template sees as its root: what of the host is shown, and what is not.

    <run>/base/etc          one curated copy of /etc for all templates of a run
    <run>/z/<id>/root       R: nearly empty; mount points, links, and later the sources
    <run>/z/<id>/scratch    what the template's containers write

Owns the allow list. What is not on it does not exist for a container: /home, /root, /run, keys,
shadow, other users' files. It makes plain files only; mounting is `template`'s work.
Invariant: nothing is copied that other users of the host could not read.
"""

from __future__ import annotations

import os
import stat

from volantd import removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Files and directories of /etc that programs need to run and that say nothing private.
ETC_ALLOWED = (
    "adjtime", "bash.bashrc", "ca-certificates", "ca-certificates.conf",
    "crypto-policies", "debian_version", "ethertypes", "fonts", "gai.conf", "glvnd", "group",
    "host.conf", "hosts", "inputrc", "issue", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "locale.alias", "locale.conf", "localtime", "lsb-release", "magic", "magic.mime", "mailcap",
    "mime.types", "netconfig", "networks", "nsswitch.conf", "OpenCL", "openldap", "os-release",
    "passwd", "perl", "pki/ca-trust/extracted", "pki/tls/cert.pem", "pki/tls/certs",
    "pki/tls/openssl.cnf", "profile", "protocols", "python3", "redhat-release", "resolv.conf",
    "rpc", "services", "shells", "ssl/cert.pem", "ssl/openssl.cnf", "terminfo",
    "timezone", "vulkan", "xattr.conf", "xdg", "xml",
)  # fmt: skip
#: Large directories of the same kind: bound instead of copied, with their owners as they are, so
#: that what is private in them stays so.
ETC_BOUND = ("alternatives", "ssl/certs")
#: The same for names that carry a version.
ETC_PREFIXES = ("java-", "python3.", "R", "ImageMagick-")

#: The only users and groups there are.
USERS = """root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUPS = """root:x:0:
tty:x:5:
nogroup:x:65534:
"""

#: Where programs look for programs; links on a merged host, else trees of their own.
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
DEVICES = {
    "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
    "tty": (5, 0),
}  # fmt: skip
DEVICE_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
}  # fmt: skip

#: What of R is ours begins so.
OWN = ".volant"
#: Directories of R and their modes; parents first.
SKELETON = (
    ("etc", 0o755), ("root", 0o755), ("tmp", 0o1777), ("var", 0o755), ("var/tmp", 0o1777),
    ("var/lib", 0o755), ("var/log", 0o755), ("var/cache", 0o755), ("run", 0o755), ("mnt", 0o755),
    ("proc", 0o555), ("sys", 0o755), ("sys/devices", 0o755), ("sys/devices/system", 0o755),
    ("dev", 0o755), ("opt", 0o755), ("srv", 0o755), ("home", 0o755), (".volant", 0o755),
    (".volant/base", 0o755), (".volant/lower", 0o755), (".volant/scratch", 0o700),
    (".volant/new", 0o755), (".volant/lent", 0o755), (".volant/files", 0o755),
    (".volant/sdk", 0o755), (".volant/sdk/volant", 0o755), (".volant/sdk/cloudpickle", 0o755),
)  # fmt: skip

#: No tree may be, or contain, one of these: it would show what the allow list withholds.
FORBIDDEN_TREES = ("/", "/etc", "/root", "/home", "/run", "/proc", "/sys", "/dev", "/var", "/tmp")

_FILE_BYTES_MAX = 16 << 20
#: Of the directory of a template: says which trees its containers may change.
_CHANGEABLE = "changeable"


def build_base(base_dir: str, etc: str = "/etc") -> None:
    """Copy the allowed part of /etc to `base_dir`/etc.

    Args:
        base_dir: made by this call; must not exist.
        etc: where to copy from.
    """
    target = os.path.join(base_dir, "etc")
    os.makedirs(target, 0o755)
    for name in ETC_BOUND:
        os.makedirs(os.path.join(target, name), 0o755)
    for name in allowed_names(etc):
        os.makedirs(os.path.dirname(os.path.join(target, name)), 0o755, exist_ok=True)
        _copy(os.path.join(etc, name), os.path.join(target, name), etc)
    _write(os.path.join(target, "passwd"), USERS.encode())
    _write(os.path.join(target, "group"), GROUPS.encode())
    if not os.path.exists(os.path.join(target, "hosts")):
        _write(os.path.join(target, "hosts"), b"127.0.0.1\tlocalhost\n")


def allowed_names(etc: str = "/etc") -> list[str]:
    """The names below `etc` that are on the allow list and exist."""
    found = [name for name in ETC_ALLOWED if os.path.lexists(os.path.join(etc, name))]
    return found + [name for name in os.listdir(etc) if name.startswith(ETC_PREFIXES)]


def bound_names(etc: str = "/etc") -> list[str]:
    """The large directories below `etc` that exist and are directories themselves."""
    paths = [(name, os.path.join(etc, name)) for name in ETC_BOUND]
    return [name for name, path in paths if os.path.isdir(path) and not os.path.islink(path)]


def refresh_base(base_dir: str, etc: str = "/etc") -> None:
    """Copy again what a network change rewrites, so that new templates resolve names."""
    for name in ("resolv.conf", "hosts"):
        source, target = os.path.join(etc, name), os.path.join(base_dir, "etc", name)
        try:
            if os.stat(source).st_mtime_ns == os.stat(target).st_mtime_ns:
                continue
            _copy_file(source, target + ".new", os.stat(source))
            os.replace(target + ".new", target)
        except FileNotFoundError:
            continue


def _copy(source: str, target: str, etc: str) -> None:
    """Copy a file, a link or a directory.

    Links that containers could not follow (into /run, say) become what they point to.
    """
    try:
        info = os.lstat(source)
        if stat.S_ISLNK(info.st_mode):
            if _is_seen_inside(source, etc):
                os.symlink(os.readlink(source), target)
                return
            info = os.stat(source)
        if not info.st_mode & stat.S_IROTH:
            return  # private to its owner on the host: so it is for containers
        if stat.S_ISDIR(info.st_mode):
            os.makedirs(target, 0o755, exist_ok=True)
            for name in os.listdir(source):
                _copy(os.path.join(source, name), os.path.join(target, name), etc)
        elif stat.S_ISREG(info.st_mode) and info.st_size <= _FILE_BYTES_MAX:
            _copy_file(source, target, info)
    except (FileNotFoundError, PermissionError):
        return  # gone meanwhile, dangling, or not ours to read


def _is_seen_inside(source: str, etc: str) -> bool:
    """Whether a link leads to something that containers see too."""
    lands = os.path.normpath(os.path.join(os.path.dirname(source), os.readlink(source)))
    if lands.startswith("/usr/"):
        return True
    if not lands.startswith(etc + "/"):
        return False
    parts = lands[len(etc) + 1 :].split("/")
    shown = {*ETC_ALLOWED, *ETC_BOUND}
    return any("/".join(parts[: count + 1]) in shown for count in range(len(parts)))


def _copy_file(source: str, target: str, info: os.stat_result) -> None:
    with open(source, "rb") as file:
        content = file.read(_FILE_BYTES_MAX)
    _write(target, content, 0o755 if info.st_mode & 0o111 else 0o644)
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns))


def _write(path: str, content: bytes, mode: int = 0o644) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, content)
    finally:
        os.close(fd)


def build_root(
    state_dir: str, trees: list[str], owner: int | None, *, layer_count: int = 0,
    lends: bool = False,
) -> None:  # fmt: skip
    """Make R and the scratch directory of one template.

    Args:
        state_dir: exists and is empty.
        trees: absolute paths that will be mounted, for which places are made; where there are any,
            the host's links are shown as well.
        owner: uid and gid that the template's root has on the host; None for the caller's own.
        layer_count: of the image, for which there are places.
        lends: the template shows the host's trees, and its containers the image: then a directory
            beside R is the lowest layer of these.
    """
    root = os.path.join(state_dir, "root")
    made: list[str] = [root, os.path.join(state_dir, "scratch")]
    os.mkdir(root, 0o755)
    os.mkdir(made[1], 0o700)
    removal.spread(made[1])
    made += _make_skeleton(root, SKELETON)
    if lends:
        made += build_lower(os.path.join(state_dir, "lower"))
    for index in range(layer_count):
        made += _make_path(root, f"/.volant/layers/{index}")
    for name in MERGED:
        if trees and os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), os.path.join(root, name))
    for tree in trees:
        made += _make_path(root, tree)
    if owner is not None:
        for path in made:
            os.chown(path, owner, owner, follow_symlinks=False)


def build_lower(path: str) -> list[str]:
    """Make what lies above the layers of an image: places to mount at; returns all that it made."""
    os.mkdir(path, 0o755)
    theirs = [(name, mode) for name, mode in SKELETON if not name.startswith(OWN)]
    return [path, *_make_skeleton(path, theirs)]


def note_changeable(state_dir: str, trees: list[str]) -> None:
    """Write down which trees the containers of a template may change, in the order of its plan."""
    with open(os.path.join(state_dir, _CHANGEABLE), "wb") as target:
        target.write(b"\0".join(map(os.fsencode, trees)))


def changeable(state_dir: str) -> list[str]:
    """The trees that the containers of a template may change, as they were written down."""
    with open(os.path.join(state_dir, _CHANGEABLE), "rb") as source:
        return list(map(os.fsdecode, filter(None, source.read().split(b"\0"))))


def _make_skeleton(root: str, wanted: Iterable[tuple[str, int]]) -> list[str]:
    made = []
    for name, mode in wanted:
        path = os.path.join(root, name)
        os.mkdir(path)
        os.chmod(path, mode)
        made.append(path)
    return made


def _make_path(root: str, path: str) -> list[str]:
    made = []
    current = root
    for part in path.strip("/").split("/"):
        current = os.path.join(current, part)
        if not os.path.lexists(current):
            os.mkdir(current, 0o755)
            made.append(current)
    return made


def judge_trees(trees: list[str], state_dir: str) -> list[str]:
    """Reduce trees to those that do not lie below another one, parents first.

    Raises:
        ValueError: for a tree that would show what containers must not see.
    """
    kept: list[str] = []
    system = [f"/{name}" for name in MERGED if os.path.isdir("/" + name)]
    wanted = [*trees, *(path for path in system if not os.path.islink(path))]
    for tree in sorted({os.path.normpath(path) for path in wanted}):
        if not tree.startswith("/") or tree in FORBIDDEN_TREES:
            raise ValueError(f"{tree!r} cannot be shown to containers: it holds private files")
        if (state_dir + "/").startswith(tree + "/"):
            raise ValueError(f"{tree!r} cannot be shown to containers: our own state is in it")
        if not any((tree + "/").startswith(parent + "/") for parent in kept):
            kept.append(tree)
    return kept


def mount_points() -> list[str]:
    """All mount points of this mount namespace."""
    with open("/proc/self/mountinfo", "rb") as source:
        return [os.fsdecode(unescaped(line.split(b" ", 5)[4])) for line in source]


def outermost(path: str, points: Iterable[str]) -> list[str]:
    """Those of some mount points that lie below a directory, and below none of the others."""
    kept: list[str] = []
    for point in sorted({point for point in points if point.startswith(path + "/")}):
        if not any(point.startswith(parent + "/") for parent in kept):
            kept.append(point)
    return kept


def unescaped(name: bytes) -> bytes:
    r"""A name as it is; the kernel writes a few bytes as `\040`."""
    first, *rest = name.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)
