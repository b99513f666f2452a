"""CRIU as it is executed in sandboxes: what of it lies where, and what it is told.

In there it sees the sandbox's files and not this machine's, so the loader, the libraries and the
program are opened before, and named by descriptors. Nothing of the sandbox is executed by it.
"""

from __future__ import annotations

import glob
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Where loaders lie, and libraries, below the root that packages were unpacked in.
_LOADERS = ("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1", "usr/lib/*/ld-linux-*.so.?")
_LIBRARIES = ("usr/lib/*-linux-gnu", "lib/*-linux-gnu", "usr/lib64", "lib64", "usr/lib")
_PROGRAMS = ("usr/sbin/criu", "sbin/criu", "usr/bin/criu", "usr/local/sbin/criu")
#: What it has for a search path: it is to start nothing.
ENV = {"PATH": "/nonexistent"}
#: How complaints begin that change nothing: it could not raise a limit of its own, or look for what
#: is not needed.
_HARMLESS = ("rlimit:", "tun:", "prctl: PR_SET_MM")
#: Of its log, what is looked at for a reason.
LOG_BYTES_MAX = 1 << 20


class Program:
    """Where the parts of CRIU are: paths of this machine."""

    __slots__ = ("libraries", "loader", "path")

    def __init__(self, *, loader: str, libraries: list[str], path: str) -> None:
        self.loader = loader
        self.libraries = libraries
        self.path = path

    def as_fields(self) -> dict[str, Any]:
        """For a request to the launcher."""
        return {"loader": self.loader, "libraries": self.libraries, "path": self.path}

    def words(self, *arguments: str) -> list[str]:
        """A command line with which it is run on this machine."""
        return [self.loader, "--library-path", ":".join(self.libraries), self.path, *arguments]


def find(place: str) -> Program | None:
    """CRIU below a directory in which packages were unpacked, or `/`; None if it is not there."""
    found = [_first(place, names) for names in (_PROGRAMS, _LOADERS)]
    if None in found:
        return None
    libraries = [path for name in _LIBRARIES for path in sorted(glob.glob(f"{place}/{name}"))]
    return Program(loader=str(found[1]), libraries=libraries, path=str(found[0]))


def _first(place: str, names: tuple[str, ...]) -> str | None:
    paths = (path for name in names for path in sorted(glob.glob(f"{place}/{name}")))
    return next(paths, None)


class Opened:
    """The parts of CRIU and a directory of images, open: they stay so when it is executed."""

    def __init__(self, program: dict[str, Any], cache_fd: int) -> None:
        """Open them; `cache_fd` is a directory for what CRIU finds out about the kernel."""
        self._cache = cache_fd
        os.set_inheritable(cache_fd, True)
        self._loader = _open(program["loader"])
        self._libraries = [_open(path) for path in program["libraries"]]
        self._path = _open(program["path"])

    def execute(self, verb: str, images: int, arguments: list[str]) -> None:
        """Become CRIU.

        Args:
            verb: `dump` or `restore`.
            images: descriptor of the directory for images and its log.
            arguments: what else it is told.
        """
        libraries = ":".join(f"/proc/self/fd/{fd}" for fd in self._libraries)
        place = f"/proc/self/fd/{images}"
        words = ["criu", "--library-path", libraries, f"/proc/self/fd/{self._path}", verb]
        words += ["--images-dir", place, "--work-dir", place, "--log-file", f"{verb}.log", "-v1"]
        words += ["--unprivileged", "--shell-job", "--tcp-close", "--ext-unix-sk", "--file-locks"]
        env = {**ENV, "XDG_RUNTIME_DIR": f"/proc/self/fd/{self._cache}"}
        os.execve(f"/proc/self/fd/{self._loader}", [*words, *arguments], env)


def _open(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.set_inheritable(fd, True)
    return fd


def reason(images: int, verb: str) -> str:
    """Why it has failed, by its log in a directory; "" when that does not say."""
    try:
        log_fd = os.open(f"{verb}.log", os.O_RDONLY | os.O_CLOEXEC, dir_fd=images)
        with open(log_fd, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_BYTES_MAX))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    errors = [line.partition("Error (")[2].partition("): ")[2] for line in lines]
    return next((one.strip() for one in errors if one and not one.startswith(_HARMLESS)), "")
