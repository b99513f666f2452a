"""Files of sandboxes for a client: whole ones of a bounded size, and lists of a bounded length.

What a sandbox says of itself is no promise, so bounds hold for what comes and not for what is told.
"""

from __future__ import annotations

import base64
import binascii
import functools
from io import BytesIO
from typing import TYPE_CHECKING

from volant.errors import InvalidError, SandboxFilesystemFileTooLargeError
from volant.sdk.objects.asking import awaited
from volant.sdk.sandboxes.files import transferring
from volant.sdk.sandboxes.files.filesystem import checked_path

if TYPE_CHECKING:
    from typing import Literal

    from volant.sdk.sandboxes.files.info import FileInfo
    from volant.sdk.sandboxes.sandbox import Sandbox

    Encoding = Literal["utf-8", "base64"]

#: Bytes of a file that a client reads or writes at once.
FILE_BYTES_MAX = 256 << 10
#: Entries of a directory that a client is told of.
ENTRIES_MAX = 500


async def read(sandbox: Sandbox, path: str) -> bytes:
    """The content of a file.

    Raises:
        InvalidError: for one larger than `FILE_BYTES_MAX`, and for a path that is not absolute.
        SandboxFilesystemError: what kept it from being read.
    """
    kept, path = BytesIO(), checked_path(path)
    reading = functools.partial(transferring.read, path=path, most=FILE_BYTES_MAX, take=kept.write)
    try:
        size = await awaited(sandbox.filesystem._do(path, reading))
    except SandboxFilesystemFileTooLargeError:  # so it says; else it is told by what comes
        size = None
    if size is None:
        raise InvalidError(
            f"{path} has more than {FILE_BYTES_MAX} bytes", hint="exec shows a part of it: head -c"
        )
    return kept.getvalue()


async def write(sandbox: Sandbox, path: str, content: str, encoding: Encoding) -> int:
    """Write a file; returns its size in bytes.

    Raises:
        InvalidError: for more than `FILE_BYTES_MAX`, for what is no base64, and for a path that is
            not absolute.
        SandboxFilesystemError: what kept it from being written.
    """
    try:
        data = (
            base64.b64decode(content, validate=True)
            if encoding == "base64"
            else content.encode("utf-8")
        )
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InvalidError(f"the content is no {encoding}") from error
    if len(data) > FILE_BYTES_MAX:
        raise InvalidError(
            f"the content has {len(data)} bytes, at most {FILE_BYTES_MAX}",
            hint="write it in parts, and join them by exec",
        )
    await sandbox.filesystem.write_bytes.aio(data, path)
    return len(data)


async def entries(sandbox: Sandbox, path: str) -> tuple[list[FileInfo], int]:
    """At most `ENTRIES_MAX` of a directory, and how many were left out.

    Raises:
        InvalidError: for a path that is not absolute.
        SandboxFilesystemError: what kept it from being listed.
    """
    found = await sandbox.filesystem.list_files.aio(path)
    return found[:ENTRIES_MAX], max(0, len(found) - ENTRIES_MAX)
