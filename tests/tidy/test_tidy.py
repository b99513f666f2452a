"""House rules that a linter does not know: sizes, names, notes to self, what must not be recorded.

Sizes may be excused in allow.toml, with a reason; nothing else may.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FUNCTION_LINES_MAX = 50
MODULE_LINES_MAX = 500
CONFTEST_LINES_MAX = 150
LINE_CHARS_MAX = 100
PACKAGE_MODULES_MAX = 12
BANNED_STEMS = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
TEXT_SUFFIXES = {"", ".cfg", ".in", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
#: Home directories of people; paths of this very checkout are found by its place.
PERSONAL = re.compile(r"/Users/\w|/home/(?!user\b|you\b|me\b)\w")
NOTE = re.compile(r"\b(TODO|FIXME|XXX)\b(\(#\d+\))?")


class Finding(NamedTuple):
    rule: str
    where: str
    size: int
    text: str


def _tracked() -> list[Path]:
    """Every file of the project that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix in TEXT_SUFFIXES]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in _tracked()}


@pytest.fixture(scope="module")
def modules(texts: dict[str, str]) -> dict[str, ast.Module]:
    return {name: ast.parse(text, name) for name, text in texts.items() if name.endswith(".py")}


def _function_sizes(name: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno is not None
        size = node.end_lineno - node.lineno + 1
        if ast.get_docstring(node, clean=False) is not None:
            doc = node.body[0]
            assert doc.end_lineno is not None
            size -= doc.end_lineno - doc.lineno + 1
        if size > FUNCTION_LINES_MAX:
            yield Finding("function", f"{name}:{node.name}", size, "too many lines in a function")


def _sizes(texts: dict[str, str], modules: dict[str, ast.Module]) -> Iterator[Finding]:
    for name, tree in modules.items():
        yield from _function_sizes(name, tree)
        size = texts[name].count("\n")
        if name.endswith("conftest.py") and size > CONFTEST_LINES_MAX:
            yield Finding("conftest", name, size, "too many lines in a conftest")
        elif size > MODULE_LINES_MAX:
            yield Finding("module", name, size, "too many lines in a module")
    packages = Counter(
        name.rpartition("/")[0]
        for name in modules
        if name.startswith("src/") and not name.endswith("__init__.py")
    )
    for package, size in packages.items():
        if size > PACKAGE_MODULES_MAX:
            yield Finding("package", package, size, "too many modules in a package")


def test_sizes_stay_in_their_limits_and_the_list_of_exceptions_only_shrinks(
    texts: dict[str, str], modules: dict[str, ast.Module]
) -> None:
    listed = tomllib.loads((ROOT / "tests/tidy/allow.toml").read_text()).get("allow", [])
    allowed = {(entry["rule"], entry["where"]): entry for entry in listed}
    assert all(entry["reason"] for entry in listed), "each exception needs a reason"
    problems = []
    for finding in _sizes(texts, modules):
        entry = allowed.pop((finding.rule, finding.where), None)
        if entry is None or entry["size"] < finding.size:
            problems.append(f"{finding.where}: {finding.text}: {finding.size}")
        elif entry["size"] > finding.size:
            problems.append(
                f"{finding.where}: shrank; set its size to {finding.size} in allow.toml"
            )
    problems += [f"{where}: no longer needs its entry in allow.toml" for _, where in allowed]
    assert not problems, "\n".join(problems)


def test_no_line_is_too_long(texts: dict[str, str]) -> None:
    """Prose and hashes may run on; code and the shell scripts may not."""
    problems = [
        f"{name}:{number}: {len(line)} characters"
        for name, text in texts.items()
        if name.endswith((".py", ".toml")) or name.startswith(("scripts/", ".ci/"))
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > LINE_CHARS_MAX
    ]
    assert not problems, "\n".join(problems)


def test_no_module_is_named_for_nothing_in_particular(modules: dict[str, ast.Module]) -> None:
    stems = {name: name.rpartition("/")[2].removesuffix(".py").lstrip("_") for name in modules}
    problems = [name for name, stem in stems.items() if stem in BANNED_STEMS]
    assert not problems, f"say what it owns instead: {problems}"


def test_every_module_says_what_it_owns(modules: dict[str, ast.Module]) -> None:
    problems = [
        name
        for name, tree in modules.items()
        if name.startswith("src/") and tree.body and ast.get_docstring(tree) is None
    ]
    assert not problems, f"no docstring: {problems}"


def test_notes_to_self_name_an_issue(texts: dict[str, str]) -> None:
    problems = [
        f"{name}: {match.group()}"
        for name, text in texts.items()
        if name.startswith(("src/", "tests/", "scripts/")) and name != "tests/tidy/test_tidy.py"
        for match in NOTE.finditer(text)
        if match.group(1) != "TODO" or match.group(2) is None
    ]
    assert not problems, "write TODO(#issue), or do it now:\n" + "\n".join(problems)


def test_what_a_type_checker_may_not_say_has_a_reason(texts: dict[str, str]) -> None:
    """On the same line, or in a comment right above it."""
    problems = []
    for name, text in texts.items():
        lines = text.splitlines() if name.startswith("src/") and name.endswith(".py") else []
        for number, line in enumerate(lines, 1):
            above = lines[number - 2].strip() if number > 1 else ""
            _, found, rest = line.partition("# type: " + "ignore[")
            if found and "]  # " not in rest and not above.startswith("#"):
                problems.append(f"{name}:{number}")
    assert not problems, f"say why: {problems}"


def _sleeps(tree: ast.Module) -> Iterator[int]:
    """Lines that wait for time to pass; `asyncio.sleep(0)` only lets others run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "asyncio"):
            yield from (node.lineno for name in node.names if name.name == "sleep")
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "sleep" and isinstance(node.func.value, ast.Name):
            zero = [isinstance(word, ast.Constant) and word.value == 0 for word in node.args]
            if node.func.value.id != "asyncio" or zero != [True]:
                yield node.lineno


def test_tests_do_not_sleep(modules: dict[str, ast.Module]) -> None:
    """In the programs that tests run (`apps`) a sleep stands for work."""
    problems = [
        f"{name}:{line}"
        for name, tree in modules.items()
        if name.startswith("tests/") and "/apps/" not in name
        for line in _sleeps(tree)
    ]
    assert not problems, f"wait for the event, or use eventually(): {problems}"


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("import time\ntime.sleep(1)", True),
        ("from time import sleep", True),
        ("from asyncio import sleep", True),
        ("import asyncio\nasync def f(): await asyncio.sleep(0.1)", True),
        ("import asyncio\nasync def f(): await asyncio.sleep(pause)", True),
        ("import asyncio\nasync def f(): await asyncio.sleep(0)", False),
    ],
)
def test_every_way_to_sleep_is_seen(source: str, is_found: bool) -> None:
    assert bool(list(_sleeps(ast.parse(source)))) is is_found


def test_no_path_of_anybodys_machine_is_recorded(texts: dict[str, str]) -> None:
    here = re.compile(re.escape(f"{ROOT}/"))
    problems = [
        f"{name}: {match.group()}"
        for name, text in texts.items()
        if name != "tests/tidy/test_tidy.py"
        for pattern in (here, PERSONAL)
        for match in pattern.finditer(text)
    ]
    assert not problems, "\n".join(problems)


def test_requirements_pin_hashes_and_name_no_address(texts: dict[str, str]) -> None:
    lists = {name: text for name, text in texts.items() if name.startswith("requirements/")}
    assert lists
    for name, text in lists.items():
        assert not re.search(r"://|index-url|find-links|trusted-host", text), name
        if name.endswith(".txt"):
            blocks = re.findall(r"^[a-z0-9].*(?:\n[ \t].*)*", text, re.MULTILINE)
            assert blocks
            assert all("==" in block and "--hash=sha256:" in block for block in blocks), name


def test_scripts_and_settings_name_no_address(texts: dict[str, str]) -> None:
    problems = [
        name
        for name, text in texts.items()
        if name.startswith(("scripts/", ".ci/", ".pre-commit", "pyproject"))
        and name != "scripts/lock"  # it holds the pattern that it refuses
        and re.search(r"https?://|--index-url|--find-links", text)
    ]
    assert not problems, problems


def test_runtime_requirements_are_those_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {line.split(";")[0].strip() for line in project["dependencies"]}
    lines = (ROOT / "requirements/runtime.in").read_text().splitlines()
    listed = {line.split(";")[0].strip() for line in lines if line and not line.startswith("#")}
    assert listed == wanted


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "src/volant/version.py").read_text()
    assert f'VERSION = "{project["version"]}"' in text
