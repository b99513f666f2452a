"""What a program imports before it does anything else; found by reading it, not by running it.

    import numpy                in the prelude
    from shop import web        a source of the program's own: what that imports first comes here
    os.environ["X"] = "1"       from here on an import might find something else than before
    import torch                so this one is not in the prelude

Whoever imports a prelude ahead has done what the program begins with. Definitions, and what the
program does to objects of its own, end no prelude: only what reaches into imported modules does.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: Most names of a prelude, and most bytes of sources that are read for one.
NAMES_MAX = 200
BYTES_MAX = 256 << 10
#: Flag of compile(), known to `ast` as PyCF_ONLY_AST.
_AST_ONLY = 0x400
_DEFINITIONS = ("FunctionDef", "AsyncFunctionDef", "ClassDef")
_HARMLESS = ("Pass", "Assert", "Global", "Nonlocal", "Return", "TypeAlias")


class Prelude:
    """The prelude of one program.

    Attributes:
        names: modules in the order in which import statements name them. Some may not be there,
            and of `from x import y` it is not known here whether `x.y` is a module.
        is_whole: whether the program does nothing that would end it.
    """

    __slots__ = ("is_whole", "names")

    def __init__(self, names: list[str], *, is_whole: bool) -> None:
        self.names = names
        self.is_whole = is_whole


def read(
    start: str, directories: list[str], *, is_file: bool, trees: Trees | None = None
) -> Prelude:
    """The prelude of a program.

    Args:
        start: the path of its first source, or the name of its first module.
        directories: where sources of its own lie, as they stand on `sys.path`.
        is_file: whether `start` is a path.
        trees: has what was read, in the end.
    """
    reader = Reader(directories, Trees() if trees is None else trees)
    is_whole = True
    try:
        if is_file:
            reader.read(start, "")
        else:
            reader.follow(start)
    except _Ended:
        is_whole = False
    return Prelude(list(reader.names), is_whole=is_whole)


def is_shadowed(names: Iterable[str], directories: list[str]) -> bool:
    """Whether sources in these directories are called like one of these modules."""
    tops = {name.partition(".")[0] for name in names}
    for directory in directories:
        try:
            found = os.listdir(directory)
        except OSError:
            continue  # no source lies there
        for name in found:
            top, dot, _ = name.partition(".")
            if top in tops and (dot or os.path.isdir(os.path.join(directory, name))):
                return True  # no command of the same name, such as lies beside that of Volant
    return False


class _Ended(Exception):
    """A statement ends the prelude."""


class Trees:
    """Sources of a program as they were parsed, each once."""

    def __init__(self) -> None:
        self._trees: dict[str, Any] = {}
        self._left_bytes = BYTES_MAX
        #: Whether there was a source too many.
        self.is_full = False

    def paths(self) -> list[str]:
        """What somebody asked for."""
        return list(self._trees)

    def tree_of(self, path: str) -> Any:
        """The tree of a source; None when it cannot be read, or is too large with those before."""
        if path not in self._trees:
            self._trees[path] = None
            try:
                with open(path, "rb") as file:
                    content = file.read(self._left_bytes + 1)
                self.is_full = self.is_full or len(content) > self._left_bytes
                if not self.is_full:
                    self._left_bytes -= len(content)
                    self._trees[path] = _parsed(content, path)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                pass  # whoever imports it is told
        return self._trees[path]


class Reader:
    """Goes through statements in the order in which they would be run."""

    def __init__(self, directories: list[str], trees: Trees) -> None:
        self.names: dict[str, None] = {}
        self._directories = directories
        self._trees = trees
        self._seen: set[str] = set()

    def read(self, path: str, package: str) -> None:
        """Go through a source, once; `package` is what its relative imports begin at."""
        if path in self._seen:
            return
        self._seen.add(path)
        tree = self._trees.tree_of(path)
        if tree is None:
            raise _Ended
        _Source(self, package).walk(tree.body)

    def walk(self, body: list[Any], package: str, given: set[str]) -> int:
        """Go through statements as far as they are a prelude; how many of them are.

        Args:
            body: the statements.
            package: what their relative imports begin at.
            given: names of objects that may be changed, but not called.
        """
        source = _Source(self, package, given)
        for index, statement in enumerate(body):
            try:
                source.walk([statement])
            except _Ended:
                return index
        return len(body)

    def follow(self, name: str) -> bool:
        """Go through what an import of a module runs; False if it is no source of the program."""
        parts = name.split(".")
        for directory in self._directories:
            place = os.path.join(directory, parts[0])
            if os.path.isdir(place) or os.path.isfile(f"{place}.py"):
                self._follow_in(directory, parts)
                return True
        return False

    def _follow_in(self, directory: str, parts: list[str]) -> None:
        for count in range(1, len(parts) + 1):
            place = os.path.join(directory, *parts[:count])
            package = ".".join(parts[:count])
            if os.path.isfile(os.path.join(place, "__init__.py")):
                self.read(os.path.join(place, "__init__.py"), package)
            elif os.path.isfile(f"{place}.py"):
                self.read(f"{place}.py", package.rpartition(".")[0])

    def meet(self, name: str) -> None:
        """Come to an import of a module, of whatever kind."""
        if name.partition(".")[0] != "__future__" and not self.follow(name):
            if len(self.names) >= NAMES_MAX:
                raise _Ended
            self.names[name] = None


class _Source:
    """The statements of one source."""

    def __init__(self, reader: Reader, package: str, given: Iterable[str] = ()) -> None:
        self._reader = reader
        self._package = package
        #: Names that it has given to objects of its own, and those that were given to it.
        self._own = {"print"}
        self._given = set(given)

    def walk(self, body: list[Any]) -> None:
        """Go through statements.

        Raises:
            _Ended: at one that ends the prelude.
        """
        for statement in body:
            kind = type(statement).__name__
            if kind in ("Import", "ImportFrom"):
                self._meet(statement)
            elif kind in _DEFINITIONS:
                self._own.add(statement.name)
            elif kind in ("Assign", "AnnAssign", "AugAssign", "Delete"):
                targets = getattr(statement, "targets", None) or [statement.target]
                for target in targets:
                    self._assign(target)
            elif kind == "Expr":
                self._evaluate(statement.value)
            elif kind in ("If", "Try", "TryStar", "With"):
                self._enter(kind, statement)
            elif kind not in _HARMLESS:
                raise _Ended

    def _meet(self, statement: Any) -> None:
        names = names_of(statement, self._package)
        if not names:
            raise _Ended  # it fails, and whoever imports it is told
        for name in names:
            self._reader.meet(name)

    def _assign(self, target: Any) -> None:
        kind = type(target).__name__
        if kind == "Name":
            self._own.add(target.id)
        elif kind in ("Tuple", "List"):
            for one in target.elts:
                self._assign(one)
        elif _root_of(target) not in self._own | self._given:
            raise _Ended

    def _evaluate(self, value: Any) -> None:
        kind = type(value).__name__
        is_own_call = kind == "Call" and _root_of(value.func) in self._own
        if kind != "Constant" and not is_own_call:
            raise _Ended

    def _enter(self, kind: str, statement: Any) -> None:
        if kind == "With" and not all(map(_is_block_of_imports, statement.items)):
            raise _Ended
        if kind == "If" and _asks_for_main(statement.test):
            self.walk(statement.orelse)
            return
        self.walk(statement.body)
        for handler in getattr(statement, "handlers", ()):
            self.walk(handler.body)
        self.walk(getattr(statement, "orelse", []))
        self.walk(getattr(statement, "finalbody", []))


def names_of(statement: Any, package: str) -> list[str]:
    """What an import statement may import, in order; empty for one that leads nowhere.

    Args:
        statement: any, those of other kinds import nothing.
        package: what relative imports begin at.
    """
    kind = type(statement).__name__
    if kind == "Import":
        return [alias.name for alias in statement.names]
    if kind != "ImportFrom":
        return []
    base = statement.module or ""
    if statement.level:
        parts = package.split(".")
        parents = parts[: len(parts) - statement.level + 1]
        base = ".".join([*parents, *([base] if base else [])])
    if not base:
        return []
    return [base, *(f"{base}.{alias.name}" for alias in statement.names if alias.name != "*")]


def _root_of(expression: Any) -> str:
    """The name at the beginning of `name.a[0].b()`; empty for another expression."""
    while not hasattr(expression, "id"):
        inner = getattr(expression, "value", None) or getattr(expression, "func", None)
        if inner is None or type(expression).__name__ == "Constant":
            return ""
        expression = inner
    return str(expression.id)


def _is_block_of_imports(item: Any) -> bool:
    """True for `with image.imports():`."""
    return getattr(getattr(item.context_expr, "func", None), "attr", "") == "imports"


def _asks_for_main(test: Any) -> bool:
    return getattr(getattr(test, "left", None), "id", "") == "__name__"


def _parsed(content: bytes, path: str) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # running the file gives them
        return compile(content, path, "exec", _AST_ONLY, True)
