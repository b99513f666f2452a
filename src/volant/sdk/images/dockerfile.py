"""Dockerfiles as far as a client must know them: instructions, and the local files they copy.

    text ─► instructions ─► what COPY, ADD and bind mounts name ─► those files below context_dir

Only files that an instruction can mean are sent. A name with a variable in it may mean anything,
so then the whole context goes. What the instructions do is the daemon's business.
"""

from __future__ import annotations

import os
import posixpath

from volant.errors import InvalidError, NotFoundError
from volant.sdk.ambient import is_local
from volant.sdk.images import checks
from volant.sdk.images.host import is_below
from volant.sdk.images.local import LocalFile, file_list, local_path, read_text, walk
from volant.sdk.images.patterns import AutoDockerignore, FilePatternMatcher, Ignored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from volant.sdk.images.local import Gathered
    from volant.sdk.images.patterns import Ignore

#: Stands for the whole context among the sources of a copy.
_ALL = "**"
_REMOTE_SOURCES = ("http://", "https://", "git://", "git@")


class Instruction:
    """One instruction of a Dockerfile."""

    __slots__ = ("name", "rest", "texts")

    def __init__(self, name: str, rest: str, texts: list[tuple[str, str]]) -> None:
        #: in capitals
        self.name = name
        #: what follows it, on one line
        self.rest = rest
        #: (the word that announces it, such as `<<"END"`; the text) of each here-document
        self.texts = texts


def instructions(where: str, lines: Iterable[str]) -> Iterator[Instruction]:
    """Each instruction of some lines.

    Raises:
        InvalidError: for what is no instruction, or one that has no meaning here.
    """
    waiting, pending = iter(lines), ""
    for line in waiting:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pending += line.rstrip()
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        word, _, rest = pending.strip().partition(" ")
        name = checks.instruction(where, word, pending.strip())
        pending = ""
        texts = []
        if name in ("RUN", "COPY", "ADD"):
            texts = [(word, _text(where, name, waiting, *ends)) for word, *ends in _heredocs(rest)]
        yield Instruction(name, rest.strip(), texts)
    if pending:
        raise InvalidError(f"{where}: the last line ends with a backslash")


def _heredocs(rest: str) -> list[tuple[str, str, str]]:
    """(whole word, dash or nothing, last line) of each text that follows an instruction."""
    import re

    found = re.finditer(r"(?<!<)<<(-?)(['\"]?)(\w+)\2(?=\s|$)", rest)
    return [(one[0], one[1], one[3]) for one in found]


def _text(where: str, name: str, lines: Iterator[str], dash: str, end: str) -> str:
    """The lines up to the one that ends a here-document."""
    text = ""
    for line in lines:
        shown = line.lstrip("\t") if dash else line
        if shown.rstrip() == end:
            return text
        text += shown + "\n"
    raise InvalidError(f"{where}: no line {end!r} ends the text after {name}")


def sources(where: str, lines: Iterable[str]) -> list[str]:
    """Patterns of the local files that instructions mean; `**` alone for all of the context.

    Raises:
        InvalidError: for what is no instruction, and for a copy from nowhere.
    """
    found: list[str] = []
    for one in instructions(where, lines):
        if one.name in ("COPY", "ADD"):
            found += _copied(where, f"{one.name} {one.rest}", one.rest)
        elif one.name == "RUN":
            found += _mounted(one.rest)
    if any("$" in source for source in found):
        return [_ALL]
    plain = [posixpath.normpath(source.lstrip("/") or ".") for source in found]
    return sorted({_ALL if source == "." else source for source in plain})


def _copied(where: str, line: str, rest: str) -> list[str]:
    import shlex

    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        if flag.startswith("--from="):
            return []
        rest = rest.lstrip()
    try:
        words = _words(rest) if rest.startswith("[") else shlex.split(rest)
    except ValueError as error:
        raise InvalidError(f"{where}: {line!r} cannot be read: {error}") from error
    if len(words) < 2:
        raise InvalidError(
            f"{where}: {line!r} needs a source and a destination", hint="for example COPY a.txt /a"
        )
    return [word for word in words[:-1] if not word.startswith(("<<", *_REMOTE_SOURCES))]


def _words(rest: str) -> list[str]:
    import json

    words: object = json.loads(rest)
    return checks.strings("COPY", words)


def _mounted(rest: str) -> list[str]:
    """What `RUN --mount=type=bind` takes from the context."""
    found = []
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        fields = dict(part.partition("=")[::2] for part in flag.partition("=")[2].split(","))
        is_bound = flag.startswith("--mount=") and fields.get("type", "bind") == "bind"
        if is_bound and "from" not in fields:
            found.append(fields.get("source") or fields.get("src") or ".")
    return found


def workdir_after(lines: Iterable[str], workdir: str | None) -> str | None:
    """The working directory after instructions; None when a variable decides."""
    for one in instructions("dockerfile_commands", lines):
        if one.name == "WORKDIR":
            path = one.rest.strip("'\"")
            if "$" in path or (workdir is None and not path.startswith("/")):
                workdir = None
            else:
                workdir = posixpath.normpath(posixpath.join(workdir or "/", path))
    return workdir


class Context:
    """The files that instructions copy, read when an app runs.

    Args:
        where: the method, for people.
        lines: the instructions; None when they are in the Dockerfile.
        dockerfile: a local Dockerfile, None when the instructions were given.
        directory: the local directory that sources of copies are below.
        ignore: as the methods take it.
        files: path in the context -> local path, of files from elsewhere.

    Raises:
        InvalidError: for what is no instruction, and for an `ignore` that is none.
        NotFoundError: for a file that is copied and not there.
    """

    __slots__ = ("directory", "dockerfile", "files", "ignored", "lines", "where")

    def __init__(
        self,
        where: str,
        *,
        lines: list[str] | None,
        dockerfile: str | None,
        directory: object,
        ignore: Ignore | AutoDockerignore,
        files: Mapping[str, object],
    ) -> None:
        self.where = where
        self.lines = lines
        self.dockerfile = dockerfile
        self.directory = local_path(
            f"{where}: context_dir", "." if directory is None else directory, is_directory=True
        )
        self.files = {
            posixpath.normpath(checks.text(f"{where}: context_files", name)).lstrip("/"):
            local_path(f"{where}: context_files", path)
            for name, path in files.items()
        }  # fmt: skip
        self.ignored = None if isinstance(ignore, AutoDockerignore) else Ignored(ignore)
        if is_local():
            self._check()

    def _check(self) -> None:
        """Refuse early what a build would stumble over."""
        lines = self._lines()
        if self.dockerfile is not None:
            first = [one.name for one in instructions(self.where, lines) if one.name != "ARG"][:1]
            if first != ["FROM"]:
                raise InvalidError(f"{self.where}: {self.dockerfile} does not begin with FROM")
        self._ignored()
        for source in sources(self.where, lines):
            is_plain = not any(char in source for char in "*?[\\")
            path = os.path.join(self.directory, source)
            if is_plain and not os.path.exists(path) and not self._has(source):
                raise NotFoundError(
                    f"{self.where}: {source!r} is copied, and there is no {path}",
                    hint="sources of COPY are below context_dir, by default the working directory",
                )

    def _has(self, source: str) -> bool:
        return any(name == source or name.startswith(f"{source}/") for name in self.files)

    def _lines(self) -> list[str]:
        if self.lines is not None:
            return self.lines
        assert self.dockerfile is not None
        return read_text(self.dockerfile).splitlines()

    def _ignored(self) -> Ignored:
        """What was given, or the `.dockerignore` that goes with the Dockerfile or the context."""
        if self.ignored is not None:
            return self.ignored
        beside = [os.path.join(self.directory, ".dockerignore")]
        if self.dockerfile is not None:
            beside.insert(0, f"{self.dockerfile}.dockerignore")
        for path in beside:
            if os.path.isfile(path):
                return Ignored(FilePatternMatcher.from_file(path))
        return Ignored([])

    def read(self, gathered: Gathered) -> list[list[object]]:
        """The files, for the wire."""
        patterns = sources(self.where, self._lines())
        found = [LocalFile(path, name) for name, path in self.files.items()]
        if any(not self._has(pattern) for pattern in patterns):
            found += [
                LocalFile(path, below)
                for below, path in walk(self.directory, _Selected(patterns, self._ignored()))
                if below not in self.files
            ]
        return file_list(found, gathered)


class _Selected:
    """What is left out of a context: what no source means, and what is ignored."""

    __slots__ = ("_ignored", "_roots", "_wanted")

    def __init__(self, patterns: list[str], ignored: Ignored) -> None:
        self._ignored = ignored
        self._wanted = FilePatternMatcher(*patterns)
        self._roots = [_fixed_part(pattern) for pattern in patterns]

    def leaves_out(self, path: str) -> bool:
        return not self._wanted.matches(path) or self._ignored.leaves_out(path)

    def leaves_out_all(self, directory: str) -> bool:
        on_the_way = any(
            not root or is_below(root, directory) or is_below(directory, root)
            for root in self._roots
        )
        return not on_the_way or self._ignored.leaves_out_all(directory)


def _fixed_part(pattern: str) -> str:
    """The directories that a pattern begins with, before the first part that is no plain name."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if any(char in part for char in "*?[\\"):
            break
        parts.append(part)
    return "/".join(parts)


class DockerfileLines:
    """The lines of a Dockerfile, read when an app runs."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, gathered: Gathered) -> list[str]:
        """The lines, for the wire."""
        return read_text(self.path).splitlines()
