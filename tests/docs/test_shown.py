"""Blocks that nobody runs are read by what reads them, and all others are run.

```toml     lines of config.toml: settings that `volant config show` has from that file
```json     the configuration of an MCP client, which starts what it says
```mermaid  a diagram, in the part of the language that the pages use
```text     a picture, or what `scripts/docs` has written
"""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import re
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests import gvisor
from tests.docs import unrun
from tests.docs.blocks import PAGES, blocks_of
from tests.support import ROOT, VOLANT, run_volant

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.blocks import Block

RUN = {"python", "console", "sh"}
READ = {"toml", "json", "mermaid", "text"}
WAYS_OF_CONSOLES = {"", "any-order", "terminal", "saves"}
#: What only pictures have.
DRAWN = re.compile(r"[─│├┼└═]|--[->]|<-|\+--")
GENERATED = "<!-- made by docs/generate.py"

_STATE = r"(?:\[\*\]|\w+)"
_NODE = r'\w+(?:\["[^"]+"\])?'
_TEXT = r"[^#]+"
#: There a semicolon ends what is said.
_SAID = r"[^;#]+"
#: The first line of a diagram, and what each other may be.
DIAGRAMS = {
    "stateDiagram-v2": rf'state "{_TEXT}" as \w+|{_STATE} --> {_STATE}(: {_TEXT})?',
    "sequenceDiagram": rf"participant \w+ as {_SAID}|\w+-?->>\w+: {_SAID}"
    rf"|Note over \w+(,\w+)?: {_SAID}",
    "flowchart TD": rf'{_NODE}( -- "{_TEXT}" -->| -->) {_NODE}',
}


_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _all(language: str) -> list[tuple[str, Block]]:
    return [
        (page, block) for page in PAGES for block in blocks_of(page) if block.language == language
    ]


@pytest.mark.parametrize("page", PAGES)
def test_each_block_says_what_it_is(page: str) -> None:
    text = (ROOT / page).read_text()
    blocks = blocks_of(page)
    assert text.count("```") == 2 * len(blocks), "a block is open, or indented"
    assert not re.search(r"\n\n    \S", _FENCED.sub("", text)), "a block has no fence"
    assert {block.language for block in blocks} <= RUN | READ
    ways = {block.label for block in blocks if block.language == "console"}
    assert ways <= WAYS_OF_CONSOLES
    assert not [block for block in blocks if block.label and block.language in READ | {"sh"}]


@pytest.mark.parametrize("page", sorted({page for page, _ in _all("text")}))
def test_text_is_a_picture_or_generated(page: str) -> None:
    if GENERATED in (ROOT / page).read_text():
        return  # another test compares the whole page with what would be written
    for block in blocks_of(page):
        if block.language == "text":
            assert DRAWN.search(block.text), f"what is this, if nobody runs it?\n{block.text}"
            assert not re.search(r"^\$ ", block.text, re.MULTILINE), "a console shows commands"


@pytest.mark.parametrize(("page", "block"), _all("toml"))
def test_settings_that_are_shown_are_taken(
    page: str, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOLANT_SANDBOX_RUNTIME", raising=False)  # set for all tests
    (tmp_path / "config.toml").write_text(block.text)
    (tmp_path / "config.toml").chmod(0o600)
    run = run_volant("config", "show", "--json", home=tmp_path)
    assert run.returncode == 0, run.stderr
    taken = json.loads(run.stdout)
    wanted = tomllib.loads(block.text)
    assert wanted, page
    for name, value in wanted.items():
        assert taken[name]["value"] == value
        assert taken[name]["origin"].endswith("config.toml")


@pytest.mark.parametrize(("page", "block"), _all("json"))
def test_a_client_that_is_configured_so_has_the_tools_of_the_page(
    page: str, block: Block, volant_home: Path
) -> None:
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    ((_, entry),) = json.loads(block.text)["mcpServers"].items()
    environ = {  # such a client passes few variables on
        "VOLANT_HOME": str(volant_home), "PATH": f"{VOLANT.parent}:{os.environ['PATH']}",
        "VOLANT_SANDBOX_RUNTIME": gvisor.default_runtime(),
    }  # fmt: skip
    server = StdioServerParameters(**entry, env=environ)

    async def tools() -> set[str]:
        async with Client(stdio_client(server)) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", (ROOT / page).read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == asyncio.run(tools())


@pytest.mark.parametrize(("page", "block"), _all("mermaid"))
def test_a_diagram_is_one(page: str, block: Block) -> None:
    kind, *lines = (line.strip() for line in block.text.splitlines())
    assert kind in DIAGRAMS, page
    wrong = [line for line in lines if not re.fullmatch(DIAGRAMS[kind], line)]
    assert not wrong, page
    if kind == "stateDiagram-v2":
        begun = set(re.findall(rf"^\s*({_STATE}) -->", block.text, re.MULTILINE))
        reached = set(re.findall(rf"--> ({_STATE})", block.text))
        assert begun - reached <= {"[*]"}, "a state that nothing leads to"
    if kind == "sequenceDiagram":
        named = set(re.findall(r"^\s*participant (\w+)", block.text, re.MULTILINE))
        used = re.findall(r"^\s*(\w+)-?->>(\w+):", block.text, re.MULTILINE)
        assert {name for pair in used for name in pair} <= named


def test_what_is_not_run_is_still_shown_and_has_no_other_way() -> None:
    lines = {
        unrun.command_of(line)
        for _, block in [*_all("sh"), *_all("console")]
        for line in block.text.splitlines()
    }
    assert {*unrun.ELSEWHERE, *unrun.UNRUN} <= lines
    assert len(unrun.UNRUN) <= 8, "the list only gets shorter"
    for command, by in unrun.ELSEWHERE.items():
        assert by.text in (ROOT / by.file).read_text(), f"nobody runs {command}"
    runners = [ROOT / ".ci/run", ROOT / "scripts/test"]
    typed = {line.strip() for path in runners for line in path.read_text().splitlines()}
    assert not typed & set(unrun.UNRUN), "these are run after all"


@pytest.mark.parametrize("command", [line for line in unrun.UNRUN if "bench" in line])
def test_what_the_benchmarks_are_told_is_understood(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.__main__ import BUDGET, parse

    monkeypatch.setattr(sys, "argv", command.split())
    assert parse(list(tomllib.loads(BUDGET.read_text())))


def test_each_symptom_that_is_quoted_is_something_that_the_code_says() -> None:
    source = "".join(path.read_text() for path in ROOT.glob("src/**/*.py"))
    said = re.sub(r'"\n\s*f?"', "", source)
    page = (ROOT / "docs/operations/troubleshooting.md").read_text()
    symptoms = [row.split("|")[1] for row in page.splitlines() if row.startswith("| ")]
    quoted = [text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom)]
    assert len(quoted) > 20
    parts = [part.strip() for text in quoted for part in text.split("…") if part.strip()]
    assert [part for part in parts if part not in said and not hasattr(builtins, part)] == []
