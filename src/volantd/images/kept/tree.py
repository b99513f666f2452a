"""The files of an image as its containers see them, looked at from outside, layer by layer.

A name is looked for from the highest layer down: a whiteout ends the search, and so does what is
no directory; directories of several layers are one, down to the first that is opaque. Links lead
where they would in the image, never to files of this machine.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What overlays of user namespaces mark a directory with that hides all below it.
OPAQUE_XATTR = "user.overlay.opaque"
#: Links that lead from one to the next, as many as the kernel follows.
_LINKS_MAX = 40
#: What is read of a text of an image.
_TEXT_CHARS_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """A file, link or directory of an image.

    Attributes:
        status: of it; for a directory, of the highest layer that has it.
        places: paths on this machine; several for a directory, the highest layer's first.
    """

    status: os.stat_result
    places: tuple[str, ...]

    @property
    def is_directory(self) -> bool:
        """Whether other nodes lie in it."""
        return stat.S_ISDIR(self.status.st_mode)

    def child(self, name: str) -> Node | None:
        """What has a name in this directory, if anything."""
        first: os.stat_result | None = None
        places: list[str] = []
        for place in self.places if self.is_directory else ():
            path = f"{place}/{name}"
            try:
                status = os.lstat(path)
            except OSError:
                continue  # not there, or no name that could be
            if not stat.S_ISDIR(status.st_mode):
                if places or _is_whiteout(status):
                    break
                return Node(status, (path,))
            first = first or status
            places.append(path)
            if _is_opaque(path):
                break
        return None if first is None else Node(first, tuple(places))

    def children(self) -> Iterator[tuple[str, Node]]:
        """(name, node) of all that lies in this directory, sorted."""
        names = {name for place in self.places for name in os.listdir(place)}
        for name in sorted(names):
            node = self.child(name)
            if node is not None:
                yield name, node


def root(layers: Sequence[str]) -> Node:
    """The root of an image; `layers` are directories, the lowest first."""
    return Node(os.lstat(layers[-1] if layers else "/proc"), tuple(reversed(layers)))


def at(top: Node, path: str) -> Node | None:
    """What lies at a path, links followed inside the image; None when nothing does.

    Args:
        top: the root.
        path: absolute.
    """
    walked = _walk(top, path)
    return None if walked is None else walked[-1][1]


def find(layers: Sequence[str], path: str) -> str | None:
    """Where a path of an image leads, all links followed inside the image; None: nowhere.

    Args:
        layers: directories, the lowest first.
        path: absolute, in the image.

    Returns:
        The path without links; what of it does not exist is as it was given.
    """
    walked = _walk(root(layers), path)
    return None if walked is None else "/".join(name for name, _ in walked) or "/"


def _walk(top: Node, path: str) -> list[tuple[str, Node | None]] | None:
    """The directories on the way to a path, by name, and itself; None for a circle of links.

    The first is the root, which has no name. What does not exist is None, and all below it.
    """
    done: list[tuple[str, Node | None]] = [("", top)]
    rest, links = path.split("/"), 0
    while rest:
        part = rest.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            done = done[:-1] or done
            continue
        above = done[-1][1]
        node = None if above is None else above.child(part)
        if node is None or not stat.S_ISLNK(node.status.st_mode):
            done.append((part, node))
            continue
        links += 1
        if links > _LINKS_MAX:
            return None
        lead = os.readlink(node.places[0])
        if lead.startswith("/"):
            done = done[:1]
        rest = [*lead.split("/"), *rest]
    return done


def read_text(top: Node, path: str) -> str:
    """A text file of an image, as far as is sensible to read; empty when there is none."""
    node = at(top, path)
    if node is None or not stat.S_ISREG(node.status.st_mode):
        return ""
    with open(node.places[0], encoding="utf-8", errors="replace") as file:
        return file.read(_TEXT_CHARS_MAX)


def text_in(layers: Sequence[str], path: str) -> str:
    """`read_text`, of an image whose layers are these directories, the lowest first."""
    return read_text(root(layers), path)


def has_file(layers: Sequence[str], path: str) -> bool:
    """Whether a path of an image leads to a plain file; `layers` as in `text_in`."""
    node = at(root(layers), path)
    return node is not None and stat.S_ISREG(node.status.st_mode)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False
