"""Finds the user's code in a container: imports its module, resolves its functions.

Runs in the zygote (once a version) and in each container (once a start). Exceptions of the
user's own import pass through untouched.
"""

from __future__ import annotations

import _frozen_importlib as bootstrap
import _frozen_importlib_external as files
import os
import sys

from volant.runner.libraries import guises
from volant.version import SERIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

#: The directory that holds this package, in a container.
SDK_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


#: Classes of which the zygote keeps an instance, by the name of their function.
kept: dict[str, Any] = {}


def prepare(entry: dict[str, Any]) -> None:
    """Import what an app version is made of, in the zygote.

    Args:
        entry: `root` (directory of the sources), `cwd` (where to work), `module` (name, or None
            when every function is serialized), `file` (path below root, or None for a package
            module), `path` (directories below root to put on sys.path), and `web` (the kinds of
            functions that answer to the web, if there are such: what serves is imported as well).
    """
    settle(entry)
    if entry["module"] is not None:
        _import_program(entry)
    if entry.get("web"):
        from volant.runner.web import ahead

        ahead.import_for(entry["web"])


def _import_program(entry: dict[str, Any]) -> None:
    root = str(entry["root"])
    if entry["file"] is not None:
        module = load_file(entry["module"], os.path.join(root, entry["file"]))
        sys.argv[:] = [os.path.join(root, entry["file"])]
    else:
        module = import_module(entry["module"])
        sys.argv[:] = [module.__file__ or entry["module"]]
    # The caller may have run this file as a script: its classes are then `__main__.X` there.
    sys.modules["__main__"] = module


def settle(entry: dict[str, Any]) -> None:
    """Put sources on the path, work where they lie, and know that this is a container.

    Args:
        entry: `root`, `cwd` and `path`, as for `prepare`.
    """
    root = str(entry["root"])
    for directory in reversed(entry["path"]):
        sys.path.insert(0, os.path.join(root, directory) if directory else root)
    os.makedirs(entry["cwd"], 0o755, exist_ok=True)
    os.chdir(entry["cwd"])
    mark_as_container()


def mark_as_container() -> None:
    """Know that this is a container, and let Python programs that are started here find us."""
    from volant import _context

    if not _context.container_id:
        _context.container_id = "zygote"  # each fork overwrites it with its own id
        # Python programs that user code starts find this package as well.
        given = os.environ.get("PYTHONPATH")
        ours = [*guises.directories(SDK_DIR), SDK_DIR, *([given] if given else [])]
        os.environ["PYTHONPATH"] = ":".join(ours)


def import_module(name: str) -> ModuleType:
    """Import a module by its dotted name and return that module, not its top package."""
    __import__(name)
    return sys.modules[name]


class _ScriptLoader(files.SourceFileLoader):
    """Compiles a script each time, as Python does with the one on its command line.

    Byte code that is kept is told from a later source by size and whole seconds: who saves twice
    within one would see the first again.
    """

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def load_file(name: str, path: str) -> ModuleType:
    """Run a source file as module `name` (any file name will do, hyphens and digits too).

    Raises:
        FileNotFoundError: if there is no such file.
    """
    spec = files.spec_from_file_location(name, path, loader=_ScriptLoader(name, path))
    assert spec is not None and spec.loader is not None
    module = bootstrap.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def resolve(function: dict[str, Any]) -> Callable[..., Any]:
    """Find the plain Python function that a function of the app runs, or the class that it is.

    Args:
        function: `serialized` (a pickle or None), `series` (of the Python that made it), `module`,
            `qualname`, `name`, `methods` (of a class).

    Raises:
        AttributeError: when the module no longer has that name.
        InvalidError: for a function that another Python has pickled.
        Exception: what a block of `imports()` of the function's image has raised.
    """
    if function["name"] in kept:
        return kept[function["name"]]  # type: ignore[no-any-return]  # a class, as below
    if function["serialized"] is not None:
        _check_series(function["name"], function["series"])
        import pickle

        loaded: Callable[..., Any] = pickle.loads(function["serialized"])
        return loaded
    module = sys.modules.get(function["module"]) or import_module(function["module"])
    found: Any = module
    for part in function["qualname"].split("."):
        found = getattr(found, part)
    # What a block of `image.imports()` passed over, when this is a container of that image.
    known = getattr(found, "_function", found)
    missed = getattr(getattr(known, "_image", None), "_missed", None)
    if missed is not None:
        raise missed
    raw: Callable[..., Any] = found if function["methods"] else getattr(found, "_raw", found)
    return raw


def _check_series(name: str, made_by: str) -> None:
    """Byte code means something else to another series, or nothing, without saying so."""
    if made_by != SERIES:
        from volant.errors import InvalidError

        raise InvalidError(
            f"function `{name}` was serialized by Python {made_by}, and its image has {SERIES}",
            hint=f"give the image Python {made_by}, or define the function in a file and leave "
            "serialized=True out",
        )
