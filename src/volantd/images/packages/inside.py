"""Installs packages in an image: run by the image's own Python, in a build step, by its path.

    what is installed ──links──► aside ◄──uv, hard links──── cache
                                   │ ▲                         ▲
                                   │ └─ byte code ─── once ────┘
                                   └──► the next layer

uv installs into a directory beside the cache, on the same mount, for hard links end at mounts.
There it finds of each package that the image has what tells its version, so that it decides as if
it installed into the image. What it then has replaced is removed from the image itself. Byte code
is made once for each wheel: it goes into the cache, from where uv links it like all other files.

It has the standard library of Python 3.10 and nothing else, and imports little of that: images
often come without its byte code. Times are all alike, so that equal packages make equal layers.
"""

from __future__ import annotations

import marshal
import os
import sys
import sysconfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: What all files are dated: archives of the ZIP format know no earlier time.
TIME_NS = 315_532_800 * 10**9
#: Options that say where packages go: then uv does as it is told, and nothing is linked.
PLACES = ("--target", "-t", "--prefix", "--system", "--python", "-p", "--user", "--dry-run")
#: What a program ends with that is not there, or that cannot be loaded.
NOT_LOADED = 127
#: Files that one process compiles, at least, so that its start is worth it.
COMPILED_COUNT_MIN = 50
PROCESS_COUNT_MAX = 8
_INFO = (".dist-info", ".egg-info")


class PlainError(Exception):
    """The image is not laid out as packages installed aside would need it."""


class Installing:
    """One step.

    Attributes:
        uv: the command line that uv begins with.
        out: a directory on the mount of the cache. In it `root` becomes the layer; the files
            `plain`, `removed` and `static` tell the daemon what was done, or is wanted.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.uv: tuple[str, ...] = plan["uv"]
        self.arguments: tuple[str, ...] = plan["arguments"]
        self.before: tuple[tuple[str, ...], ...] = plan["before"]
        self.cache: str = plan["cache"]
        self.out: str = plan["out"]
        self.root = self.out + "/root"
        paths = sysconfig.get_paths()
        self.prefix = os.path.realpath(paths["data"])
        self.wanted = {name: os.path.realpath(paths[name]) for name in ("purelib", "platlib")}
        self.scripts = os.path.realpath(paths["scripts"])

    def run(self) -> None:
        """Install; ends the process when something fails."""
        os.makedirs(self.root)
        for command in self.before:
            self._call(*command)
        if any(word.partition("=")[0] in PLACES for word in self.arguments):
            self._install_plainly()
            return
        try:
            self._install_aside()
        except PlainError:
            self._install_plainly()

    def _install_plainly(self) -> None:
        self._mark("plain")
        self._uv("install", "--link-mode", "copy", "--compile-bytecode", *self.arguments)

    def _install_aside(self) -> None:
        aside = self._relations()
        held = {name for place in aside for name in self._shadow(self.wanted[place], aside[place])}
        prefix = self.root + self.prefix
        self._uv("install", "--link-mode", "hardlink", "--prefix", prefix, *self.arguments)
        if os.path.exists(prefix + "/.lock"):
            os.unlink(prefix + "/.lock")
        kept = {name for place in set(aside.values()) for name in _drop_shadows(place)}
        sites = [self._move(aside[name], self.wanted[name]) for name in aside]
        settle(self.root, sorted(set(sites)), self.cache)
        if held - kept:
            self._mark("removed")
            names = [name.split("-")[0] for name in sorted(held - kept)]
            self._uv("uninstall", "--quiet", *names)

    def _relations(self) -> dict[str, str]:
        """Where below `root` uv puts what belongs into each directory of packages.

        Raises:
            PlainError: when scripts and packages do not lie to each other as uv assumes.
        """
        scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
        given = {"base": self.prefix, "platbase": self.prefix}
        assumed = sysconfig.get_paths(scheme, given)
        if assumed["scripts"] != self.scripts:
            raise PlainError
        for name, wanted in self.wanted.items():
            if os.path.dirname(assumed[name]) != os.path.dirname(wanted):
                raise PlainError
        return {name: self.root + assumed[name] for name in self.wanted}

    def _shadow(self, site: str, aside: str) -> Iterator[str]:
        """Show uv what is installed; yields the name of each directory that says so."""
        if not os.path.isdir(site):
            return
        for entry in _entries(site):
            if not entry.name.endswith(_INFO) or not entry.is_dir():
                continue
            place = os.path.join(aside, entry.name)
            os.makedirs(place, exist_ok=True)
            for file in _entries(entry.path):
                target = os.path.join(place, file.name)
                if file.is_file() and not os.path.lexists(target):
                    os.symlink(file.path, target)
            yield entry.name

    def _move(self, made: str, wanted: str) -> str:
        """Put packages where this Python looks for them; returns where that is below `root`."""
        place = f"{self.root}{wanted}"
        if made != place and os.path.isdir(made):
            os.rename(made, place)
        return place

    def _uv(self, action: str, *words: str) -> None:
        python = sys.executable
        options = ["--python", python, "--break-system-packages"]
        self._call(*self.uv, "pip", action, *options, *words)

    def _call(self, *command: str) -> None:
        code = os.spawnvp(os.P_WAIT, command[0], command)
        if code == NOT_LOADED and os.spawnv(os.P_WAIT, self.uv[0], [self.uv[0], "--version"]):
            self._mark("static")
        if code:
            sys.exit(code if code > 0 else 1)

    def _mark(self, name: str) -> None:
        with open(f"{self.out}/{name}", "w"):
            pass


def _drop_shadows(site: str) -> Iterator[str]:
    """Remove what `_shadow` made, as far as uv left it; yields the names."""
    if not os.path.isdir(site):
        return
    for entry in _entries(site):
        if not entry.name.endswith(_INFO) or not entry.is_dir():
            continue
        links = [file.path for file in _entries(entry.path) if file.is_symlink()]
        if links:
            for link in links:
                os.unlink(link)
            os.rmdir(entry.path)
            yield entry.name


# -- what is made of installed packages


def settle(root: str, sites: list[str], cache: str) -> None:
    """Give what lies in `root` byte code, times that are always the same, and the image's modes.

    Raises:
        PlainError: when a directory of it would hide a link of the image.
    """
    missing = list(_without_byte_code(root, ""))
    if missing:
        below = tuple(site + "/" for site in sites)
        missing = [path for path in missing if path.startswith(below)]
        _compile(missing, sites)
        _share(missing, sites, cache)
    _settle_directories(root, "")


def _without_byte_code(root: str, path: str) -> Iterator[str]:
    """Date the files of a tree, and drop byte code of others; yields sources that have none.

    What has byte code was dated when that was made, so most files are not looked at.
    """
    directory = root + path
    entries = _entries(directory)
    compiled = _byte_code_of(directory + "/__pycache__")
    for entry in entries:
        if entry.name == "__pycache__":
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _without_byte_code(root, f"{path}/{entry.name}")
            continue
        is_source = entry.name.endswith(".py")
        if is_source and entry.name[:-3] in compiled:
            continue
        if entry.stat(follow_symlinks=False).st_mtime_ns != TIME_NS:
            _date(entry.path)
        if is_source:
            yield entry.path


def _byte_code_of(directory: str) -> set[str]:
    """Modules whose byte code for this Python lies in a directory; all other is removed."""
    try:
        entries = _entries(directory)
    except FileNotFoundError:
        return set()
    tag = f".{sys.implementation.cache_tag}.pyc"
    found = [entry for entry in entries if entry.name.endswith(tag)]
    # All of it is ours, or came with the package and fits no source that was dated.
    if found and found[0].stat(follow_symlinks=False).st_mtime_ns != TIME_NS:
        found = []
    kept = {entry.name for entry in found}
    for entry in entries:
        if entry.name not in kept and not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
    return {name[: -len(tag)] for name in kept}


def _entries(directory: str) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as found:
        return list(found)


def _date(path: str) -> None:
    os.utime(path, ns=(TIME_NS, TIME_NS), follow_symlinks=False)


def _byte_code(path: str) -> str:
    directory, name = os.path.split(path)
    return f"{directory}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"


def _compile(paths: list[str], sites: list[str]) -> None:
    """Make byte code, on all processors."""
    count = min(len(os.sched_getaffinity(0)), PROCESS_COUNT_MAX)
    count = max(1, min(count, len(paths) // COMPILED_COUNT_MIN))
    children = []
    for index in range(count):
        child = os.fork()
        if child == 0:
            try:
                _compile_some(paths[index::count], sites)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _compile_some(paths: list[str], sites: list[str]) -> None:
    import py_compile
    import warnings

    warnings.simplefilter("ignore")
    mode = py_compile.PycInvalidationMode.TIMESTAMP  # a file that a later step changes counts
    for path in paths:
        # Not the whole path, which images may have others of; an import puts its own in place.
        site = next(site for site in sites if path.startswith(site + "/"))
        shown = os.path.relpath(path, site)
        try:
            py_compile.compile(path, _byte_code(path), shown, doraise=True, invalidation_mode=mode)
        except Exception:  # noqa: BLE001, S112  # templates, and tests for other Pythons: no module
            continue
        _date(_byte_code(path))


def _share(paths: list[str], sites: list[str], cache: str) -> None:
    """Put new byte code into the cache, beside the sources that it was made of."""
    import contextlib

    infos = set()
    for site in sites:
        infos |= {_identity(path) for path in _metadata(site)}
    sources = {}
    for archive in _archives(cache):
        if infos.isdisjoint(_identity(path) for path in _metadata(archive)):
            continue
        for top, _, names in os.walk(archive):
            for name in names:
                if name.endswith(".py"):
                    path = os.path.join(top, name)
                    sources[_identity(path)] = path
    for path in paths:
        source = sources.get(_identity(path))
        made = _byte_code(path)
        if source is not None and os.path.exists(made):
            kept = _byte_code(source)
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another step was faster
                os.link(made, kept)


def _archives(cache: str) -> Iterator[str]:
    """Unpacked wheels in the cache; none when a version of uv keeps them in another way."""
    for bucket in _entries(cache):
        if bucket.name.startswith("archive-") and bucket.is_dir():
            yield from (entry.path for entry in _entries(bucket.path) if entry.is_dir())


def _metadata(directory: str) -> Iterator[str]:
    if os.path.isdir(directory):
        for entry in _entries(directory):
            path = entry.path + "/METADATA"
            if entry.name.endswith(".dist-info") and os.path.isfile(path):
                yield path


def _identity(path: str) -> tuple[int, int]:
    info = os.stat(path)
    return info.st_dev, info.st_ino


def _settle_directories(root: str, path: str) -> None:
    """Date directories, which has to come last, and give those that the image has its modes."""
    below = root + path
    for entry in _entries(below):
        if entry.is_dir(follow_symlinks=False):
            _settle_directories(root, f"{path}/{entry.name}")
    try:
        here = os.lstat(path or "/")
    except FileNotFoundError:
        here = os.lstat(below)
    else:
        if not os.path.isdir(path or "/") or os.path.islink(path):
            raise PlainError
    os.chown(below, here.st_uid, here.st_gid)
    os.chmod(below, here.st_mode & 0o7777)
    _date(below)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as _source:
        _plan = marshal.load(_source)  # noqa: S302  # the daemon wrote it; no import is faster
    for _name in _plan["unset"]:
        os.environ.pop(_name, None)
    Installing(_plan).run()
