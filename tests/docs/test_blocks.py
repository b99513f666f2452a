"""What the documents show is what happens: every block of code in them runs.

    ```python name.py    is written to the page's own directory, for the commands of the page
    ```python            without a name is run by `volant run`
    ```console           each `$ volant …` and `$ python …` is run; what follows is what it prints
    ```sh                is for the reader's own machine, and is not run

The commands of a page run in order, in one directory, and all pages share one daemon. Ids, times
and sizes are compared by their form. In what a command prints, `…` stands for any text and a line
`...` for any lines.
"""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    if re.search(r"^```(python|console)", page.read_text(), re.MULTILINE)
)
#: Where the commands of a page are said to run.
SHOWN_DIRECTORY = "/home/you/project"
COMMAND_WITHIN_S = 30.0
#: Languages of blocks that a reader looks at and nobody runs.
ONLY_SHOWN = {"sh", "text", "toml", "json", "mermaid"}

_FENCE = re.compile(r"^```(\S*) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ALIKE = (
    (re.compile(r"\b(ap|fc|fu|im|in|ta|zy)-[0-9a-z]{20,}"), r"\1-ID"),
    (re.compile(r"\b(\d+ (d|h|min) )+(?=\d+ (h|min|s)\b)"), ""),  # a daemon of many tests is old
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min|h|MiB)\b"), r"N \2"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"[ \t]+"), " "),
)


class Block(NamedTuple):
    language: str
    label: str
    text: str


def _blocks(page: str) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall((ROOT / page).read_text())]


def _environment(home: Path) -> dict[str, str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("VOLANT_")}
    beside = str(Path(sys.executable).parent)
    return environ | {
        "VOLANT_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200", "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "PATH": f"{beside}:{environ['PATH']}",
    }  # fmt: skip


def _run(command: str, directory: Path, home: Path) -> tuple[int, str]:
    """Exit code and everything that it printed, as in a terminal."""
    run = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_WITHIN_S,
        check=False,
    )
    return run.returncode, run.stdout.replace(str(directory), SHOWN_DIRECTORY)


def _form(line: str) -> str:
    """A line without what differs from run to run."""
    for pattern, alike in _ALIKE:
        line = pattern.sub(alike, line)
    return line.strip()


def _lines(text: str) -> list[str]:
    """Lines by their form, without the marks below a traceback's lines (they vary by Python)."""
    forms = [_form(line) for line in text.strip("\n").splitlines()]
    return [line for line in forms if not line or line.strip("^~ ")]


def _is_alike(shown: list[str], printed: list[str]) -> bool:
    if not shown:
        return not printed
    first, rest = shown[0], shown[1:]
    if first == "...":
        return any(_is_alike(rest, printed[at:]) for at in range(len(printed) + 1))
    pattern = ".*".join(re.escape(part) for part in first.split("…"))
    return bool(printed and re.fullmatch(pattern, printed[0]) and _is_alike(rest, printed[1:]))


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it is said to print."""
    assert text.startswith("$ "), f"a console block begins with a command:\n{text}"
    for part in text.removeprefix("$ ").split("\n$ "):
        command, _, printed = part.partition("\n")
        assert command.startswith(("volant ", "python ")), f"what would run `{command}`?"
        yield command, printed


def _run_console(block: Block, directory: Path, home: Path) -> None:
    for command, shown in _commands(block.text):
        _, printed = _run(command, directory, home)
        wanted, got = _lines(shown), _lines(printed)
        if block.label == "any-order":
            wanted, got = sorted(wanted), sorted(got)
        assert _is_alike(wanted, got), f"$ {command}\n--- shown\n{shown}\n--- printed\n{printed}"


def _run_python(block: Block, number: int, directory: Path, home: Path) -> None:
    name = block.label or f"block{number}.py"
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).write_text(block.text)
    if not block.label:
        code, printed = _run(f"volant run {name}", directory, home)
        assert code == 0, f"{printed}\n--- of\n{block.text}"


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_and_print_what_it_says(
    page: str, tmp_path: Path, volant_home: Path
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = _blocks(page)
    for number, block in enumerate(blocks):
        if block.language == "python":
            _run_python(block, number, tmp_path, volant_home)
        elif block.language == "console":
            _run_console(block, tmp_path, volant_home)
    consoles = "".join(block.text for block in blocks if block.language == "console")
    for block in blocks:
        if block.language == "python" and block.label:
            path = Path(block.label)
            module = path.parent.name if path.stem == "__init__" else path.stem
            others = "".join(other.text for other in blocks if other is not block)
            assert module in consoles + others, f"nothing on the page uses {block.label}"


@pytest.mark.parametrize(
    "page", sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))
)
def test_each_block_says_what_it_is(page: str) -> None:
    known = {"python", "console", *ONLY_SHOWN}
    text = (ROOT / page).read_text()
    assert text.count("```") % 2 == 0, "a block is open"
    assert {block.language for block in _blocks(page)} <= known


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        ("a\nb", "a\nb", True),
        ("a\nb", "a", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...", "a", True),
        ("in … ms of 3", "in 4.1 ms of 3", True),
        ("in … ms of 3", "in 4.1 ms of 4", False),
        ("took 3 ms", "took 17.2 ms", True),
        ("took 3 ms", "took 17.2 s", False),
        ("ta-01h2xcejqtf2nbrexx3vqjhp41 ok", "ta-6j492ghm63n73e5b8eyw482gn3 ok", True),
        ("    f(x)\n    ^^^^", "    f(x)\n    ~^^^", True),
        ("", "more", False),
    ],
)
def test_output_is_compared_by_its_form(shown: str, printed: str, alike: bool) -> None:
    assert _is_alike(_lines(shown), _lines(printed)) is alike


def test_each_symptom_that_is_quoted_is_something_that_the_code_says() -> None:
    source = "".join(path.read_text() for path in ROOT.glob("src/**/*.py"))
    said = re.sub(r'"\n\s*f?"', "", source)
    page = (ROOT / "docs/operations/troubleshooting.md").read_text()
    symptoms = [row.split("|")[1] for row in page.splitlines() if row.startswith("| ")]
    quoted = [text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom)]
    assert len(quoted) > 20
    parts = [part.strip() for text in quoted for part in text.split("…") if part.strip()]
    assert [part for part in parts if part not in said and not hasattr(builtins, part)] == []
