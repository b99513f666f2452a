"""What functions of a program import before they do anything else; read from its sources, not run.

    def site():
        from fastapi import FastAPI     the function begins with it
        os.environ["X"] = "1"           from here on an import might find something else than before
        import torch                    so this one stands behind

For bodies of functions what `prelude` is for modules. A source that a body imports is followed.
"""

from __future__ import annotations

import os

from volant.runner.template import prelude

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

#: Functions that are read of one program.
BODIES_MAX = 2000
_FUNCTIONS = ("FunctionDef", "AsyncFunctionDef")
#: Parts of a statement that hold further ones.
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")


class Bodies:
    """What the bodies of a program's functions import.

    Attributes:
        first: names that some function begins with.
        behind: names that some function imports after it has done something else.
    """

    __slots__ = ("behind", "first")

    def __init__(self) -> None:
        self.first: set[str] = set()
        self.behind: set[str] = set()

    def movable(self) -> set[str]:
        """What may be imported before any function runs: none would find it otherwise."""
        return self.first - self.behind


def read(
    paths: Iterable[str], directories: list[str], trees: prelude.Trees | None = None
) -> Bodies:
    """The bodies of functions in sources, and in those that they import.

    Args:
        paths: the sources; those that cannot be imported have no functions.
        directories: where they lie, as they stand on `sys.path`.
        trees: sources that were read already, which are looked at as well.

    Returns:
        nothing at all if there is too much to be read.
    """
    trees = prelude.Trees() if trees is None else trees
    found = Bodies()
    seen: set[str] = set()
    count = 0
    waiting = [*paths, *trees.paths()]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        tree = trees.tree_of(path)
        package = _package_of(path, directories)
        for function in () if tree is None else _functions(tree):
            count += 1
            if count > BODIES_MAX:
                return Bodies()
            _read_body(function, prelude.Reader(directories, trees), package, found)
        waiting += [path for path in trees.paths() if path not in seen]
    return Bodies() if trees.is_full else found


def _read_body(function: Any, reader: prelude.Reader, package: str, found: Bodies) -> None:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    begun = reader.walk(function.body, package, {one.arg for one in every})
    found.first.update(reader.names)
    for statement in _statements(function.body[begun:]):
        found.behind.update(prelude.names_of(statement, package))


def _package_of(path: str, directories: list[str]) -> str:
    """What relative imports of a source begin at; empty for one in no package."""
    inside = [one for one in directories if path.startswith(one + os.sep)]
    if not inside:
        return ""
    relative = os.path.dirname(path[len(max(inside, key=len)) + 1 :])
    return relative.replace(os.sep, ".")


def _statements(body: list[Any]) -> Iterator[Any]:
    """All statements in a block, without those of functions that are defined in it."""
    waiting = list(body)
    while waiting:
        statement = waiting.pop()
        yield statement
        if type(statement).__name__ not in _FUNCTIONS:
            for block in _BLOCKS:
                waiting += getattr(statement, block, None) or []


def _functions(tree: Any) -> Iterator[Any]:
    """All functions of a module, also those within others."""
    waiting = [tree.body]
    while waiting:
        for statement in _statements(waiting.pop()):
            if type(statement).__name__ in _FUNCTIONS:
                yield statement
                waiting.append(statement.body)
