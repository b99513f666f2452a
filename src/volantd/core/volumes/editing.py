"""What clients do to a volume: put, remove, copy. Each gives a tree for a tree, or says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.volumes.entries import DEPTH_MAX, DIRECTORY, Entry, node_of
from volantd.core.volumes.trees import (
    NoSuchPathError,
    WrongKindError,
    changed,
    depth,
    find,
    is_within,
    made_directories,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from volantd.core.volumes.entries import Nodes
    from volantd.core.volumes.trees import Parts


class TakenError(Exception):
    """There is something at a path already."""


def put(
    nodes: Nodes, root: Entry, entries: Mapping[tuple[str, ...], Entry | None], now_ns: int,
    *, force: bool,
) -> Entry:  # fmt: skip
    """A tree with files and links at paths, and directories where an entry is None.

    A file that is there already with the same content and mode stays as it is, and keeps its time.

    Raises:
        TakenError: when something is at one of the paths, unless `force`.
        WrongKindError: when a directory would have to give way to a file, or a file to a
            directory.
    """
    changes: dict[tuple[str, ...], Entry | None] = {}
    for parts, entry in entries.items():
        if entry is None:
            root = made_directories(nodes, root, parts, now_ns)
            continue
        before = find(nodes, root, parts)
        if before is not None:
            if not force:
                raise TakenError("/".join(parts))
            if before.kind == DIRECTORY:
                raise WrongKindError("/".join(parts))
            if before[:2] == entry[:2] and before.content == entry.content:
                continue
        _refuse_below_file(nodes, root, parts)
        changes[parts] = entry
    return changed(nodes, root, changes, now_ns)


def _refuse_below_file(nodes: Nodes, root: Entry, parts: Parts) -> None:
    found = root
    for count, part in enumerate(parts[:-1], 1):
        below = node_of(nodes, found).get(part)
        if below is None:
            return
        if below.kind != DIRECTORY:
            raise WrongKindError("/".join(parts[:count]))
        found = below


def remove(nodes: Nodes, root: Entry, parts: Parts, now_ns: int, *, recursive: bool) -> Entry:
    """A tree without what is at a path; the volume itself is emptied.

    Raises:
        NoSuchPathError: when nothing is there.
        WrongKindError: for a directory, unless `recursive`.
    """
    found = find(nodes, root, parts)
    if found is None:
        raise NoSuchPathError("/".join(parts))
    if found.kind == DIRECTORY and not recursive:
        raise WrongKindError("/".join(parts))
    if not parts:
        return changed(nodes, root, {(name,): None for name in node_of(nodes, root)}, now_ns)
    return changed(nodes, root, {tuple(parts): None}, now_ns)


def copy(
    nodes: Nodes, root: Entry, sources: Sequence[Parts], target: Parts, now_ns: int,
    *, recursive: bool,
) -> Entry:  # fmt: skip
    """A tree with copies: of one source to a path, or of any into a directory.

    Raises:
        NoSuchPathError: for a source that is not there, or a directory for several that is not.
        WrongKindError: for a directory, unless `recursive`; or one copied into itself.
        ValueError: when too many directories would lie above one another.
    """
    there = find(nodes, root, target)
    is_directory = there is not None and there.kind == DIRECTORY
    if len(sources) != 1 and not is_directory:
        raise NoSuchPathError("/".join(target))
    changes: dict[tuple[str, ...], Entry | None] = {}
    for parts in sources:
        found = find(nodes, root, parts)
        if found is None or not parts:
            raise NoSuchPathError("/".join(parts))
        to = (*target, parts[-1]) if is_directory else tuple(target)
        if found.kind == DIRECTORY and (not recursive or is_within(to, parts)):
            raise WrongKindError("/".join(parts))
        if len(to) + depth(nodes, found) > DEPTH_MAX:
            raise ValueError(f"more than {DEPTH_MAX} directories above one another")
        before = find(nodes, root, to)
        if before is not None and (before.kind == DIRECTORY) != (found.kind == DIRECTORY):
            raise WrongKindError("/".join(to))
        _refuse_below_file(nodes, root, to)
        changes[to] = found._replace(group="", mtime_ns=now_ns)
    return changed(nodes, root, changes, now_ns)
