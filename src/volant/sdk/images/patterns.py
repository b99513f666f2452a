"""Patterns that select files, in the syntax of `.dockerignore`, and what `ignore=` may be.

A pattern names a file, or a directory and with it everything below. `*` and `?` stay within one
part of a path, `**` spans parts. `!` takes back what patterns before it have matched: the last
pattern that matches decides. Paths are relative and have slashes.

Source: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import os
import posixpath

from volant.errors import InvalidError, NotFoundError
from volant.sdk.ambient import is_local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from re import Pattern
    from typing import TypeAlias, Union

    #: What `ignore=` may be.
    Ignore: TypeAlias = Union[Sequence[str], Callable[[Path], bool]]


class FilePatternMatcher:
    """True for paths that patterns in the syntax of `.dockerignore` match.

    What `ignore=` of the `add_local_*` steps takes; `~matcher` is true for all other paths.

    Args:
        pattern: patterns in order; `!` before one takes back what those before it have matched.

    Raises:
        InvalidError: for a pattern that is none.

    Example:
        >>> from pathlib import Path
        >>> matcher = FilePatternMatcher("**/*.py", "!tests")
        >>> matcher(Path("src/tool.py")), matcher(Path("tests/test_tool.py"))
        (True, False)
        >>> (~matcher)(Path("notes.md"))
        True
    """

    __slots__ = ("_compiled", "_file", "_is_inverted", "_patterns", "_shown")

    def __init__(self, *pattern: str) -> None:
        for word in pattern:
            if not isinstance(word, str):
                raise InvalidError(
                    f"a pattern must be a string, got {word!r}",
                    hint='give each as an argument of its own: FilePatternMatcher("*.py", "!a.py")',
                )
        self._patterns = tuple(cleaned for word in pattern for cleaned in _cleaned(word))
        self._file: str | None = None
        self._is_inverted = False
        self._shown: str | None = None
        self._compiled: list[tuple[bool, Pattern[str]]] | None = None

    @property
    def patterns(self) -> tuple[str, ...]:
        """Its patterns, in order; those of a file are read for it.

        Raises:
            NotFoundError: when there is no such file.

        Example:
            >>> FilePatternMatcher("docs/", "!docs/a").patterns
            ('docs', '!docs/a')
        """
        return self._patterns if self._file is None else tuple(_patterns_of_file(self._file))

    def can_prune_directories(self) -> bool:
        """Whether a directory that it matches need not be looked through.

        True unless something below might be taken back, by `!` or by `~matcher`.

        Example:
            >>> FilePatternMatcher("docs", "!docs/a").can_prune_directories()
            False
        """
        return not self._is_inverted and not any(is_taken for is_taken, _ in self.compiled())

    @classmethod
    def from_file(cls, file_path: str | Path) -> FilePatternMatcher:
        """Patterns of a file, one a line; `#` begins a comment. Read when they are first needed.

        Args:
            file_path: relative to the working directory of the caller.

        Raises:
            InvalidError: for a pattern that is none, when the file is read.
            NotFoundError: when there is no such file, likewise.

        Example:
            >>> FilePatternMatcher.from_file("deploy.ignore")
            FilePatternMatcher.from_file('deploy.ignore')
        """
        matcher = cls()
        matcher._file = os.path.abspath(os.path.expanduser(file_path))
        return matcher.with_repr(f"FilePatternMatcher.from_file({os.fspath(file_path)!r})")

    def with_repr(self, custom_repr: str) -> FilePatternMatcher:
        """The same matcher, shown as `custom_repr`.

        Example:
            >>> FilePatternMatcher("**/*.png").with_repr("PICTURES")
            PICTURES
        """
        matcher = self._copy()
        matcher._shown = custom_repr
        return matcher

    def __invert__(self) -> FilePatternMatcher:
        matcher = self._copy()
        matcher._is_inverted = not self._is_inverted
        if self._shown is not None:
            is_inverted = self._shown.startswith("~")
            matcher._shown = self._shown[1:] if is_inverted else f"~{self._shown}"
        return matcher

    def __call__(self, file_path: Path) -> bool:
        """True if the patterns match `file_path`, which is relative."""
        return self.matches(os.fspath(file_path))

    def __repr__(self) -> str:
        if self._shown is not None:
            return self._shown
        shown = f"FilePatternMatcher({', '.join(map(repr, self._patterns))})"
        return f"~{shown}" if self._is_inverted else shown

    def matches(self, path: str) -> bool:
        """True if the patterns match a relative path with slashes, or a directory above it."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        matched = False
        for is_exception, expression in self.compiled():
            if is_exception is matched and any(map(expression.match, above)):
                matched = not is_exception
        return matched is not self._is_inverted

    def covers(self, directory: str) -> bool:
        """True if it is sure that every path below a directory matches."""
        return self.can_prune_directories() and self.matches(directory)

    def compiled(self) -> list[tuple[bool, Pattern[str]]]:
        """Whether each pattern is an exception, and its expression; made once.

        Raises:
            InvalidError: for a pattern that is none.
            NotFoundError: when they come from a file that is not there.
        """
        if self._compiled is None:
            self._compiled = [
                (pattern.startswith("!"), _expression(pattern)) for pattern in self.patterns
            ]
        return self._compiled

    def _copy(self) -> FilePatternMatcher:
        matcher = type(self)()
        for name in self.__slots__:
            setattr(matcher, name, getattr(self, name))
        return matcher

    def __reduce__(self) -> tuple[object, ...]:
        state = self._patterns, self._file, self._is_inverted, self._shown
        return _rebuilt, state


def _rebuilt(
    patterns: tuple[str, ...], file: str | None, is_inverted: bool, shown: str | None
) -> FilePatternMatcher:
    matcher = FilePatternMatcher(*patterns)
    matcher._file, matcher._is_inverted, matcher._shown = file, is_inverted, shown
    return matcher


def _cleaned(pattern: str) -> list[str]:
    """A pattern in its plainest form; none for one that is empty."""
    pattern = pattern.strip()
    is_exception = pattern.startswith("!")
    if is_exception:
        pattern = pattern[1:].strip()
        if not pattern:
            raise InvalidError("pattern '!' names nothing", hint="write a path behind the `!`")
    if not pattern:
        return []
    path = posixpath.normpath(pattern).lstrip("/") or "**"
    return ["!" + path if is_exception else path]


def _patterns_of_file(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise NotFoundError(f"cannot read patterns of {path}: {error.strerror}") from error
    return [found for line in lines if not line.startswith("#") for found in _cleaned(line)]


def _expression(pattern: str) -> Pattern[str]:
    """The regular expression that a cleaned pattern means."""
    import re

    path = pattern.removeprefix("!")
    out, at = "", 0
    while at < len(path):
        char = path[at]
        if path.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif path.startswith("**", at):
            out, at = out + ".*", at + 2
        elif char == "[":
            end = path.find("]", at + 2)
            if end < 0:
                raise InvalidError(f"pattern {path!r} has a `[` without its `]`")
            inner = path[at + 1 : end].replace("[", "\\[")
            out, at = f"{out}[{inner}]", end + 1
        elif char == "\\" and at + 1 < len(path):
            out, at = out + re.escape(path[at + 1]), at + 2
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char)
            at += 1
    try:
        return re.compile(rf"{out}\Z", re.DOTALL)
    except re.error as error:
        raise InvalidError(f"pattern {path!r} cannot be understood: {error}") from error


class AutoDockerignore:
    """The default of `ignore=` where a Dockerfile is: the `.dockerignore` beside it, if any."""

    __slots__ = ()

    def __call__(self, path: Path) -> bool:
        """Never asked: whoever takes it looks for the file first."""
        raise AssertionError(f"asked for {path}")

    def __repr__(self) -> str:
        return "AUTO_DOCKERIGNORE"


AUTO_DOCKERIGNORE = AutoDockerignore()
#: All files but Python sources.
NON_PYTHON_FILES = (~FilePatternMatcher("**/*.py")).with_repr("NON_PYTHON_FILES")


class Ignored:
    """What `ignore=` says of the paths below one directory."""

    __slots__ = ("_matcher", "_predicate")

    def __init__(self, ignore: Ignore) -> None:
        """Take any form of `ignore=`.

        Raises:
            InvalidError: for anything else, and for patterns that are none.
            NotFoundError: for patterns of a file that is not there.
        """
        self._matcher: FilePatternMatcher | None = None
        self._predicate: Callable[[Path], bool] | None = None
        if isinstance(ignore, FilePatternMatcher):
            self._matcher = ignore
        elif callable(ignore):
            self._predicate = ignore
        elif isinstance(ignore, (list, tuple)):
            self._matcher = FilePatternMatcher(*ignore)
        else:
            raise InvalidError(
                f"ignore must be a list of patterns or a callable, got {ignore!r}",
                hint='for example ignore=["**/*.pyc"] or ignore=lambda path: path.suffix == ".pyc"',
            )
        if self._matcher is not None and is_local():
            self._matcher.compiled()

    def leaves_out(self, path: str) -> bool:
        """True for a file that is not to be sent; `path` is relative and has slashes."""
        if self._matcher is not None:
            return self._matcher.matches(path)
        import pathlib

        assert self._predicate is not None
        return bool(self._predicate(pathlib.Path(path)))

    def leaves_out_all(self, directory: str) -> bool:
        """True if there is no need to look into a directory."""
        return self._matcher is not None and self._matcher.covers(directory)
