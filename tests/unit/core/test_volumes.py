"""Trees of volumes: looked into, walked, changed by clients, and merged."""

from __future__ import annotations

import pytest

from tests.unit.volumes.memory import MemoryNodes, file
from volantd.core.volumes import editing, trees
from volantd.core.volumes.entries import (
    DIRECTORY,
    LINK,
    Entry,
    checked,
    decode,
    fresh_directory,
    parts_of,
)
from volantd.core.volumes.merging import merge


@pytest.fixture
def nodes() -> MemoryNodes:
    return MemoryNodes()


def tree(nodes: MemoryNodes, *paths: str, text: str = "x") -> Entry:
    changes = {parts_of(path): file(text) for path in paths}
    return trees.changed(nodes, fresh_directory(nodes, 0), changes, 1)


def paths(nodes: MemoryNodes, root: Entry | None) -> list[str]:
    assert root is not None
    return [path for path, entry in trees.walk(nodes, root) if entry.kind != DIRECTORY]


def test_a_tree_does_not_depend_on_the_order_in_which_it_was_made(nodes: MemoryNodes) -> None:
    assert tree(nodes, "a/b", "a/c", "d").content == tree(nodes, "d", "a/c", "a/b").content


def test_a_directory_knows_how_many_entries_lie_below_it(nodes: MemoryNodes) -> None:
    assert tree(nodes, "a/b/c", "a/d", "e").size == 5


def test_a_root_survives_being_text(nodes: MemoryNodes) -> None:
    root = tree(nodes, "a")._replace(xattrs=(("user.x", "\xff"),))
    assert trees.decode_root(trees.encode_root(root)) == root


def test_a_name_that_is_no_utf8_survives(nodes: MemoryNodes) -> None:
    root = tree(nodes, "d/\udcff\udcfe")
    assert paths(nodes, root) == ["d/\udcff\udcfe"]


@pytest.mark.parametrize("skip", range(8))
def test_a_walk_can_begin_anywhere(nodes: MemoryNodes, skip: int) -> None:
    root = tree(nodes, "a/b/c", "a/d", "e/f", "g")
    whole = [path for path, _ in trees.walk(nodes, root)]
    assert whole == ["a", "a/b", "a/b/c", "a/d", "e", "e/f", "g"]
    assert [path for path, _ in trees.walk(nodes, root, skip=skip)] == whole[skip:]


def test_links_are_followed_within_the_volume_only(nodes: MemoryNodes) -> None:
    def link(target: str) -> Entry:
        return Entry(LINK, 0o777, 0, 0, 0, 0, target)

    root = trees.changed(nodes, tree(nodes, "a/f"), {
        ("l",): link("a"), ("a", "up"): link("../a/f"), ("loop",): link("loop"),
        ("out",): link("../../etc"), ("abs",): link("/a"),
    }, 1)  # fmt: skip
    assert trees.followed(nodes, root, ("l", "up")) == (("a", "f"), file("x"))
    for path in ("loop", "out", "abs", "l/missing"):
        assert trees.followed(nodes, root, parts_of(path))[1] is None


def test_differences_tell_what_was_removed_with_a_directory(nodes: MemoryNodes) -> None:
    before, after = tree(nodes, "a/b", "c"), tree(nodes, "c")
    found = {path: (old is not None, new is not None)
             for path, old, new in trees.differences(nodes, before, after)}  # fmt: skip
    assert found == {"": (True, True), "a": (True, False), "a/b": (True, False)}


@pytest.mark.parametrize("path", ["..", "a/../b", "a\0b", "n" * 256, "a/" * 201 + "b"])
def test_a_path_that_cannot_be_one_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parts_of(path)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        ["f", 0o10000, 0, 0, 0, 0, "", [], ""],
        ["f", 0, 0, 0, 0, 1, "", [], ""],
        ["f", 0, 0, 0, 0, 1, "z" * 64, [], ""],
        ["f", 0, 0, 0, 0, 0, "a" * 64, [], ""],
        ["f", 0, 0, 0, 1 << 63, 0, "", [], ""],
        ["f", 0, 0, 0, 0, True, "a" * 64, [], ""],
        ["f", 0, 0, 0, 0, 0, "", [["user.a", ""]], ""],
        ["f", 0, 0, 0, 0, 0, "", [], "group"],
        ["d", 0, 0, 0, 0, 0, "a" * 64, [], ""],
        ["l", 0, 0, 0, 0, 0, "", [], ""],
    ],
)
def test_a_stranger_describes_no_entry_that_cannot_be(fields: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked(fields)


@pytest.mark.parametrize("data", [b"", b"[1]", b'[["a"]]', b"{", b'[["a",1,2,3,4,5,6,7,8,9]]'])
def test_what_is_no_node_is_no_directory(data: bytes) -> None:
    with pytest.raises(ValueError, match="no directory"):
        decode(data)


class TestEditing:
    def test_what_is_there_is_replaced_only_by_force(self, nodes: MemoryNodes) -> None:
        root = tree(nodes, "a")
        with pytest.raises(editing.TakenError):
            editing.put(nodes, root, {("a",): file("new")}, 2, force=False)
        made = editing.put(nodes, root, {("a",): file("new")}, 2, force=True)
        assert trees.find(nodes, made, ("a",)) == file("new")

    def test_the_same_file_again_changes_nothing(self, nodes: MemoryNodes) -> None:
        root = tree(nodes, "a")
        again = file("x")._replace(mtime_ns=99)
        assert editing.put(nodes, root, {("a",): again}, 2, force=True) == root

    def test_a_file_does_not_take_the_place_of_a_directory(self, nodes: MemoryNodes) -> None:
        root = tree(nodes, "a/b")
        for path in ("a", "a/b/c"):
            with pytest.raises(trees.WrongKindError):
                editing.put(nodes, root, {parts_of(path): file("x")}, 2, force=True)

    def test_a_directory_is_removed_only_recursively(self, nodes: MemoryNodes) -> None:
        root = tree(nodes, "a/b", "c")
        with pytest.raises(trees.WrongKindError):
            editing.remove(nodes, root, ("a",), 2, recursive=False)
        assert paths(nodes, editing.remove(nodes, root, ("a",), 2, recursive=True)) == ["c"]
        assert editing.remove(nodes, root, (), 2, recursive=True).size == 0
        with pytest.raises(trees.NoSuchPathError):
            editing.remove(nodes, root, ("no",), 2, recursive=True)

    def test_copies_go_to_a_name_or_into_a_directory(self, nodes: MemoryNodes) -> None:
        """Behaviour 92."""
        root = tree(nodes, "a", "b", "d/x")
        one = editing.copy(nodes, root, [("a",)], ("new", "name"), 2, recursive=False)
        assert "new/name" in paths(nodes, one)
        several = editing.copy(nodes, root, [("a",), ("b",)], ("d",), 2, recursive=False)
        assert paths(nodes, several) == ["a", "b", "d/a", "d/b", "d/x"]
        with pytest.raises(trees.NoSuchPathError):
            editing.copy(nodes, root, [("a",), ("b",)], ("no",), 2, recursive=False)
        with pytest.raises(trees.WrongKindError):
            editing.copy(nodes, root, [("d",)], ("e",), 2, recursive=False)
        with pytest.raises(trees.WrongKindError):
            editing.copy(nodes, root, [("d",)], ("d",), 2, recursive=True)


class TestMerging:
    def test_the_last_who_commits_wins_file_by_file(self, nodes: MemoryNodes) -> None:
        base = tree(nodes, "d/a", "d/b", "d/c")
        ours = trees.changed(nodes, base, {("d", "a"): file("ours"), ("d", "b"): None}, 2)
        theirs = trees.changed(
            nodes, base,
            {("d", "a"): file("theirs"), ("d", "b"): file("theirs"), ("d", "n"): file("n")}, 2,
        )  # fmt: skip
        merged = merge(nodes, base, ours, theirs)
        assert paths(nodes, merged) == ["d/a", "d/c", "d/n"]
        assert trees.find(nodes, merged or base, ("d", "a")) == file("ours")

    def test_what_others_added_to_a_directory_outlives_its_removal(
        self, nodes: MemoryNodes
    ) -> None:
        base = tree(nodes, "d/a", "e")
        ours = trees.changed(nodes, base, {("d",): None}, 2)
        theirs = trees.changed(nodes, base, {("d", "new"): file("n")}, 2)
        assert paths(nodes, merge(nodes, base, ours, theirs)) == ["d/new", "e"]
        assert paths(nodes, merge(nodes, base, theirs, ours)) == ["d/new", "e"]

    def test_a_file_takes_the_place_of_a_directory_that_others_made(
        self, nodes: MemoryNodes
    ) -> None:
        base = tree(nodes, "a")
        ours = trees.changed(nodes, base, {("n",): file("file")}, 2)
        theirs = trees.changed(nodes, base, {("n", "inner"): file("x")}, 2)
        assert paths(nodes, merge(nodes, base, ours, theirs)) == ["a", "n"]
        assert paths(nodes, merge(nodes, base, theirs, ours)) == ["a", "n/inner"]

    def test_modes_of_directories_are_merged_as_well(self, nodes: MemoryNodes) -> None:
        base = tree(nodes, "d/a")
        closed = trees.find(nodes, base, ("d",))
        assert closed is not None
        ours = trees.changed(nodes, base, {("d",): closed._replace(mode=0o700)}, 2)
        theirs = trees.changed(nodes, base, {("d", "b"): file("b")}, 2)
        merged = merge(nodes, base, ours, theirs)
        assert merged is not None
        found = trees.find(nodes, merged, ("d",))
        assert found is not None and found.mode == 0o700
        assert paths(nodes, merged) == ["d/a", "d/b"]
