"""Merging trees of volumes: the last who commits wins, file by file, whatever the trees are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, strategies as st

from tests.unit.volumes.memory import MemoryNodes, file
from volantd.core.volumes import trees
from volantd.core.volumes.entries import DIRECTORY, fresh_directory
from volantd.core.volumes.merging import merge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from volantd.core.volumes.entries import Entry

    Files = Mapping[tuple[str, ...], str]

#: Directories and files have different names, so that neither is ever in the other's way.
_DIRECTORIES = st.lists(st.sampled_from("abc"), max_size=3)
_PATHS = st.builds(lambda above, name: (*above, name), _DIRECTORIES, st.sampled_from("xyz"))
_FILES = st.dictionaries(_PATHS, st.sampled_from("123"), max_size=12)
#: Here a name may be a file in one tree and a directory in the other.
_ANY = st.dictionaries(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(tuple), st.sampled_from("12"),
    max_size=6,
)  # fmt: skip


def made(nodes: MemoryNodes, files: Files) -> Entry:
    changes = {parts: file(text) for parts, text in files.items()}
    return trees.changed(nodes, fresh_directory(nodes, 0), changes, 0)


def flat(nodes: MemoryNodes, root: Entry | None) -> dict[tuple[str, ...], Entry]:
    assert root is not None
    return {
        tuple(path.split("/")): entry
        for path, entry in trees.walk(nodes, root)
        if entry.kind != DIRECTORY
    }


@given(base=_FILES, ours=_FILES, theirs=_FILES)
def test_each_file_is_ours_where_we_changed_it_and_theirs_elsewhere(
    base: Files, ours: Files, theirs: Files
) -> None:
    nodes = MemoryNodes()
    merged = merge(nodes, made(nodes, base), made(nodes, ours), made(nodes, theirs))
    expected = {}
    for path in {*base, *ours, *theirs}:
        winner = theirs if ours.get(path) == base.get(path) else ours
        if path in winner:
            expected[path] = file(winner[path])
    assert flat(nodes, merged) == expected


@given(base=_ANY, ours=_ANY, theirs=_ANY)
def test_whoever_changed_nothing_changes_nothing(base: Files, ours: Files, theirs: Files) -> None:
    nodes = MemoryNodes()
    before, own, other = made(nodes, base), made(nodes, ours), made(nodes, theirs)
    assert merge(nodes, before, before, other) == other
    assert merge(nodes, before, own, before) == own
    assert flat(nodes, merge(nodes, before, own, own)) == flat(nodes, own)


@given(base=_ANY, ours=_ANY, theirs=_ANY)
def test_what_was_merged_is_a_tree_in_which_all_that_we_wrote_is(
    base: Files, ours: Files, theirs: Files
) -> None:
    nodes = MemoryNodes()
    before, own, other = made(nodes, base), made(nodes, ours), made(nodes, theirs)
    merged = merge(nodes, before, own, other)
    assert merged is not None
    found, known = flat(nodes, merged), flat(nodes, before)
    for path, entry in flat(nodes, own).items():
        if known.get(path) != entry:
            assert found[path] == entry
    assert merged.size == sum(1 for _ in trees.walk(nodes, merged))


@given(first=_ANY, second=_ANY)
def test_differences_lead_from_one_tree_to_the_other(first: Files, second: Files) -> None:
    nodes = MemoryNodes()
    before, after = made(nodes, first), made(nodes, second)
    files = flat(nodes, before)
    for path, old, new in trees.differences(nodes, before, after):
        parts = tuple(path.split("/")) if path else ()
        if old is not None and old.kind != DIRECTORY:
            del files[parts]
        if new is not None and new.kind != DIRECTORY:
            files[parts] = new
    assert files == flat(nodes, after)
