"""Foreign JSON: a record or our own error, whatever the bytes are."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.unit.images.making import OCI, Content, digest_of
from volantd.images.oci import (
    BlobDirectory,
    LayoutSource,
    OciError,
    Platform,
    ResolvedImage,
    resolve_image,
    this_machine,
)
from volantd.images.oci.config import ImageConfig, parse_config
from volantd.images.oci.documents import Index, Manifest, parse_manifest

DIGEST = digest_of(b"")
BLOB = {"mediaType": OCI + "config.v1+json", "digest": DIGEST, "size": 0}
LAYER = {"mediaType": OCI + "layer.v1.tar+gzip", "digest": DIGEST, "size": 7}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "config": BLOB, "layers": [LAYER]}
PLATFORM = {"os": "linux", "architecture": "amd64"}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI + "index.v1+json",
    "manifests": [{**BLOB, "platform": PLATFORM, "annotations": {"a": "b"}}],
}
CONFIG: dict[str, Any] = {
    **PLATFORM,
    "config": {"Env": ["A=b"], "Cmd": ["x"], "Entrypoint": None, "User": "", "WorkingDir": "/"},
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
}

fuzz = settings(max_examples=150, derandomize=True, database=None, deadline=None)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([DIGEST, "sha256:", OCI, "\ud800", "a\0b", "linux"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)


def places(document: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything in a document."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        inner = list(document.items())
    elif isinstance(document, list):
        inner = list(enumerate(document))
    return [way, *(place for key, item in inner for place in places(item, (*way, key)))]


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    """A document with one thing in it replaced by anything, or some bytes changed."""
    way = draw(st.sampled_from(places(document)))
    target: Any = {"": copy.deepcopy(document)}
    inner, key = target, ""
    for step in way:
        inner, key = inner[key], step
    inner[key] = draw(plain)
    content = json.dumps(target[""]).encode()
    start = draw(st.integers(0, len(content)))
    return content[:start] + draw(st.binary(max_size=2)) + content[start:]


@fuzz
@given(changed(MANIFEST) | changed(INDEX) | st.binary(), st.sampled_from(["", OCI, "text/html"]))
def test_any_manifest_is_a_record_or_our_error(content: bytes, media_type: str) -> None:
    try:
        result = parse_manifest(content, media_type, DIGEST)
    except OciError:
        return
    assert isinstance(result, Manifest | Index)


@fuzz
@given(changed(CONFIG) | st.binary())
def test_any_config_is_a_record_or_our_error(content: bytes) -> None:
    try:
        result = parse_config(content, DIGEST)
    except OciError:
        return
    assert isinstance(result, ImageConfig)
    assert result.working_dir.startswith("/")


@fuzz
@given(changed(MANIFEST), changed(INDEX), changed(CONFIG))
def test_any_layout_is_an_image_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, manifest: bytes, index: bytes, config: bytes
) -> None:
    place = tmp_path_factory.mktemp("layout")
    content = Content()
    for document in (manifest, config):
        content.add_blob(document, "")
    content.write_layout(place / "x")
    (place / "x/index.json").write_bytes(
        index.replace(DIGEST.encode(), digest_of(manifest).encode())
    )
    try:
        blobs = BlobDirectory(place / "blobs")
        image = resolve_image(LayoutSource(place / "x"), blobs, Platform(architecture="amd64"))
    except OciError:
        return
    assert isinstance(image, ResolvedImage)


@pytest.mark.parametrize(
    ("document", "media_type", "problem"),
    [
        ({**MANIFEST, "schemaVersion": 1}, "", "of a version that nobody uses"),
        ({**MANIFEST, "manifests": []}, "", "neither a manifest nor an index"),
        ({"schemaVersion": 2}, "", "neither a manifest nor an index"),
        (MANIFEST, OCI + "index.v1+json", "not what it calls itself"),
        (INDEX, OCI + "manifest.v1+json", "came as .* and calls itself"),
        ({**MANIFEST, "mediaType": "text/html"}, "", "not what it calls itself"),
        ({**MANIFEST, "layers": [LAYER] * 300}, "", "has 300 layers; 256 are allowed"),
        ({**MANIFEST, "config": {**BLOB, "mediaType": "x/y"}}, "", "is of a 'x/y'"),
        ({**MANIFEST, "config": {**BLOB, "size": 1.5}}, "", "`size` is not an integer"),
        ({**MANIFEST, "config": {**BLOB, "size": True}}, "", "`size` is not an integer"),
        ({**MANIFEST, "config": {**BLOB, "size": -1}}, "", "a size of -1 is not allowed"),
        ({**MANIFEST, "config": {**BLOB, "digest": "md5:12"}}, "", "no digest that can be"),
        ({**MANIFEST, "config": {**BLOB, "digest": "sha256:../.."}}, "", "no digest that can be"),
        (
            {**MANIFEST, "layers": [{**LAYER, "mediaType": OCI + "layer.nondistributable.v1.tar"}]},
            "",
            "a kind that cannot be unpacked",
        ),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(
    document: object, media_type: str, problem: str
) -> None:
    with pytest.raises(OciError, match=problem):
        parse_manifest(json.dumps(document).encode(), media_type, DIGEST)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b"\xff"])
def test_json_that_is_made_to_hurt_is_our_error(content: bytes) -> None:
    with pytest.raises(OciError):
        parse_config(content, DIGEST)


@pytest.mark.parametrize("variable", ["A", "=b", ""])
def test_a_variable_without_a_name_or_value_is_refused(variable: str) -> None:
    document = {**CONFIG, "config": {"Env": [variable]}}
    with pytest.raises(OciError, match="not a name and a value"):
        parse_config(json.dumps(document).encode(), DIGEST)


def test_this_machine_runs_its_own_images() -> None:
    machine = this_machine()
    assert machine.os == "linux"
    assert machine.runs(machine)
