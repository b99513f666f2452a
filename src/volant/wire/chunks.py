"""What the content of a file is known by: a hash of it, or of its chunks if it is large.

    up to CHUNK_BYTES     sha256 of the content
    larger                sha256 of its list: the sha256 of each chunk, one a line

So a large file is sent, and compared, chunk by chunk; and chunks that lie in a hole of it need not
even be read.
"""

from __future__ import annotations

import os
from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 4 << 20
#: Contents up to this size are sent, and kept, many together.
SMALL_BYTES = 64 << 10
#: A chunk of zeros, such as holes consist of.
ZERO_DIGEST = sha256(bytes(CHUNK_BYTES)).hexdigest()
_HEAD = b"volant chunks\n"


def digest_of(data: bytes | memoryview) -> str:
    """What a content of one chunk, or a chunk, is known by."""
    return sha256(data).hexdigest()


def list_of(digests: list[str]) -> bytes:
    """The list of a large content's chunks."""
    return _HEAD + "\n".join(digests).encode()


def digests_in(data: bytes) -> list[str]:
    """The chunks in a list.

    Raises:
        ValueError: for what is no such list.
    """
    if not data.startswith(_HEAD):
        raise ValueError("this is no list of chunks")
    digests = data[len(_HEAD) :].decode("ascii").split("\n")
    if any(len(digest) != 64 or not digest.isalnum() for digest in digests):
        raise ValueError("there is something else than chunks in a list")
    return digests


def count_of(size: int) -> int:
    """How many chunks a content has."""
    return -(-size // CHUNK_BYTES)


def pieces(fd: int, size: int) -> Iterator[tuple[int, bytes | None]]:
    """The chunks of a file that is open: offset and data, None for zeros that need no reading.

    A file that has become shorter meanwhile ends with a chunk that is shorter.
    """
    data_at = 0
    for offset in range(0, size, CHUNK_BYTES):
        length = min(CHUNK_BYTES, size - offset)
        if data_at < offset + length:
            data_at = max(data_at, _next_data(fd, max(offset, data_at)))
        if length == CHUNK_BYTES and data_at >= offset + length:
            yield offset, None
        else:
            yield offset, read_at(fd, length, offset)


def _next_data(fd: int, offset: int) -> int:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        # Beyond the last data, or a file system that knows nothing of holes.
        return 1 << 62 if error.errno == 6 else offset


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Bytes of a file; fewer only at its end."""
    parts = []
    while size:
        part = os.pread(fd, size, offset)
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def digest_of_file(fd: int, size: int) -> tuple[str, list[str]]:
    """What the content of an open file is known by, and its chunks if it has several."""
    if size <= CHUNK_BYTES:
        return digest_of(read_at(fd, size, 0)), []
    digests = [ZERO_DIGEST if data is None else digest_of(data) for _, data in pieces(fd, size)]
    return digest_of(list_of(digests)), digests
