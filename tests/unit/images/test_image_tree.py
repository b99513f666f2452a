"""Layers looked through as an overlay shows them, and files copied between images."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from volant.errors import ImageBuildError
from volantd.images.dockerfile import copying
from volantd.images.kept import tree
from volantd.images.workbench import find_python

if TYPE_CHECKING:
    from pathlib import Path


def owned_by(uid: int, gid: int) -> tuple[int, int]:
    """The owners of a file that was given to somebody; a normal user has nobody to give it to."""
    return (uid, gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def make(layer: Path, *paths: str) -> str:
    for path in paths:
        target = layer / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{layer.name}:{path}")
    return str(layer)


def hide(layer: Path, path: str) -> None:
    target = layer / path
    target.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(target, stat.S_IFCHR, 0)


def names(top: tree.Node, path: str) -> list[str]:
    node = tree.at(top, path)
    assert node is not None
    return [name for name, _ in node.children()]


def test_the_highest_layer_that_has_a_file_counts(tmp_path: Path) -> None:
    layers = [make(tmp_path / "1", "d/a", "d/b"), make(tmp_path / "2", "d/b", "d/c")]
    top = tree.root(layers)
    assert names(top, "/d") == ["a", "b", "c"]
    assert tree.read_text(top, "/d/b") == "2:d/b"
    assert tree.read_text(top, "/d/a") == "1:d/a"
    assert tree.read_text(top, "/d") == tree.read_text(top, "/absent") == ""


def test_whiteouts_hide_what_is_below_them(tmp_path: Path) -> None:
    layers = [make(tmp_path / "1", "d/a", "d/b", "e/x"), make(tmp_path / "2", "d/c")]
    hide(tmp_path / "2", "d/a")
    hide(tmp_path / "2", "e")
    layers.append(make(tmp_path / "3", "e/new"))
    top = tree.root(layers)
    assert names(top, "/d") == ["b", "c"]
    assert tree.at(top, "/d/a") is None
    assert names(top, "/e") == ["new"]


def test_opaque_directories_hide_all_below_them(tmp_path: Path) -> None:
    layers = [make(tmp_path / "1", "d/a"), make(tmp_path / "2", "d/b")]
    os.setxattr(tmp_path / "2/d", tree.OPAQUE_XATTR, b"y")
    assert names(tree.root(layers), "/d") == ["b"]


def test_a_file_hides_a_directory_and_a_directory_a_file(tmp_path: Path) -> None:
    layers = [make(tmp_path / "1", "d/a", "f"), make(tmp_path / "2", "d", "f/b")]
    top = tree.root(layers)
    assert tree.read_text(top, "/d") == "2:d"
    assert tree.at(top, "/d/a") is None
    assert names(top, "/f") == ["b"]


def test_links_lead_to_files_of_the_image(tmp_path: Path) -> None:
    layers = [make(tmp_path / "1", "usr/bin/sh"), make(tmp_path / "2", "x")]
    (tmp_path / "2/bin").symlink_to("/usr/bin")
    (tmp_path / "2/out").symlink_to("../../../../usr")
    (tmp_path / "2/ring").symlink_to("ring")
    top = tree.root(layers)
    assert tree.read_text(top, "/bin/sh") == "1:usr/bin/sh"
    assert tree.read_text(top, "/out/bin/sh") == "1:usr/bin/sh"
    assert tree.at(top, "/ring") is None


def test_an_image_without_layers_is_empty() -> None:
    assert tree.at(tree.root([]), "/etc") is None


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    low, high = tmp_path / "low", tmp_path / "high"
    (low / "usr/bin").mkdir(parents=True)
    (low / "bin").symlink_to("usr/bin")
    (low / "abs").symlink_to("/usr")
    (low / "circle").symlink_to("circle")
    (low / "up").symlink_to("../../../../etc")
    for name in ("replaced", "gone", "hidden/link"):
        (low / name).parent.mkdir(exist_ok=True)
        (low / name).symlink_to("/usr")
    (high / "replaced").mkdir(parents=True)
    (high / "hidden").mkdir()
    os.setxattr(high / "hidden", tree.OPAQUE_XATTR, b"y")
    hide(high, "gone")
    return [str(low), str(high)]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "/"),
        ("/usr/bin/x", "/usr/bin/x"),
        ("/bin/x", "/usr/bin/x"),
        ("/abs/bin", "/usr/bin"),
        ("/up/passwd", "/etc/passwd"),
        ("/replaced/x", "/replaced/x"),
        ("/nowhere/at/all", "/nowhere/at/all"),
        ("/gone/x", "/gone/x"),
        ("/hidden/link/x", "/hidden/link/x"),
        ("/" + "n" * 300, "/" + "n" * 300),
        ("/circle/x", None),
    ],
)
def test_a_path_without_its_links(layers: list[str], path: str, found: str | None) -> None:
    assert tree.find(layers, path) == found


def test_a_python_that_a_later_layer_deletes_does_not_count(tmp_path: Path) -> None:
    layers = [make(tmp_path / "1", "usr/local/bin/python3", "usr/bin/python3")]
    assert find_python(layers) == "/usr/local/bin/python3"
    hide(tmp_path / "2", "usr/local/bin/python3")
    layers.append(str(tmp_path / "2"))
    assert find_python(layers) == "/usr/bin/python3"
    (tmp_path / "3/usr/bin").mkdir(parents=True)
    os.setxattr(tmp_path / "3/usr/bin", tree.OPAQUE_XATTR, b"y")
    with pytest.raises(ImageBuildError, match="no Python"):
        find_python([*layers, str(tmp_path / "3")])


# -- copies


CONTEXT = ["a.txt", "src/main.py", "src/pkg/x.py", "src/pkg/y.py", "other/z.py"]


@pytest.mark.parametrize(
    ("sources", "target", "is_directory", "expected"),
    [
        (["a.txt"], "/b", False, {"/b": "a.txt"}),
        (["a.txt"], "/b", True, {"/b/a.txt": "a.txt"}),
        (["src/pkg"], "/p", False, {"/p/x.py": "src/pkg/x.py", "/p/y.py": "src/pkg/y.py"}),
        (["."], "/app", False, {f"/app/{path}": path for path in CONTEXT}),
        (["*.txt"], "/b", False, {"/b": "a.txt"}),
        (["src/*.py"], "/b", True, {"/b/main.py": "src/main.py"}),
        (["src/pkg/?.py"], "/b", False, {"/b/x.py": "src/pkg/x.py", "/b/y.py": "src/pkg/y.py"}),
        (["*/[xz].py"], "/b", False, {"/b": "other/z.py"}),
        (["a.txt", "other"], "/b", False, {"/b/a.txt": "a.txt", "/b/z.py": "other/z.py"}),
    ],
)
def test_what_copies_mean(
    sources: list[str], target: str, is_directory: bool, expected: dict[str, str]
) -> None:
    found = copying.from_context(sources, target, CONTEXT, is_directory=is_directory)
    assert dict(found) == expected


@pytest.mark.parametrize("source", ["absent", "src/absent", "*.md", "a.txt/x", "[", "sr"])
def test_a_copy_of_nothing_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"not in the context|without an end"):
        copying.from_context([source], "/b", CONTEXT, is_directory=False)


def test_a_tree_is_copied_with_links_modes_and_owners(tmp_path: Path) -> None:
    below = make(tmp_path / "1", "usr/bin/tool", "usr/share/doc")
    os.chmod(tmp_path / "1/usr/bin/tool", 0o755)
    os.chown(tmp_path / "1/usr/bin/tool", *owned_by(5, 6))
    (tmp_path / "1/usr/lib").symlink_to("share")
    diff = tmp_path / "new"
    diff.mkdir()
    node = tree.at(tree.root([below]), "/usr")
    assert node is not None
    copying.Layer(str(diff), [below], copying.Owner()).copy(node, "/opt/u")
    tool = (diff / "opt/u/bin/tool").stat()
    assert (tool.st_mode & 0o777, tool.st_uid, tool.st_gid) == (0o755, *owned_by(5, 6))
    assert tool.st_ino == (tmp_path / "1/usr/bin/tool").stat().st_ino, "no second copy of the bytes"
    assert os.readlink(diff / "opt/u/lib") == "share"


def test_owners_and_modes_can_be_said(tmp_path: Path) -> None:
    below = make(tmp_path / "1", "x")
    (tmp_path / "1/etc").mkdir()
    (tmp_path / "1/etc/passwd").write_text("root:x:0:0::/:/\nweb:x:33:34::/:/\n")
    (tmp_path / "1/etc/group").write_text("staff:x:50:\n")
    top = tree.root([below])
    assert copying.owner_of({"chown": ["web"]}, top) == copying.Owner(33, 34)
    assert copying.owner_of({"chown": ["web:staff"]}, top) == copying.Owner(33, 50)
    assert copying.owner_of({"chown": ["7:8"], "chmod": ["640"]}, top) == copying.Owner(7, 8, 0o640)
    for flags in ({"chown": ["nobody"]}, {"chown": ["web:nobody"]}, {"chmod": ["a+x"]}):
        with pytest.raises(ValueError, match=r"nobody|octal"):
            copying.owner_of(flags, top)
    diff = tmp_path / "new"
    diff.mkdir()
    layer = copying.Layer(str(diff), [below], copying.Owner(33, 34, 0o640))
    layer.write("/x/y", b"1", 0o644)
    node = tree.at(top, "/x")
    assert node is not None
    layer.copy(node, "/z")
    for path in ("x/y", "z"):
        status = (diff / path).stat()
        assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o640, *owned_by(33, 34))


def test_files_land_through_the_links_of_the_image_and_never_outside(tmp_path: Path) -> None:
    below = make(tmp_path / "1", "usr/bin/sh")
    (tmp_path / "1/bin").symlink_to("usr/bin")
    (tmp_path / "1/up").symlink_to("../../../..")
    diff = tmp_path / "new"
    diff.mkdir()
    layer = copying.Layer(str(diff), [below], copying.Owner())
    layer.write("/bin/tool", b"1", 0o755)
    layer.write("/up/etc/x", b"2", 0o644)
    assert (diff / "usr/bin/tool").read_bytes() == b"1"
    assert (diff / "etc/x").read_bytes() == b"2"
    assert sorted(os.listdir(tmp_path)) == ["1", "new"]
