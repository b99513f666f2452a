"""Programs of this machine that building needs: started, listened to, and awaited to their end.

They run with the rights of the daemon, so only programs that the machine's owner installed are run
here, and never one of an image.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from volant.errors import ImageBuildError

if TYPE_CHECKING:
    from volantd.images.workbench import Say

#: How long a program of this machine may take.
TIMEOUT_S = 1800.0
#: What is read of its output at once, and kept of it at most.
_READ_BYTES = 64 << 10
_OUTPUT_BYTES_MAX = 64 << 20
#: What of its output an error shows.
_SHOWN_CHARS = 2000


async def output_of(*argv: str, say: Say | None = None, timeout_s: float = TIMEOUT_S) -> str:
    """Run a program, found as a shell would find it; what it writes to its standard output.

    Args:
        argv: its words.
        say: hears all that it prints, errors too; without, errors are only told when it fails.

    Raises:
        ImageBuildError: when it is not there, fails, or takes too long, with what it printed last.
    """
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/env", "LC_ALL=C", *argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe,
            stderr=pipe, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise ImageBuildError(f"`{argv[0]}` cannot be started: {error}") from error
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout_s):
            printed, complaint = await asyncio.gather(
                _read(process.stdout, say), _read(process.stderr, say)
            )
            code = await process.wait()
    except TimeoutError:
        raise ImageBuildError(f"`{argv[0]}` took longer than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads a group: what it started goes too
            await process.communicate()
    if code:
        shown = (complaint or printed).decode("utf-8", "replace").strip()[-_SHOWN_CHARS:]
        name = " ".join(word for word in argv if "=" not in word)[:_SHOWN_CHARS]
        raise ImageBuildError(f"`{name}` on this machine ended with exit code {code}: {shown}")
    return printed.decode("utf-8", "replace")


async def _read(stream: asyncio.StreamReader, say: Say | None) -> bytes:
    """All that comes, as far as it is kept."""
    kept = bytearray()
    while data := await stream.read(_READ_BYTES):
        if say is not None:
            say(data)
        kept += data[: _OUTPUT_BYTES_MAX - len(kept)]
    return bytes(kept)
