"""Makes layers and images for the tests of this folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from volantd.images.oci import unpack_layer

if TYPE_CHECKING:
    from pathlib import Path

    from volantd.images.oci import LayerLimits, UnpackedLayer

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    """One entry; what is not given is what root makes."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def layer_of(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = 2) -> bytes:
    """A tar archive of entries, each alone or with its content; `form` is PAX by default."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form, errors="surrogateescape") as archive:
        for item in entries:
            info, content = item if isinstance(item, tuple) else (item, b"")
            if content:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def unpack(
    layer: bytes, place: Path, *, limits: LayerLimits | None = None, diff_id: str = ""
) -> UnpackedLayer:
    """Unpack a layer, compressed or not, into `place`/diff."""
    (place / "blob").write_bytes(layer)
    if not diff_id:
        diff_id = digest_of(gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer)
    return unpack_layer(place / "blob", place / "diff", diff_id=diff_id, limits=limits)


@dataclass
class Content:
    """What a registry or a layout holds."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    #: tag or digest -> media type and content
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def add_blob(self, content: bytes, media_type: str) -> dict[str, object]:
        digest = digest_of(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def add_manifest(self, document: object, media_type: str, tag: str = "") -> dict[str, object]:
        content = json.dumps(document).encode()
        digest = digest_of(content)
        for version in (digest, tag):
            self.manifests[version] = (media_type, content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def add_image(
        self,
        *layers: bytes,
        tag: str = "latest",
        platform: tuple[str, str] = ("amd64", ""),
        config: dict[str, object] | None = None,
        form: str = "oci",
    ) -> dict[str, object]:
        """An image of plain layers, which are compressed here; the descriptor of its manifest."""
        about = {
            "os": "linux",
            "architecture": platform[0],
            **({"variant": platform[1]} if platform[1] else {}),
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            **(config or {}),
        }
        kinds = {
            "oci": (OCI + "manifest.v1+json", OCI + "config.v1+json", OCI + "layer.v1.tar+gzip"),
            "docker": (
                DOCKER + "distribution.manifest.v2+json",
                DOCKER + "container.image.v1+json",
                DOCKER + "image.rootfs.diff.tar.gzip",
            ),
        }[form]
        document = {
            "schemaVersion": 2,
            "mediaType": kinds[0],
            "config": self.add_blob(json.dumps(about).encode(), kinds[1]),
            "layers": [self.add_blob(gzip.compress(layer, 1), kinds[2]) for layer in layers],
        }
        return self.add_manifest(document, kinds[0], tag)

    def add_index(
        self, *entries: dict[str, object], tag: str = "latest", form: str = "oci"
    ) -> dict[str, object]:
        kind = OCI + "index.v1+json"
        if form == "docker":
            kind = DOCKER + "distribution.manifest.list.v2+json"
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": list(entries)}
        return self.add_manifest(document, kind, tag)

    def write_layout(self, place: Path, *entries: dict[str, object]) -> Path:
        """As an OCI layout whose index has these entries."""
        (place / "blobs/sha256").mkdir(parents=True)
        (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (place / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": list(entries)})
        )
        contents = [*self.blobs.values(), *(content for _, content in self.manifests.values())]
        for content in contents:
            (place / "blobs" / digest_of(content).replace(":", "/")).write_bytes(content)
        return place
