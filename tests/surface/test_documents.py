"""What the documents say can be checked by machine: links, examples, commands, glossary."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("compat/**/*.md")]
)


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> tuple[str, str]:
    name: str = request.param
    return name, (ROOT / name).read_text()


def test_every_link_leads_somewhere(document: tuple[str, str]) -> None:
    name, text = document
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    here = (ROOT / name).parent
    missing = [
        target
        for target in targets
        if not target.startswith(("http:", "https:")) and not (here / target).exists()
    ]
    assert not missing, f"{name}: {missing}"


def _anchor(heading: str) -> str:
    """What a heading is called in links to it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def test_every_link_into_a_page_leads_to_a_heading(document: tuple[str, str]) -> None:
    name, text = document
    missing = []
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", text):
        page = (ROOT / name).parent / target if target else ROOT / name
        headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
        if anchor not in map(_anchor, headings):
            missing.append(f"{target}#{anchor}")
    assert not missing, f"{name}: {missing}"


def test_every_script_that_is_named_exists(document: tuple[str, str]) -> None:
    name, text = document
    named = set(re.findall(r"\bscripts/([a-z][a-z-]*)", text))
    assert [script for script in named if not (ROOT / "scripts" / script).exists()] == [], name


def test_every_source_file_that_is_named_exists(document: tuple[str, str]) -> None:
    name, text = document
    if name.startswith(("docs/adr", "CHANGELOG")):
        return  # these speak of their own time
    pattern = r"`((?:volantd?|examples)/[a-z_0-9/]+(?:\.py)?|tests/[a-z_0-9/]+\.py)`"
    named = set(re.findall(pattern, text))
    missing = [
        path for path in named if not (ROOT / path).exists() and not (ROOT / "src" / path).exists()
    ]
    assert not missing, f"{name}: {missing}"


def test_the_first_example_is_the_one_that_the_tests_run() -> None:
    readme = (ROOT / "README.md").read_text()
    code = readme.partition("```python\n")[2].partition("```")[0]
    assert (ROOT / "examples/hello.py").read_text().partition('"""\n\n')[2] == code


def test_the_glossary_is_sorted_and_names_each_word_once() -> None:
    text = (ROOT / "docs/glossary.md").read_text()
    words = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)[1:]
    assert words == sorted(words, key=str.lower)
    assert len(words) == len(set(words))


def test_each_decision_has_its_number_state_and_parts() -> None:
    pages = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: "), page.name
        for part in ("State: ", "## Context", "## Choice", "## Rejected", "## Cost", "## When to"):
            assert part in text, f"{page.name}: {part}"
        assert len(text.splitlines()) <= 60, f"{page.name} is longer than a page"


def test_the_architecture_fits_its_bound() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 400
