"""Images of registries: fetched, verified, and unpacked into directories for overlayfs.

    parse_reference --> RegistrySource (or LayoutSource)
                               |
    resolve_image(source, blobs, platform) --> ResolvedImage: config, layers
                               |
    blobs.obtain(layer.descriptor, source) --> file, its digest verified
                               |
    unpack_layer(file, target, diff_id=...) --> directory `target`

Everything here blocks and belongs into worker threads. Whatever a registry or a layer may hold, the
answer is a result or an `OciError`, and nothing outside the caller's directories is touched. It
knows neither hub nor agent; where things lie and when they are removed is its caller's.
"""

from __future__ import annotations

from volantd.images.oci.blobs import BlobDirectory, Source
from volantd.images.oci.config import ImageConfig
from volantd.images.oci.documents import Descriptor, Platform, this_machine
from volantd.images.oci.errors import OciError, TransferError
from volantd.images.oci.layout import LayoutSource
from volantd.images.oci.pull import Layer, ResolvedImage, resolve_image
from volantd.images.oci.reference import Reference, parse_reference
from volantd.images.oci.registry import RegistrySource
from volantd.images.oci.stream import LayerLimits
from volantd.images.oci.unpack import UnpackedLayer, unpack_layer

__all__ = [
    "BlobDirectory",
    "Descriptor",
    "ImageConfig",
    "Layer",
    "LayerLimits",
    "LayoutSource",
    "OciError",
    "Platform",
    "Reference",
    "RegistrySource",
    "ResolvedImage",
    "Source",
    "TransferError",
    "UnpackedLayer",
    "parse_reference",
    "resolve_image",
    "this_machine",
    "unpack_layer",
]
