"""Contents that the hub lacks, sent in pieces: sources of apps, and what images are built of."""

from __future__ import annotations

import os

from volant.errors import InvalidError
from volant.sdk.sources import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from volant.channel.channel import Channel

#: Content of one upload frame.
UPLOAD_BYTES = 8 << 20


def _offsets(size: int) -> range:
    """Where the pieces of a content begin; an empty one has a piece as well."""
    return range(0, max(1, size), UPLOAD_BYTES)


def _unchanged(path: str, file: BinaryIO, size: int, digest: str) -> Iterator[bytes]:
    """The pieces of a file; the last only when all are what was promised.

    Raises:
        InvalidError: when they are not.
    """
    seen = sha256()
    for offset in _offsets(size):
        data = file.read(min(UPLOAD_BYTES, size - offset))
        seen.update(data)
        if offset + UPLOAD_BYTES >= size and seen.hexdigest() != digest:
            raise InvalidError(
                f"{path} changed while the app was started", hint="start the app again"
            )
        yield data


def upload(channel: Channel, need: list[str], contents: Mapping[str, str | bytes]) -> None:
    """Send contents that the hub lacks.

    Args:
        channel: to the hub.
        need: which, by digest.
        contents: by digest: themselves, or the paths of files that are.

    Raises:
        InvalidError: when a file is not what it was.
    """
    for digest in need:
        content = contents.get(digest, b"")
        if isinstance(content, bytes):
            pieces = [content[at : at + UPLOAD_BYTES] for at in _offsets(len(content))]
            _send(channel, digest, len(content), pieces)
        else:
            with open(content, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                _send(channel, digest, size, _unchanged(content, file, size, digest))


def _send(channel: Channel, digest: str, size: int, pieces: Iterable[bytes]) -> None:
    for offset, data in zip(_offsets(size), pieces, strict=True):
        channel.tell("upload", sha256=digest, offset=offset, size=size, data=data)
