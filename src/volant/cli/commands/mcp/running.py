"""A command in a sandbox from its start to its end: what it reads, prints and exits with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volant.cli.commands.mcp.shown import Kept
from volant.sdk.objects.asking import awaited
from volant.sdk.sandboxes.process import TIMED_OUT
from volant.sdk.sandboxes.streams import WRITE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from volant.sdk.sandboxes.sandbox import Sandbox
    from volant.sdk.sandboxes.streams import StreamReader, StreamWriter

#: What a command that has ended may still have in its pipes is waited for this long: something
#: that it left running has them too, and may never close them.
DRAIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended; `code` is None when its time was over."""

    code: int | None
    stdout: Kept
    stderr: Kept


async def run(
    sandbox: Sandbox, words: Sequence[str], *, stdin: str, timeout_s: float,
    workdir: str | None = None, env: Mapping[str, str] | None = None,
) -> Ended:  # fmt: skip
    """Run a command, and keep the beginning and the end of what it prints.

    Raises:
        Error: what kept it from being started.
    """
    process = await sandbox.exec.aio(
        *words, timeout=timeout_s, workdir=workdir, env=env, text=False
    )
    kept = Kept(), Kept()
    feeding = asyncio.create_task(_feed(process.stdin, stdin.encode("utf-8", "replace")))
    readers = [
        asyncio.create_task(_collect(stream, into))
        for stream, into in zip((process.stdout, process.stderr), kept, strict=True)
    ]
    try:
        code = await process.wait.aio()
        await asyncio.wait(readers, timeout=DRAIN_S)
    finally:
        for task in (feeding, *readers):
            task.cancel()
        await asyncio.gather(feeding, *readers, return_exceptions=True)
        process._let_go()
    return Ended(code=None if code == TIMED_OUT else code, stdout=kept[0], stderr=kept[1])


async def _collect(stream: StreamReader[bytes], into: Kept) -> None:
    while data := await awaited(stream._chunk()):
        into.add(data)


async def _feed(stream: StreamWriter, data: bytes) -> None:
    try:
        for start in range(0, len(data), WRITE_BYTES_MAX):
            stream.write(data[start : start + WRITE_BYTES_MAX])
            await stream.drain.aio()
        stream.write_eof()
        await stream.drain.aio()
    except ValueError:
        return  # it has ended, or closed its stdin: what it did not read is nobody's
