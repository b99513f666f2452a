"""Which local files an app's containers need, and what each is called there.

    entry file or package + local modules imported so far + those imported inside functions
        -> {path below /root: local path}          (only Python sources; data is not shipped)

"Local" is every module that is neither part of the interpreter nor installed as a package.
Contents travel by their SHA-256, so an unchanged file is never sent twice.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib_external import PathFinder

from volant.errors import InvalidError
from volant.sdk.images.host import PACKAGE_DIRECTORIES, is_below

try:
    from _sha2 import sha256 as sha256
except ImportError:  # before Python 3.12
    # typeshed knows it only for the versions that have it
    from _sha256 import sha256 as sha256  # type: ignore[import-not-found,no-redef,unused-ignore]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType
    from typing import Any

#: Where sources land in a container.
REMOTE_ROOT = "/root"
#: Most files and bytes of one app; beyond, something that is no source was picked up.
FILES_MAX = 20_000
BYTES_MAX = 256 << 20

_OUR_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_STANDARD_LIBRARY = os.path.dirname(os.path.abspath(os.__file__))
#: Flag of compile(), known to `ast` as PyCF_ONLY_AST.
_AST_ONLY = 0x400
_PUNCTUATION = b"()[]{},.;:=+-*/%&|^~<>!@#$?`\"'\\"
_WORDS_APART = bytes.maketrans(_PUNCTUATION, b" " * len(_PUNCTUATION))


class Sources:
    """The files of one app: what is sent, and how remote paths map back."""

    __slots__ = ("contents", "files", "local_paths")

    def __init__(self) -> None:
        #: [path below root, mode, sha256 in hex, size in bytes], sorted by path
        self.files: list[list[object]] = []
        #: sha256 -> content
        self.contents: dict[str, bytes] = {}
        #: path below root -> local path, for tracebacks
        self.local_paths: dict[str, str] = {}

    def local_path(self, remote: str) -> str | None:
        """The local file that a path in a container stands for, None for any other file."""
        marker = REMOTE_ROOT + "/"
        at = remote.find(marker)
        while at >= 0:  # in plain processes the root lies somewhere below the daemon's home
            local = self.local_paths.get(remote[at + len(marker) :])
            if local is not None:
                return local
            at = remote.find(marker, at + 1)
        return None


class Entry:
    """The module a container starts from."""

    __slots__ = ("file", "module", "path", "root")

    def __init__(self, module: str | None, file: str | None, root: str) -> None:
        self.module = module
        #: name below root when the module is a plain file, else None
        self.file = file
        #: local directory that corresponds to /root
        self.root = root

    def to_wire(self) -> dict[str, object]:
        """The entry as a control message carries it."""
        return {"module": self.module, "file": self.file, "path": [""]}


def entry_of(module: ModuleType) -> Entry:
    """The entry for an app defined in `module`.

    Raises:
        InvalidError: if the module has no source file, as in an interactive session.
    """
    path = getattr(module, "__file__", None)
    spec = getattr(module, "__spec__", None)
    name = spec.name if spec is not None else module.__name__
    if path is None:
        raise InvalidError(
            f"module {name!r} has no source file to send",
            hint="use @app.function(serialized=True) in an interactive session",
        )
    path = os.path.abspath(path)
    if name.endswith(".__main__"):
        return Entry(name, None, _root_of(path, name))
    if "." in name or (spec is not None and spec.submodule_search_locations is not None):
        return Entry(name, None, _root_of(path, name))
    if name == "__main__":
        name = os.path.splitext(os.path.basename(path))[0]
    return Entry(name, os.path.basename(path), os.path.dirname(path))


def _root_of(path: str, name: str) -> str:
    """The directory on sys.path that makes `path` importable as `name`."""
    levels = name.count(".") + 1
    if os.path.basename(path) == "__init__.py":
        levels += 1
    for _ in range(levels):
        path = os.path.dirname(path)
    return path


def collect(entries: list[Entry], added: Mapping[str, str] | None = None) -> Sources:
    """Gather the files that containers of an app with these entries need.

    Args:
        entries: without any, no module is sent.
        added: further files: path below root -> local path.

    Raises:
        InvalidError: if they exceed `FILES_MAX` or `BYTES_MAX`.
    """
    found: dict[str, str] = {}
    for entry in entries:
        if entry.file is not None:
            found[entry.file] = os.path.join(entry.root, entry.file)
    if entries:
        for name, module in list(sys.modules.items()):
            _add_module(name, module, found)
        _add_late_imports(found)
    found.update(added or {})
    if len(found) > FILES_MAX:
        raise InvalidError(f"{len(found)} source files, at most {FILES_MAX}")
    return _read(found)


def _add_module(name: str, module: ModuleType, found: dict[str, str]) -> None:
    path = getattr(module, "__file__", None)
    if name == "__main__" or not isinstance(path, str) or not path.endswith(".py"):
        return
    if not is_local(path):
        return
    remote = name.replace(".", "/")
    top = name.partition(".")[0]
    if os.path.basename(path) == "__init__.py":
        remote += "/__init__.py"
    else:
        remote += ".py"
    if not os.path.abspath(path).endswith("/" + remote):
        return  # loaded under another name than its path has: only its loader knows how
    found.setdefault(remote, path)
    top_module = sys.modules.get(top)
    top_path = getattr(top_module, "__file__", None)
    if isinstance(top_path, str) and os.path.basename(top_path) == "__init__.py":
        _add_tree([os.path.dirname(os.path.abspath(top_path))], top, found)


def _add_tree(directories: list[str], remote: str, found: dict[str, str]) -> list[str]:
    """Add every Python source of a package, once; returns the files that are new."""
    if f"{remote}/" in found:
        return []
    found[f"{remote}/"] = ""  # marks the package as walked; dropped before reading
    added = []
    for directory in directories:
        for parent, below, names in os.walk(directory):
            below[:] = [d for d in below if d != "__pycache__" and not d.startswith(".")]
            part = os.path.relpath(parent, directory)
            prefix = remote if part == "." else f"{remote}/{part}"
            for name in names:
                if name.endswith(".py") and f"{prefix}/{name}" not in found:
                    found[f"{prefix}/{name}"] = os.path.join(parent, name)
                    added.append(os.path.join(parent, name))
    return added


def _add_late_imports(found: dict[str, str]) -> None:
    """Add local modules that nothing has imported yet, because functions will."""
    search = _Search(sys.path, found)
    executed = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    waiting = [path for path in found.values() if path]
    while waiting:
        path = waiting.pop()
        for name in _late_imports(path, path in executed, search):
            waiting += search.take(name)


class _Search:
    """Looks for modules where Python will, in the order in which Python does."""

    def __init__(self, path: list[str], found: dict[str, str]) -> None:
        self._path = path
        self._found = found
        self._places: dict[str, list[str]] = {}
        #: What the path offers that may be local; None where a part of it cannot be listed.
        self._offered = _names_on(path)

    def is_missing(self, name: str) -> bool:
        """True for a local module that is not among the files yet."""
        if f"{name}.py" in self._found or f"{name}/" in self._found:
            return False
        return bool(self._places_of(name))

    def take(self, name: str) -> list[str]:
        """Add a module; returns the files that are new."""
        if not self.is_missing(name):
            return []
        places = self._places_of(name)
        if not places[0].endswith(".py"):
            return _add_tree(places, name, self._found)
        self._found[f"{name}.py"] = places[0]
        return places

    def _places_of(self, name: str) -> list[str]:
        """The file of a local module, or the directories of a local package."""
        places = self._places.get(name)
        if places is None:
            is_offered = self._offered is None or name in self._offered
            places = self._find(name) if is_offered and not _is_plain(name) else []
            self._places[name] = places
        return places

    def _find(self, name: str) -> list[str]:
        # Not the finders of sys.meta_path: those of some packages import, or warn.
        spec = PathFinder.find_spec(name, self._path)
        if spec is None:
            return []
        if spec.submodule_search_locations is not None:  # one for a package, more for a namespace
            places = [os.path.abspath(place) for place in spec.submodule_search_locations]
            return [place for place in places if is_local(os.path.join(place, "any.py"))]
        origin = spec.origin or ""
        return [os.path.abspath(origin)] if origin.endswith(".py") and is_local(origin) else []


def _names_on(path: list[str]) -> set[str] | None:
    """The top-level names for which a search may find something local; None: any name.

    A search for each of thousands of words, nearly none of them a module, would take far longer.
    """
    names: set[str] = set()
    for entry in path:
        if is_local(os.path.join(entry or os.curdir, "any.py")):
            try:
                names.update([name.partition(".")[0] for name in os.listdir(entry or os.curdir)])
            except FileNotFoundError:
                pass
            except OSError:
                return None
    return names


def _is_plain(name: str) -> bool:
    """True for a module that was imported, and so added, and has no submodules."""
    module = sys.modules.get(name)
    return module is not None and getattr(module, "__path__", None) is None


def _late_imports(path: str, executed: bool, search: _Search) -> list[str]:
    """Top-level names that a file's import statements mention, if one of them is missing.

    Parsing costs more than all the rest, so it is left to files in which a word beside an
    `import` is the name of a missing module.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return []  # reading it to send it says so
    if b"import" not in content:
        return []
    words: set[bytes] = set()
    for line in content.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines():
        # What stands at the top of a file that has run was imported by that.
        if b"import" in line and not (executed and line.startswith((b"import ", b"from "))):
            words.update(line.translate(_WORDS_APART).split())
    if any(not word.isascii() or search.is_missing(word.decode()) for word in words):
        return _imported(content, path)
    return []


def _imported(content: bytes, path: str) -> list[str]:
    """Top-level names that import statements mention anywhere in a file, relative ones left out."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # running the file gives them
            tree: Any = compile(content, path, "exec", _AST_ONLY, True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # whoever imports it is told
    names, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        kind = type(node).__name__
        if kind == "Import":
            names += [alias.name for alias in node.names]
        elif kind == "ImportFrom" and node.level == 0:
            names.append(node.module)
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, field, None)
            if isinstance(inner, list):  # statements; no expression holds an import
                waiting += inner
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def is_local(path: str) -> bool:
    """True for a file that is neither the interpreter's, nor an installed package's, nor ours."""
    path = os.path.abspath(path)
    if is_below(path, _OUR_PACKAGE) or is_below(path, _STANDARD_LIBRARY):
        return False
    return not any(f"/{directory}/" in path for directory in PACKAGE_DIRECTORIES)


def _read(found: dict[str, str]) -> Sources:
    sources = Sources()
    total = 0
    for remote in sorted(found):
        path = found[remote]
        if not path:
            continue
        try:
            with open(path, "rb") as file:
                content = file.read()
                mode = os.fstat(file.fileno()).st_mode & 0o777
        except OSError as error:
            raise InvalidError(f"cannot read source file {path}: {error.strerror}") from error
        total += len(content)
        if total > BYTES_MAX:
            raise InvalidError(
                f"source files are more than {BYTES_MAX >> 20} MiB, the last is {path}",
                hint="data belongs elsewhere: only Python sources are sent",
            )
        digest = sha256(content).hexdigest()
        sources.files.append([remote, mode, digest, len(content)])
        sources.contents[digest] = content
        sources.local_paths[remote] = os.path.abspath(path)
    return sources
