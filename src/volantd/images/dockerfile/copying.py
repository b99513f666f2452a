"""What COPY and ADD put into a layer, from the local context, a text, or another image.

sources ─► matched in the context, or in another image's tree ─► [(target, source)] ─► layer
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.images.kept import tree
from volantd.images.steps.plain import COPY_TIME_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from volantd.images.workbench import Blob

_DIR_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose files become: numbers as containers see them; None as they were (root, locally)."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


def pattern_of(source: str) -> re.Pattern[str] | None:
    """What a source with wildcards matches, None when it has none.

    `*` and `?` match within a name, `[...]` one of some characters.

    Raises:
        ValueError: for a bracket without an end.
    """
    if not re.search(r"[*?\[]", source):
        return None
    parts = re.findall(r"\[\^?[^\]]+\]|\*|\?|\\.|[^*?\[\\]+|\[|\\", source)
    if "[" in parts:
        raise ValueError(f"{source!r} has a bracket without an end")
    replaced = {"*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(
            replaced.get(part) or (part if part.startswith("[") else re.escape(part.lstrip("\\")))
            for part in parts
        )
    )


def matched(source: str, paths: Iterable[str]) -> list[str]:
    """Paths of files and directories that a source means, among the files of a context.

    Args:
        source: relative, normalised; `.` is everything.
        paths: of all files, relative.
    """
    if source == ".":
        return ["."]
    pattern = pattern_of(source)
    depth = source.count("/") + 1
    found: dict[str, None] = {}
    for path in paths:
        head = "/".join(path.split("/")[:depth])
        if head == source or (pattern is not None and pattern.fullmatch(head)):
            found[head] = None
    return list(found)


def from_context(
    sources: Sequence[str], target: str, paths: Sequence[str], *, is_directory: bool
) -> list[tuple[str, str]]:
    """(path in the image, path in the context) of each file that is copied.

    Args:
        target: absolute.
        is_directory: whether `target` is one, in the image or by how it is written.

    Raises:
        ValueError: for a source that means nothing.
    """
    found: list[tuple[str, str]] = []
    known = set(paths)
    for source in sources:
        roots = matched(source, paths)
        if not roots:
            raise ValueError(f"{source!r} is not in the context, or is ignored")
        for head in roots:
            if head in known:
                into = is_directory or len(roots) > 1 or len(sources) > 1
                name = posixpath.join(target, posixpath.basename(head)) if into else target
                found.append((name, head))
                continue
            prefix = "" if head == "." else head + "/"
            found += [
                (posixpath.join(target, path[len(prefix) :]), path)
                for path in paths
                if path.startswith(prefix)
            ]
    return found


class Layer:
    """A layer that files are put into, on top of an image.

    Args:
        diff: its directory.
        below: the directories of the image, the lowest first.
    """

    def __init__(self, diff: str, below: Sequence[str], owner: Owner) -> None:
        self._diff = diff
        self._below = below
        self._owner = owner

    def write(self, path: str, content: Blob, mode: int) -> None:
        """Put a file there.

        Raises:
            ValueError: when the path leads nowhere.
        """
        target = self._place(path)
        with open(target, "wb") as file:
            file.write(content)
        self._settle(target, mode)

    def copy(self, node: tree.Node, path: str) -> None:
        """Put a file, link or directory of another image there, with all that is in it.

        Raises:
            ValueError: when the path leads nowhere.
        """
        if node.is_directory:
            place = self._directory(path)
            self._settle(place, stat.S_IMODE(node.status.st_mode), node.status)
            for name, child in node.children():
                self.copy(child, posixpath.join(path, name))
            return
        target, source = self._place(path), node.places[0]
        if stat.S_ISLNK(node.status.st_mode):
            os.symlink(os.readlink(source), target)
        elif stat.S_ISREG(node.status.st_mode):
            if self._owner == Owner():
                os.link(source, target)  # the bytes of a layer never change
                return
            shutil.copyfile(source, target)
        else:
            return  # devices and sockets of an image mean nothing here
        self._settle(target, stat.S_IMODE(node.status.st_mode), node.status)

    def _place(self, path: str) -> str:
        place = posixpath.join(self._directory(posixpath.dirname(path)), posixpath.basename(path))
        if os.path.lexists(place):
            os.unlink(place)
        return place

    def _directory(self, path: str) -> str:
        found = tree.find([*self._below, self._diff], path)
        if found is None:
            raise ValueError(f"{path} is a circle of links")
        os.makedirs(self._diff + found, _DIR_MODE, exist_ok=True)
        return self._diff + found

    def _settle(self, place: str, mode: int, status: os.stat_result | None = None) -> None:
        owner, is_link = self._owner, os.path.islink(place)
        uid = owner.uid if owner.uid is not None else status.st_uid if status else 0
        gid = owner.gid if owner.gid is not None else status.st_gid if status else 0
        if os.geteuid() == 0:  # a normal user has nobody to give files to
            os.chown(place, uid, gid, follow_symlinks=False)
        if not is_link:
            os.chmod(place, mode if owner.mode is None else owner.mode)
            times = (status.st_mtime_ns,) * 2 if status else (COPY_TIME_S * 10**9,) * 2
            os.utime(place, ns=times)


def owner_of(flags: Mapping[str, list[str]], top: tree.Node) -> Owner:
    """What `--chown` and `--chmod` ask for, names looked up in the image.

    Raises:
        ValueError: for a name that the image does not know, or a mode that is none.
    """
    uid = gid = mode = None
    if "chown" in flags:
        user, _, group = flags["chown"][-1].partition(":")
        uid, own = _number(user, tree.read_text(top, "/etc/passwd"), "user")
        gid = own if not group else _number(group, tree.read_text(top, "/etc/group"), "group")[0]
    if "chmod" in flags:
        text = flags["chmod"][-1]
        if not re.fullmatch(r"0?[0-7]{3,4}", text):
            raise ValueError(f"--chmod={text}: a mode is an octal number")
        mode = int(text, 8)
    return Owner(uid, gid, mode)


def _number(name: str, table: str, what: str) -> tuple[int, int]:
    """The number of a user or group, and (of a user) that of its group."""
    if re.fullmatch(r"\d{1,9}", name):
        return int(name), int(name)
    for fields in _rows(table):
        if fields[0] == name:
            return int(fields[2]), int(fields[3]) if what == "user" else 0
    raise ValueError(f"the image has no {what} {name!r}")


def _rows(table: str) -> Iterator[list[str]]:
    for line in table.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdecimal():
            yield fields if fields[3].isdecimal() else [*fields[:3], "0"]
