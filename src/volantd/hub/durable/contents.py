"""Memory files made anew of contents that came in some with inputs and results."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volant.wire.memory import memory_file
from volant.wire.payloads import seal

if TYPE_CHECKING:
    from volantd.blobs.files import BlobFiles

_COPY_BYTES = 1 << 20


class ContentLostError(Exception):
    """A content that is named is not there any more."""


def file_of(contents: BlobFiles, digest: str) -> int:
    """A new sealed memory file with a content; blocks.

    Raises:
        ContentLostError: when it is not there.
        OSError: when there is no memory for it.
    """
    content = contents.get(digest)
    if content is None:
        raise ContentLostError(f"the content {digest} is not there any more")
    fd = memory_file()
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest[:_COPY_BYTES]) :]
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd
