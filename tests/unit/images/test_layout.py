"""Reading an OCI layout, a directory that may be anybody's."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.unit.images.making import Content, entry, layer_of
from volantd.images.oci import LayoutSource, OciError, Platform, resolve_image, unpack_layer

if TYPE_CHECKING:
    from pathlib import Path

AMD64 = Platform(architecture="amd64")
LAYER = layer_of((entry("etc/motd"), b"hello"))
TAG = "org.opencontainers.image.ref.name"


def tagged(made: dict[str, object], tag: str) -> dict[str, object]:
    return {**made, "annotations": {TAG: tag}}


@pytest.fixture
def content() -> Content:
    return Content()


def test_the_only_image_needs_no_tag(content, blobs, tmp_path: Path) -> None:
    source = LayoutSource(content.write_layout(tmp_path / "x", content.add_image(LAYER)))
    (layer,) = resolve_image(source, blobs, AMD64).layers
    path = blobs.obtain(layer.descriptor, source)
    unpack_layer(path, tmp_path / "diff", diff_id=layer.diff_id)
    assert (tmp_path / "diff/etc/motd").read_text() == "hello"


def test_a_tag_names_one_of_several(content, blobs, tmp_path: Path) -> None:
    made = {tag: content.add_image(config={"config": {"User": tag}}) for tag in ("old", "new")}
    entries = [tagged(descriptor, tag) for tag, descriptor in made.items()]
    place = content.write_layout(tmp_path / "x", *entries)
    image = resolve_image(LayoutSource(place, tag="new"), blobs, AMD64)
    assert (image.digest, image.config.user) == (made["new"]["digest"], "new")


@pytest.mark.parametrize(
    ("tag", "problem"), [("", "is not of one image"), ("x", "has no image 'x'")]
)
def test_a_wrong_tag_is_told_the_right_ones(
    content, blobs, tmp_path: Path, tag: str, problem: str
) -> None:
    made = content.add_image()
    place = content.write_layout(tmp_path / "x", tagged(made, "old"), tagged(made, "new"))
    with pytest.raises(OciError, match=problem) as caught:
        resolve_image(LayoutSource(place, tag=tag), blobs, AMD64)
    assert "'new', 'old'" in (caught.value.hint or "")


def test_an_image_of_several_machines_is_chosen_from(content, blobs, tmp_path: Path) -> None:
    made = [
        {
            **content.add_image(platform=(name, "")),
            "platform": {"os": "linux", "architecture": name},
        }
        for name in ("s390x", "amd64")
    ]
    inner = content.add_index(*made)
    source = LayoutSource(content.write_layout(tmp_path / "x", tagged(inner, "a")))
    assert resolve_image(source, blobs, AMD64).digest == made[1]["digest"]


@pytest.mark.parametrize("name", ["oci-layout", "index.json", "manifest", "config"])
@pytest.mark.parametrize("change", ["gone", "other", "link", "pipe", "directory"])
def test_a_broken_layout_is_refused(content, blobs, tmp_path: Path, name: str, change: str) -> None:
    made = content.add_image(LAYER)
    place = content.write_layout(tmp_path / "x", made)
    manifest = place / "blobs" / str(made["digest"]).replace(":", "/")
    config = json.loads(manifest.read_text())["config"]["digest"].replace(":", "/")
    path = {"manifest": manifest, "config": place / "blobs" / config}.get(name, place / name)
    if change == "other":
        path.write_bytes(path.read_bytes().replace(b"1.0.0", b"2.0.0")[:-1])
    else:
        path.rename(tmp_path / "moved")
    if change == "link":
        path.symlink_to(tmp_path / "moved")
    elif change == "pipe":
        os.mkfifo(path)
    elif change == "directory":
        path.mkdir()
    with pytest.raises(OciError):
        resolve_image(LayoutSource(place), blobs, AMD64)


def test_a_directory_of_blobs_that_is_a_link_is_refused(content, blobs, tmp_path: Path) -> None:
    place = content.write_layout(tmp_path / "x", content.add_image(LAYER))
    (place / "blobs").rename(tmp_path / "moved")
    (place / "blobs").symlink_to(tmp_path / "moved")
    with pytest.raises(OciError, match="to read"):
        resolve_image(LayoutSource(place), blobs, AMD64)


def test_a_directory_that_is_no_layout_is_said_so(blobs, tmp_path: Path) -> None:
    with pytest.raises(OciError, match="has no `oci-layout`") as caught:
        resolve_image(LayoutSource(tmp_path), blobs, AMD64)
    assert "an OCI layout is a directory" in (caught.value.hint or "")
