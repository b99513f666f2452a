"""Patterns in the syntax of `.dockerignore`."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from volant import FilePatternMatcher
from volant.errors import InvalidError, NotFoundError
from volant.file_pattern_matcher import NON_PYTHON_FILES


@pytest.mark.parametrize(
    ("patterns", "path", "matches"),
    [
        (["*.py"], "a.py", True),
        (["*.py"], "sub/a.py", False),
        (["**/*.py"], "a.py", True),
        (["**/*.py"], "x/y/a.py", True),
        (["*"], "x/y", True),
        (["**"], "x/y", True),
        (["x"], "x/y/z", True),
        (["x/"], "x/y", True),
        (["/x"], "x", True),
        (["./x"], "x", True),
        (["x/../y"], "y", True),
        (["x"], "xy", False),
        (["x/**"], "x/y/z", True),
        (["x/**"], "x", False),
        (["x/**/z"], "x/z", True),
        (["x/**/z"], "x/a/b/z", True),
        (["a**z"], "a/b/z", True),
        (["?"], "a", True),
        (["?"], "ab", False),
        (["a?b"], "a/b", False),
        (["[a-c]x"], "bx", True),
        (["[^a-c]x"], "bx", False),
        (["a.b"], "acb", False),
        ([r"\*"], "*", True),
        ([r"\*"], "a", False),
        (["a+b$"], "a+b$", True),
        (["*.py", "!a.py"], "a.py", False),
        (["!a.py", "*.py"], "a.py", True),
        (["d", "!d/keep", "d/keep/not"], "d/keep/x", False),
        (["d", "!d/keep", "d/keep/not"], "d/keep/not", True),
        (["d", "!d/keep"], "d/other", True),
        (["!a"], "b", False),
        ([" a "], "a", True),
        (["#a"], "#a", True),
        ([""], "a", False),
        ([], "a", False),
    ],
)
def test_the_last_pattern_that_matches_decides(
    patterns: list[str], path: str, matches: bool
) -> None:
    """Behaviour 84."""
    matcher = FilePatternMatcher(*patterns)
    assert matcher(Path(path)) is matches
    assert (~matcher)(Path(path)) is not matches
    assert (~~matcher)(Path(path)) is matches


@pytest.mark.parametrize("pattern", ["!", "! ", "[a", "[z-a]"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError, match="pattern"):
        FilePatternMatcher(pattern).matches("a")


def test_a_list_of_patterns_is_told_how_to_be_given() -> None:
    with pytest.raises(InvalidError, match="must be a string") as refused:
        FilePatternMatcher(["a", "b"])  # type: ignore[arg-type]
    assert "an argument of its own" in str(refused.value.hint)


def test_a_file_of_patterns_has_comments_and_is_read_late(tmp_path: Path) -> None:
    file = tmp_path / "x.ignore"
    matcher = FilePatternMatcher.from_file(file)
    with pytest.raises(NotFoundError, match=r"x\.ignore: No such file"):
        matcher.matches("a")
    file.write_text("\ufeff# a comment\n\n*.py\n  !a.py\n", encoding="utf-8")
    assert matcher.matches("b.py")
    assert not matcher.matches("a.py")
    assert not matcher.matches("# a comment")
    assert repr(matcher) == f"FilePatternMatcher.from_file({str(file)!r})"


def test_a_matcher_is_shown_as_it_was_made() -> None:
    matcher = FilePatternMatcher("a", "!b")
    assert repr(matcher) == "FilePatternMatcher('a', '!b')"
    assert repr(~matcher) == "~FilePatternMatcher('a', '!b')"
    named = matcher.with_repr("MINE")
    assert (repr(named), repr(~named), repr(~~named)) == ("MINE", "~MINE", "MINE")
    assert repr(matcher) == "FilePatternMatcher('a', '!b')", "which is as it was"


def test_a_matcher_can_be_copied_and_pickled() -> None:
    matcher = (~FilePatternMatcher("*.py")).with_repr("X")
    matcher.matches("a")
    for other in (copy.deepcopy(matcher), pickle.loads(pickle.dumps(matcher))):
        assert repr(other) == "X"
        assert other.matches("a.txt")
        assert not other.matches("a.py")


def test_all_but_python_sources() -> None:
    assert repr(NON_PYTHON_FILES) == "NON_PYTHON_FILES"
    assert NON_PYTHON_FILES(Path("a/b.pyc"))
    assert not NON_PYTHON_FILES(Path("a/b.py"))


@pytest.mark.parametrize(
    ("matcher", "covers"),
    [
        (FilePatternMatcher("venv"), True),
        (FilePatternMatcher("venv", "!venv/x"), False),
        (FilePatternMatcher("venv/**"), False),
        (~FilePatternMatcher("**/*.py"), False),
    ],
)
def test_only_what_is_sure_is_not_looked_into(matcher: FilePatternMatcher, covers: bool) -> None:
    assert matcher.covers("venv") is covers
