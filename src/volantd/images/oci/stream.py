"""The bytes of a layer before compression: counted, hashed, bounded.

Owns decompression (plain, gzip and, where there is a module for it, zstd; told apart by the first
bytes, as the diff id vouches for the result) and the limits on what may come out.
Invariant: memory is bounded, whatever the bytes are.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from volantd.images.oci.errors import OciError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INPUT_BYTES, _OUTPUT_BYTES = 64 << 10, 256 << 10
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: Tells zlib to expect a header of gzip.
_GZIP_WINDOW = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLimits:
    """What one layer may be.

    Attributes:
        bytes_max: bytes before compression, which no layer's files exceed.
        ratio_max: how many times larger than its blob a layer may be.
        ratio_free_bytes: bytes before compression up to which the ratio does not matter.
        entries_max: files and directories, those that only other entries imply included.
    """

    bytes_max: int = 64 << 30
    ratio_max: int = 200
    ratio_free_bytes: int = 1 << 30
    entries_max: int = 1_000_000


class LayerStream:
    """A layer's blob, read from its first to its last byte."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        algorithm: str,
        limits: LayerLimits,
        progress: Callable[[int], None] | None,
    ) -> None:
        """Nothing is read yet.

        Args:
            file: the blob.
            algorithm: of the digest that `finish` returns.
            limits: of which the number of entries is not ours.
            progress: told of each so many bytes of the blob that were read.
        """
        self._file = file
        self._limits = limits
        self._progress = progress
        self._hash = hashlib.new(algorithm)
        self._taken = self._given = 0
        self._chunks = self._decompress()
        self._buffer = b""
        self._offset = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, at least one; none at the end.

        Raises:
            OciError: when the blob is broken, or more than is allowed.
        """
        if self._offset == len(self._buffer):
            self._buffer, self._offset = next(self._chunks, b""), 0
            self._given += len(self._buffer)
            self._check()
            self._hash.update(self._buffer)
        data = self._buffer[self._offset : self._offset + size]
        self._offset += len(data)
        return data

    def finish(self) -> str:
        """Read on to the end, and return the digest of everything."""
        while self.read(_OUTPUT_BYTES):
            pass
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def _check(self) -> None:
        if self._given > self._limits.bytes_max:
            raise OciError(f"the layer holds more than the {self._limits.bytes_max} bytes allowed")
        bytes_max = max(self._limits.ratio_free_bytes, self._taken * self._limits.ratio_max)
        if self._given > bytes_max:
            raise OciError(
                f"the layer is a compression bomb: {self._taken} bytes of it hold {self._given}"
            )

    def _take(self) -> bytes:
        data = self._file.read(_INPUT_BYTES)
        self._taken += len(data)
        if self._progress is not None and data:
            self._progress(len(data))
        return data

    def _decompress(self) -> Iterator[bytes]:
        data = self._take()
        if data.startswith(_GZIP_MAGIC):
            yield from self._inflate(data)
        elif data.startswith(_ZSTD_MAGIC):
            yield from self._unzstd(data)
        else:
            yield from self._plain(data)

    def _plain(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield data
            data = self._take()

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        """One member after another; some tools write one for each file."""
        while data:
            decoder = zlib.decompressobj(_GZIP_WINDOW)
            while not decoder.eof:
                try:
                    output = decoder.decompress(data, _OUTPUT_BYTES)
                except zlib.error as error:
                    raise OciError("the layer's gzip is broken") from error
                if output:
                    yield output
                data = decoder.unconsumed_tail
                if not data and not decoder.eof:
                    data = self._take()
                    if not data and not output:
                        raise OciError("the layer's gzip ends in the middle")
            data = decoder.unused_data or self._take()

    def _unzstd(self, data: bytes) -> Iterator[bytes]:
        """One frame after another."""
        zstd = zstd_module()
        while data:
            decoder = zstd.ZstdDecompressor()
            while not decoder.eof:
                try:
                    output: bytes = decoder.decompress(data, _OUTPUT_BYTES)
                except zstd.ZstdError as error:
                    raise OciError("the layer's zstd is broken") from error
                if output:
                    yield output
                data = b""
                if decoder.needs_input and not decoder.eof:
                    data = self._take()
                    if not data:
                        raise OciError("the layer's zstd ends in the middle")
            data = decoder.unused_data or self._take()


def zstd_module() -> Any:
    """The module: Python's own, since 3.14, or the same as a distribution for older ones.

    Raises:
        OciError: when there is neither.
    """
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise OciError(
        "the layer is compressed with zstd, which this Python cannot read",
        hint="install `backports.zstd` beside the daemon, or push the image with gzip layers",
    )
