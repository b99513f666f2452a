"""What becomes of a volume when somebody commits who began with an earlier state of it.

    base    what they began with, or committed last
    ours    what they have now            ──► what ours changed since base, on top of theirs
    theirs  what others committed meanwhile

The last who commits wins, file by file: a file that they wrote, replaced or removed is as they
have it, whatever others did with it; all else is as the others left it. A file that somebody added
to a directory stays when another one removes that directory, and so does the directory then.
Attributes of directories are merged in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.volumes.entries import DIRECTORY, directory, node_of

if TYPE_CHECKING:
    from volantd.core.volumes.entries import Entry, Node, Nodes


def merge(
    nodes: Nodes, base: Entry | None, ours: Entry | None, theirs: Entry | None
) -> Entry | None:
    """What a name stands for after a commit; None for nothing."""
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    if ours is not None and ours.kind != DIRECTORY:
        return ours
    if not _is_directory(theirs) and not _is_directory(ours):
        return ours  # removed, whatever others have made of it
    node = _merge_nodes(nodes, node_of(nodes, base), node_of(nodes, ours), node_of(nodes, theirs))
    if ours is None:
        assert theirs is not None
        return directory(nodes, node, theirs) if node else None
    if not _is_directory(theirs):
        is_ours = not _is_directory(base) or _attributes(base) != _attributes(ours)
        return directory(nodes, node, ours) if node or is_ours else theirs
    assert theirs is not None
    changed = not _is_directory(base) or _attributes(base) != _attributes(ours)
    kept = ours if changed else theirs
    return directory(nodes, node, kept._replace(mtime_ns=max(ours.mtime_ns, theirs.mtime_ns)))


def _merge_nodes(nodes: Nodes, base: Node, ours: Node, theirs: Node) -> Node:
    merged = dict(theirs)
    for name in base.keys() | ours.keys():
        before, own = base.get(name), ours.get(name)
        if before == own:
            continue
        entry = merge(nodes, before, own, theirs.get(name))
        if entry is None:
            merged.pop(name, None)
        else:
            merged[name] = entry
    return merged


def _is_directory(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == DIRECTORY


def _attributes(entry: Entry | None) -> tuple[object, ...]:
    """What a directory is apart from its entries, and from when these were changed."""
    assert entry is not None
    return entry.mode, entry.uid, entry.gid, entry.xattrs
