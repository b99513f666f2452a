"""Trees of a volume: looked into, walked, and changed at one or many paths."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from volantd.core.volumes.entries import (
    DIRECTORY,
    FILE,
    LINK,
    NAMES_MAX,
    Entry,
    directory,
    fresh_directory,
    from_fields,
    node_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from volantd.core.volumes.entries import Nodes

    Parts = Sequence[str]
    Change = Entry | None
    _Changes = dict[str, "Change | _Changes"]


#: Links that are followed on one path.
LINKS_MAX = 40


class NoSuchPathError(Exception):
    """There is nothing at a path."""


class WrongKindError(Exception):
    """There is something of another kind at a path."""


def encode_root(root: Entry) -> str:
    """The entry of a whole tree as text."""
    return json.dumps(root, separators=(",", ":"))


def decode_root(text: str) -> Entry:
    """The entry of a whole tree that was encoded."""
    return from_fields(json.loads(text))


def find(nodes: Nodes, root: Entry, parts: Parts) -> Entry | None:
    """The entry at a path, None for nothing. Links are not followed."""
    found: Entry | None = root
    for part in parts:
        found = node_of(nodes, found).get(part)
        if found is None:
            return None
    return found


def followed(nodes: Nodes, root: Entry, parts: Parts) -> tuple[Parts, Entry | None]:
    """The entry at a path, behind all links on the way: its own path, None for nothing.

    A link that leads out of the volume leads to nothing, as does one that is absolute: where the
    volume is mounted, only containers know.
    """
    waiting, done = list(reversed(parts)), [(root, "")]
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            if len(done) == 1:
                return parts, None
            done.pop()
            continue
        found = node_of(nodes, done[-1][0]).get(part)
        if found is not None and found.kind == LINK:
            links += 1
            if links > LINKS_MAX or found.content.startswith("/"):
                return parts, None
            steps = [step for step in found.content.split("/") if step not in ("", ".")]
            waiting += reversed(steps)
            continue
        if found is None:
            return parts, None
        done.append((found, part))
    return tuple(part for _, part in done[1:]), done[-1][0]


def walk(
    nodes: Nodes, top: Entry, *, recursive: bool = True, skip: int = 0
) -> Iterator[tuple[str, Entry]]:
    """What lies below a directory, by name, each directory followed by what is in it.

    Args:
        skip: so many of the first are left out, at no cost.
    """
    yield from _walk(nodes, top, "", recursive, [skip])


def _walk(
    nodes: Nodes, top: Entry, above: str, recursive: bool, skip: list[int]
) -> Iterator[tuple[str, Entry]]:
    node = node_of(nodes, top)
    for name in sorted(node):
        entry = node[name]
        goes_down = recursive and entry.kind == DIRECTORY
        count = 1 + (entry.size if goes_down else 0)
        if skip[0] >= count:
            skip[0] -= count
            continue
        if skip[0]:
            skip[0] -= 1
        else:
            yield above + name, entry
        if goes_down:
            yield from _walk(nodes, entry, f"{above}{name}/", recursive, skip)


def reached(nodes: Nodes, root: Entry, seen: set[str]) -> None:
    """Add the hashes of all nodes and contents of a tree to those that were seen."""
    waiting = [root]
    while waiting:
        entry = waiting.pop()
        if entry.content in seen:
            continue
        if entry.kind == DIRECTORY:
            seen.add(entry.content)
            waiting += nodes.load(entry.content).values()
        elif entry.kind == FILE and entry.content:
            seen.add(entry.content)


def differences(
    nodes: Nodes, before: Entry | None, after: Entry | None, path: str = ""
) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """Where two trees differ, directories ahead of what is in them: path, before, after.

    What lies below a name that is of another kind before or after is told as well.
    """
    if before == after:
        return
    yield path, before, after
    old, new = node_of(nodes, before), node_of(nodes, after)
    above = f"{path}/" if path else ""
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield from differences(nodes, old.get(name), new.get(name), above + name)


def changed(
    nodes: Nodes, root: Entry, changes: Mapping[tuple[str, ...], Change], now_ns: int
) -> Entry:
    """A tree with entries put at paths, or removed where they are None.

    Directories above an entry that is put are made; a file or link that is in their way gives
    way. What is put takes the place of what was there.

    Raises:
        ValueError: when there would be too many names in a directory.
    """
    nested: _Changes = {}
    for parts, change in changes.items():
        if not parts:
            assert change is not None
            root = change
            continue
        level = nested
        for part in parts[:-1]:
            below = level.get(part)
            if not isinstance(below, dict):
                below = level[part] = {}
            level = below
        level[parts[-1]] = change
    return _applied(nodes, root, nested, now_ns) if nested else root


def _applied(nodes: Nodes, entry: Entry | None, changes: _Changes, now_ns: int) -> Entry:
    node = dict(node_of(nodes, entry))
    before = node.copy()
    for name, change in changes.items():
        if isinstance(change, dict):
            below = node.get(name)
            if _only_removes(change) and (below is None or below.kind != DIRECTORY):
                continue
            node[name] = _applied(nodes, below, change, now_ns)
        elif change is None:
            node.pop(name, None)
        else:
            node[name] = change
    if len(node) > NAMES_MAX:
        raise ValueError(f"{len(node)} names in one directory, at most {NAMES_MAX}")
    if entry is None or entry.kind != DIRECTORY:
        entry = fresh_directory(nodes, now_ns)
    if node == before:
        return entry
    return directory(nodes, node, entry._replace(mtime_ns=now_ns))


def _only_removes(changes: _Changes) -> bool:
    return all(
        _only_removes(one) if isinstance(one, dict) else one is None for one in changes.values()
    )


def made_directories(nodes: Nodes, root: Entry, parts: Parts, now_ns: int) -> Entry:
    """A tree with a directory at a path, made with those above it if it is not there.

    Raises:
        WrongKindError: when a file or a link is in the way.
    """
    for count in range(1, len(parts) + 1):
        found = find(nodes, root, parts[:count])
        if found is None:
            fresh = fresh_directory(nodes, now_ns)
            return changed(nodes, root, {tuple(parts): fresh}, now_ns)
        if found.kind != DIRECTORY:
            raise WrongKindError("/".join(parts[:count]))
    return root


def depth(nodes: Nodes, entry: Entry) -> int:
    """How many directories lie above one another in an entry; 0 for what is none."""
    count, level = 0, {entry.content} if entry.kind == DIRECTORY else set()
    while level:
        count += 1
        inner = (one for digest in level for one in nodes.load(digest).values())
        level = {one.content for one in inner if one.kind == DIRECTORY}
    return count


def is_within(parts: Parts, other: Parts) -> bool:
    """Whether a path is another one, or leads below it."""
    return tuple(parts[: len(other)]) == tuple(other)
