"""Modules that a process has imported ahead of a program that it does not know yet.

    load(names) ─► program known ─┬─► fits: what was printed is shown, the program is imported
                                  └─► does not: another process imports it, and this one ends

The names are the prelude of an earlier version of the program. They fit a version whose prelude has
them all, so that it would have imported them first as well, and that has no source which is called
like one of the modules.
"""

from __future__ import annotations

import os
import sys

from volant.runner.template import bodies, prelude, unforkable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

#: Imports that take less are not worth a process that waits.
WORTH_US = 30_000
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGES = ("/site-packages/", "/dist-packages/")
#: What is kept of what modules print while they are imported ahead.
OUTPUT_BYTES_MAX = 1 << 20


class Program:
    """Where a program begins, and what it consists of."""

    __slots__ = ("directories", "is_file", "owns", "sources", "start")

    def __init__(
        self, start: str, directories: list[str], owns: Callable[[str], bool], *, is_file: bool,
        sources: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Note it.

        Args:
            start: as for `prelude.read`.
            directories: likewise.
            owns: whether a file is one of its sources.
            is_file: as for `prelude.read`.
            sources: the paths of them all, if its functions matter.
        """
        self.start = start
        self.directories = directories
        self.owns = owns
        self.sources = frozenset(sources)
        self.is_file = is_file

    def prelude(self) -> prelude.Prelude:
        """What it imports before it does anything else, as its sources are now."""
        return prelude.read(self.start, self.directories, is_file=self.is_file)

    def bodies(self) -> bodies.Bodies:
        """What its functions import, as its sources are now, as far as they are imported."""
        trees = prelude.Trees()
        prelude.read(self.start, self.directories, is_file=self.is_file, trees=trees)
        imported = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        return bodies.read(self.sources & imported, self.directories, trees)


def program_of(entry: dict[str, Any] | None, files: Sequence[Sequence[Any]]) -> Program | None:
    """The program of an entry as in PREPARE, with `root`; None if there is none to import.

    Args:
        entry: the entry.
        files: as in PREPARE: each begins with its path below `root`.
    """
    if entry is None or entry.get("module") is None:
        return None
    root = str(entry["root"])

    def owns(path: str) -> bool:
        # The interpreter may lie below the root as well, in a home directory of that name.
        is_installed = path.startswith(_STANDARD_LIBRARY) or any(one in path for one in _PACKAGES)
        return path.startswith(root + os.sep) and not is_installed

    directories = [os.path.join(root, one) if one else root for one in entry["path"]]
    paths = [str(file[0]) for file in files if str(file[0]).endswith(".py")]
    if entry["file"] is not None:
        paths = list(dict.fromkeys([entry["file"], *paths]))
    sources = [os.path.join(root, path) for path in paths]
    if entry["file"] is not None:
        start = os.path.join(root, entry["file"])
        return Program(start, directories, owns, is_file=True, sources=sources)
    return Program(entry["module"], directories, owns, is_file=False, sources=sources)


class Preloading:
    """What one process has imported ahead; at first nothing."""

    def __init__(self) -> None:
        #: Names that were loaded ahead, what of them only functions import, and how functions
        #: answer to the web that are served.
        self.names: list[str] = []
        self.late: list[str] = []
        self.web: Sequence[str] = ()
        self._added: set[str] = set()
        self._before: set[str] = set()
        self._environment: dict[str, str] = {}
        self._output: HeldOutput | None = None

    def load(
        self, names: list[str], web: Sequence[str] = (), late: Sequence[str] = ()
    ) -> list[str]:
        """Import modules, and hold back what they print.

        Args:
            names: in their order.
            late: further ones, which functions of the program begin with importing.
            web: kinds of functions for which what serves them is imported too.

        Returns:
            why nothing should come of this process, in words: threads, or an import that failed.
        """
        self.names, self.web, self.late = names, web, list(late)
        before = set(sys.modules)
        self._output = HeldOutput()
        try:
            for name in [*names, *late]:
                try:
                    __import__(name)
                except (Exception, SystemExit) as error:  # noqa: BLE001  # any package's own code
                    return [f"`{name}` raised {type(error).__name__}"]
                if threads := unforkable.thread_names():
                    return [f"thread `{thread}` of `{name}`" for thread in threads]
            if web:
                from volant.runner.web import ahead

                ahead.import_for(list(web))
            return [f"thread `{thread}`" for thread in unforkable.thread_names()]
        finally:
            self._output.end()
            self._added = set(sys.modules) - before

    def files(self) -> list[str]:
        """Where the modules lie that were imported ahead."""
        paths = [getattr(sys.modules.get(name), "__file__", None) for name in self._added]
        return [path for path in paths if isinstance(path, str)]

    def fits(self, program: Program | None) -> bool:
        """Whether a program may be imported here; if so, what was held back is printed now."""
        if self._output is None:
            return True
        if program is None or prelude.is_shadowed(self._added, program.directories):
            return False
        read = program.prelude()
        if not set(self.names) <= set(read.names):
            return False
        if (self.web or self.late) and not read.is_whole:
            return False
        if self.late and not set(self.late) <= program.bodies().movable():
            return False  # one may stand behind a change now, or nowhere
        self._output.show()
        return True

    def begin(self) -> None:
        """Note how things are just before the program is imported."""
        self._before = set(sys.modules) - self._added
        self._environment = dict(os.environ)

    def learn(self, program: Program | None, took_us: int) -> dict[str, Any]:
        """What is worth to be imported ahead of the next version, after this one was imported.

        Args:
            program: what was imported.
            took_us: how long that took.

        Returns:
            `prelude`, names in their order, and `is_whole`, as for `prelude.Prelude`. The names
            are None when it is not worth it, or when the program changes the environment, which
            modules that it imports later might heed.
        """
        nothing = {"prelude": None, "is_whole": False}
        if program is None or (took_us < WORTH_US and not self._added):
            return nothing
        if {**os.environ, "PYTHONPATH": ""} != {**self._environment, "PYTHONPATH": ""}:
            return nothing
        found = program.prelude()
        names = []
        for name in found.names:
            path = getattr(sys.modules.get(name), "__file__", None)
            if name not in self._before and isinstance(path, str) and not program.owns(path):
                names.append(name)
        return {"prelude": names, "is_whole": found.is_whole}


class HeldOutput:
    """What is printed from now on, held back until somebody wants it shown."""

    def __init__(self) -> None:
        _flush()
        self._kept: dict[int, int] = {}
        held: dict[tuple[int, int], int] = {}
        self._saved: dict[int, int] = {}
        for fd in (1, 2):
            status = os.fstat(fd)
            place = status.st_dev, status.st_ino
            if place not in held:  # stdout and stderr of a zygote are one
                held[place] = self._kept[fd] = os.memfd_create("held")
            self._saved[fd] = os.dup(fd)
            os.set_inheritable(self._saved[fd], False)
            os.dup2(held[place], fd)

    def end(self) -> None:
        """Hold back no more."""
        _flush()
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)
            os.close(saved)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was printed so far."""
        _flush()
        return not any(os.fstat(kept).st_size for kept in self._kept.values())

    def drop(self) -> None:
        """Hold back no more, and forget what was."""
        self.end()
        for kept in self._kept.values():
            os.close(kept)
        self._kept.clear()

    def show(self) -> None:
        """Print what was held back, once."""
        for fd, kept in self._kept.items():
            os.lseek(kept, 0, os.SEEK_SET)
            view = memoryview(os.read(kept, OUTPUT_BYTES_MAX))
            while view:
                view = view[os.write(fd, view) :]
            os.close(kept)
        self._kept.clear()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # a module closed or replaced it
