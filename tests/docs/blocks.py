"""Blocks of the documents, and whether what a command printed is what one of them shows.

Ids, times and sizes are compared by their form. In what is shown, `…` stands for any text and a
line `...` for any lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

#: All pages that have blocks, or may come to have some.
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("compat/**/*.md")]
)

_FENCE = re.compile(r"^```(\S*) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = re.compile(r"\b(?:ap|fc|fu|im|in|sb|ta|zy)-[0-9a-z]{20,}")
#: The beginning of an id, as commands take it too.
_BEGUN = re.compile(r"\b(?:ap|fc|fu|im|in|sb|ta|zy)-[0-9a-z]{6,}")
_ALIKE = (
    (re.compile(r"\b(ap|fc|fu|im|in|sb|ta|zy)-[0-9a-z]{20,}"), r"\1-ID"),
    (re.compile(r"\b(\d+ (d|h|min) )+(?=\d+ (h|min|s)\b)"), ""),  # a daemon of many tests is old
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min|h|kB|MiB)\b"), r"N \2"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"\bdebian_slim 3\.\d+"), "debian_slim 3.N"),
    (re.compile(r"[ \t]+"), " "),
)


class Block(NamedTuple):
    language: str
    label: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    return [Block(*found) for found in _FENCE.findall((ROOT / page).read_text())]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it is said to print."""
    assert text.startswith("$ "), f"a console block begins with a command:\n{text}"
    for part in text.removeprefix("$ ").split("\n$ "):
        command, _, printed = part.partition("\n")
        yield command, printed


def _form(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, alike in _ALIKE:
        line = pattern.sub(alike, line)
    return line.strip()


def lines_of(text: str) -> list[str]:
    """Lines by their form, without the marks below a traceback's lines (they vary by Python)."""
    forms = [_form(line) for line in text.strip("\n").splitlines()]
    return [line for line in forms if not line or line.strip("^~ ")]


def is_alike(shown: list[str], printed: list[str]) -> bool:
    """Whether lines, by their form, are those that are shown."""
    if not shown:
        return not printed
    first, rest = shown[0], shown[1:]
    if first == "...":
        return any(is_alike(rest, printed[at:]) for at in range(len(printed) + 1))
    return bool(printed and _is_line(first, printed[0]) and is_alike(rest, printed[1:]))


def _is_line(shown: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.split("…"))
    return re.fullmatch(pattern, printed) is not None


class Ids:
    """Which id that was printed stands where a page shows one of its own."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def learn(self, shown: str, printed: str) -> None:
        """Take the ids of what was printed for those of the lines which show the same."""
        left = iter(printed.splitlines())
        for line in shown.splitlines():
            if not _ID.search(line):
                continue
            form = _form(line)
            found = next((other for other in left if _is_line(form, _form(other))), "")
            self._real.update(zip(_ID.findall(line), _ID.findall(found), strict=False))

    def put_into(self, text: str) -> str:
        """`text` with the ids that there are, whole or begun, in the place of those it shows."""

        def real(match: re.Match[str]) -> str:
            begun = match[0]
            for shown, printed in self._real.items():
                if shown.startswith(begun):
                    return printed[: len(begun)] if len(begun) < len(shown) else printed
            return begun

        return _BEGUN.sub(real, text)
