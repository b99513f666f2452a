"""Which tests say that they hold which behaviours, read from their docstrings.

def test_x():
    \"\"\"Behaviours 7 and 8, deliberately better: ...\"\"\"
"""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBERS = re.compile(r"\bBehaviours?\s+((?:\d+(?:,\s*|\s+and\s+|\b))+)")
_BETTER = "deliberately better"


class Behaviour(NamedTuple):
    number: int
    title: str
    #: why it cannot be here, "" for nearly all
    not_applicable: str
    #: which part of it is not there, "" for nearly all
    lacks: str = ""


class Claim(NamedTuple):
    #: `tests/path.py::[Class::]name`, without parameters
    test: str
    numbers: tuple[int, ...]
    is_better: bool


def behaviours() -> list[Behaviour]:
    """All of them, by number."""
    listed = tomllib.loads((ROOT / "tests/conformance/behaviours.toml").read_text())["behaviour"]
    return [
        Behaviour(one["number"], one["title"], one.get("not_applicable", ""), one.get("lacks", ""))
        for one in listed
    ]


def claims() -> list[Claim]:
    """What all tests say, in the order of their files."""
    return [claim for path in sorted((ROOT / "tests").rglob("test_*.py")) for claim in _of(path)]


def _of(path: Path) -> Iterator[Claim]:
    place = path.relative_to(ROOT).as_posix()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield from _of_function(f"{place}::{node.name}", inner)
        yield from _of_function(place, node)


def _of_function(place: str, node: ast.stmt) -> Iterator[Claim]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    words = ast.get_docstring(node) or ""
    found = [int(one) for text in _NUMBERS.findall(words) for one in re.findall(r"\d+", text)]
    if found and node.name.startswith("test_"):
        yield Claim(f"{place}::{node.name}", tuple(dict.fromkeys(found)), _BETTER in words)
