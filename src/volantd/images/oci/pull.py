"""From the name of an image to what has to be unpacked for one machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.images.oci.config import ImageConfig, parse_config
from volantd.images.oci.documents import DOCUMENT_BYTES_MAX, Manifest, choose
from volantd.images.oci.errors import OciError

if TYPE_CHECKING:
    from volantd.images.oci.blobs import BlobDirectory, Source
    from volantd.images.oci.documents import Descriptor, Platform

#: How many indexes may lie between a name and a manifest.
INDEXES_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: the blob that it comes in, and the digest of its bytes before compression."""

    descriptor: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """An image as it is for one platform.

    Attributes:
        digest: of its manifest; it names the image for good, as a tag does not.
        config: what its programs are started with.
        layers: lowest first.
    """

    digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]


def resolve_image(source: Source, blobs: BlobDirectory, platform: Platform) -> ResolvedImage:
    """Find out what an image consists of; fetches its manifest and config, and no layer.

    Raises:
        OciError: when there is no such image for this platform, or it contradicts itself.
    """
    document = source.read_root()
    for _ in range(INDEXES_MAX + 1):
        if isinstance(document, Manifest):
            break
        document = source.read_manifest(choose(document, platform))
    else:
        raise OciError(f"more than {INDEXES_MAX} indexes lie between the name and the image")
    if document.config.size > DOCUMENT_BYTES_MAX:
        raise OciError(f"the config of {document.digest} is larger than {DOCUMENT_BYTES_MAX} bytes")
    path = blobs.obtain(document.config, source)
    try:
        config = parse_config(path.read_bytes(), document.config.digest)
    except OSError as error:
        raise OciError(f"the config {document.config.digest} cannot be read") from error
    if config.platform.architecture and not platform.runs(config.platform):
        raise OciError(
            f"the image is not made for {platform}; it is there for {config.platform}",
            hint="choose another tag, or build the image for this machine",
        )
    if len(config.diff_ids) != len(document.layers):
        raise OciError(
            f"the manifest {document.digest} has {len(document.layers)} layers, "
            f"and its config {len(config.diff_ids)}"
        )
    pairs = zip(document.layers, config.diff_ids, strict=True)
    layers = tuple(Layer(descriptor=blob, diff_id=diff_id) for blob, diff_id in pairs)
    return ResolvedImage(digest=document.digest, config=config, layers=layers)
