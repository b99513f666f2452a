"""The JSON of images: descriptors, manifests, and indexes of manifests by platform.

Owns what is read out of foreign JSON and how it is checked. It fetches nothing.
Invariant: whatever the bytes are, the answer is a record or an `OciError`.

Source: https://github.com/opencontainers/image-spec (manifest.md, image-index.md, descriptor.md)
"""

from __future__ import annotations

import json
import platform as python_platform
from dataclasses import dataclass

from volantd.images.oci.errors import OciError, shown
from volantd.images.oci.reference import is_digest

#: Bytes of a manifest, an index or a config.
DOCUMENT_BYTES_MAX = 8 << 20
#: Bytes of one blob.
BLOB_BYTES_MAX = 128 << 30
#: Layers of an image: Docker's own limit is 127, and overlayfs takes 500.
LAYERS_MAX = 256
_PLATFORMS_SHOWN_MAX = 20

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPES = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
LAYER_TYPES = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
)
_NAME_ANNOTATION = "org.opencontainers.image.ref.name"
#: What the kernel calls a machine -> architecture and variant in images.
_MACHINES = {
    "x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"), "i686": ("386", ""), "loongarch64": ("loong64", ""),
}  # fmt: skip
#: Which variants a machine runs, best first. Of amd64's, v2 and above ask for more than is known.
_VARIANTS_RUN = {
    ("amd64", ""): ("", "v1"), ("arm64", "v8"): ("v8", ""),
    ("arm", "v7"): ("v7", "", "v6", "v5"), ("arm", "v6"): ("v6", "v5"),
}  # fmt: skip


class Fields:
    """An object of JSON: reads members as what they must be. A null is a missing member."""

    __slots__ = ("_members", "what")

    def __init__(self, members: object, what: str) -> None:
        if not isinstance(members, dict):
            raise OciError(f"{what} is not an object of JSON")
        self._members: dict[object, object] = members
        #: names the object in messages
        self.what = what

    def has(self, name: str) -> bool:
        return self._members.get(name) is not None

    def text(self, name: str, *, default: str | None = None) -> str:
        return self._text(self._member(name, default), name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Empty when there is none."""
        return tuple(self._text(item, name) for item in self._list(name))

    def integer(self, name: str) -> int:
        value = self._member(name, None)
        if not isinstance(value, int) or isinstance(value, bool):
            raise OciError(f"{self.what}: `{name}` is not an integer")
        return value

    def fields(self, name: str) -> Fields:
        """Without members when there is none."""
        return Fields(self._member(name, {}), f"`{name}` of {self.what}")

    def items(self, name: str) -> list[Fields]:
        """Empty when there is none."""
        items = self._list(name)
        return [Fields(item, f"`{name}[{i}]` of {self.what}") for i, item in enumerate(items)]

    def _list(self, name: str) -> list[object]:
        value = self._member(name, [])
        if not isinstance(value, list):
            raise OciError(f"{self.what}: `{name}` is not a list")
        return value

    def _member(self, name: str, default: object) -> object:
        value = self._members.get(name)
        value = default if value is None else value
        if value is None:
            raise OciError(f"{self.what}: `{name}` is missing")
        return value

    def _text(self, value: object, name: str) -> str:
        if not isinstance(value, str):
            raise OciError(f"{self.what}: `{name}` is not text")
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise OciError(f"{self.what}: `{name}` is not text that a program can be given")
        return value


def parse_json(content: bytes, what: str) -> Fields:
    """The object that a document of JSON holds.

    Args:
        content: at most `DOCUMENT_BYTES_MAX` are taken.
        what: names the document in messages.
    """
    if len(content) > DOCUMENT_BYTES_MAX:
        raise OciError(f"{what} is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        return Fields(json.loads(content), what)
    except (ValueError, RecursionError) as error:
        raise OciError(f"{what} is not JSON") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What an image was made for. The variant is mostly empty."""

    os: str = "linux"
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def variants_run(self) -> tuple[str, ...]:
        """The variants of images that this machine runs, best first."""
        return _VARIANTS_RUN.get((self.architecture, self.variant), (self.variant,))

    def runs(self, other: Platform) -> bool:
        """Whether an image made for `other` runs here."""
        is_same = (self.os, self.architecture) == (other.os, other.architecture)
        return is_same and other.variant in self.variants_run()


def this_machine() -> Platform:
    """The platform whose images run here."""
    machine = python_platform.machine()
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(architecture=architecture, variant=variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Names a blob by its digest.

    Attributes:
        size: bytes; the blob has exactly so many.
        platform: only in an index, and not always there.
        name: the tag in an index of a layout; mostly empty.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image: its config and its layers, lowest first."""

    digest: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The same image for several platforms."""

    manifests: tuple[Descriptor, ...]


def parse_manifest(content: bytes, media_type: str, digest: str) -> Manifest | Index:
    """Read a manifest or an index.

    Args:
        content: what was fetched.
        media_type: what it was said to be; empty if nothing was said.
        digest: its digest, verified.

    Raises:
        OciError: when it is neither, or says two things at once.
    """
    fields = parse_json(content, f"the manifest {digest}")
    known = (*INDEX_TYPES, *MANIFEST_TYPES)
    said = media_type.partition(";")[0].strip().lower()
    declared = fields.text("mediaType", default=said if said in known else "")
    if said in known and declared != said:
        raise OciError(f"{fields.what} came as {shown(said)} and calls itself {shown(declared)}")
    if fields.integer("schemaVersion") != 2:
        hint = "push the image again with a present-day tool"
        raise OciError(f"{fields.what} is of a version that nobody uses any more", hint=hint)
    # One document that is both could be read as one thing here and as another elsewhere:
    # https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m
    is_index, is_manifest = fields.has("manifests"), fields.has("config") or fields.has("layers")
    if is_index is is_manifest:
        raise OciError(f"{fields.what} is neither a manifest nor an index")
    if declared and declared not in (INDEX_TYPES if is_index else MANIFEST_TYPES):
        raise OciError(f"{fields.what} is not what it calls itself, {shown(declared)}")
    if is_index:
        return Index(manifests=tuple(_descriptor(item) for item in fields.items("manifests")))
    return _manifest(fields, digest)


def _manifest(fields: Fields, digest: str) -> Manifest:
    config = _descriptor(fields.fields("config"))
    if config.media_type not in CONFIG_TYPES:
        hint = "name an image of a container; registries hold other things as well"
        raise OciError(f"{fields.what} is of a {shown(config.media_type)}", hint=hint)
    layers = tuple(_descriptor(item) for item in fields.items("layers"))
    if len(layers) > LAYERS_MAX:
        raise OciError(f"{fields.what} has {len(layers)} layers; {LAYERS_MAX} are allowed")
    for layer in layers:
        if layer.media_type not in LAYER_TYPES:
            raise OciError(
                f"{fields.what} has a layer of a kind that cannot be unpacked: "
                f"{shown(layer.media_type)}",
                hint="build the image for Linux, with plain, gzip or zstd layers of its own",
            )
    return Manifest(digest=digest, config=config, layers=layers)


def _descriptor(fields: Fields) -> Descriptor:
    digest = fields.text("digest")
    if not is_digest(digest):
        raise OciError(f"{fields.what}: {shown(digest)} is no digest that can be verified")
    size = fields.integer("size")
    if not 0 <= size <= BLOB_BYTES_MAX:
        raise OciError(f"{fields.what}: a size of {size} is not allowed")
    return Descriptor(
        media_type=fields.text("mediaType", default=""),
        digest=digest,
        size=size,
        platform=parse_platform(fields.fields("platform")) if fields.has("platform") else None,
        name=fields.fields("annotations").text(_NAME_ANNOTATION, default=""),
    )


def parse_platform(fields: Fields) -> Platform:
    """The three members that say what an image is for."""
    return Platform(
        os=fields.text("os", default=""),
        architecture=fields.text("architecture", default=""),
        variant=fields.text("variant", default=""),
    )


def choose(index: Index, platform: Platform) -> Descriptor:
    """The entry of an index that runs on a platform, the best if there are several.

    Raises:
        OciError: when there is none; it lists those that there are.
    """
    fitting = [
        (platform.variants_run().index(item.platform.variant), item)
        for item in index.manifests
        if item.platform is not None and platform.runs(item.platform)
    ]
    if fitting:
        return min(fitting, key=lambda pair: pair[0])[1]
    if len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]  # its config will say
    # Attestations stand in indexes as images for an unknown platform.
    others = sorted({str(item.platform) for item in index.manifests if item.platform})
    there = [shown(name)[1:-1] for name in others if not name.startswith("unknown")]
    text = ", ".join(there[:_PLATFORMS_SHOWN_MAX]) or "no other platform"
    raise OciError(
        f"the image is not made for {platform}; it is there for {text}",
        hint="choose another tag, or build the image for this machine",
    )
