"""A command in a sandbox from its start to its end: what it reads, prints and exits with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from volant.cli.commands.mcp.shown import Kept
from volant.sdk.objects.asking import awaited
from volant.sdk.sandboxes.process import TIMED_OUT
from volant.sdk.sandboxes.streams import WRITE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from volant.sdk.sandboxes.process import ContainerProcess
    from volant.sdk.sandboxes.sandbox import Sandbox
    from volant.sdk.sandboxes.streams import StreamReader, StreamWriter

#: What a command that has ended may still have in its pipes is waited for this long: something
#: that it left running has them too, and may never close them.
DRAIN_S = 0.5
#: Commands that are being killed; who holds no task may lose it.
_KILLING: set[asyncio.Task[None]] = set()


class Printed:
    """What a command has printed so far, the beginning and the end of each stream."""

    def __init__(self) -> None:
        self.stdout, self.stderr = Kept(), Kept()

    def in_words(self) -> str:
        """How much it is, and its last line, which is data from the sandbox."""
        size = self.stdout.size + self.stderr.size
        if not size:
            return ""
        line = self.stdout.last_line() or self.stderr.last_line()
        return f"{size} bytes printed" + (f", the last line: {line}" if line else "")


async def run(
    sandbox: Sandbox, words: Sequence[str], printed: Printed, *, stdin: str, timeout_s: float,
    workdir: str | None = None, env: Mapping[str, str] | None = None,
) -> int | None:  # fmt: skip
    """Run a command to its end, or until its time is over; kills it when cancelled meanwhile.

    Args:
        printed: gets what it prints.

    Returns:
        Its exit code, None when its time was over.

    Raises:
        Error: what kept it from being started.
    """
    starting = asyncio.ensure_future(
        sandbox.exec.aio(*words, timeout=timeout_s, workdir=workdir, env=env, text=False)
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_kill_begun)
        raise
    feeding = asyncio.create_task(_feed(process.stdin, stdin.encode("utf-8", "replace")))
    streams = ((process.stdout, printed.stdout), (process.stderr, printed.stderr))
    readers = [asyncio.create_task(_collect(stream, into)) for stream, into in streams]
    try:
        code = await process.wait.aio()
        await asyncio.wait(readers, timeout=DRAIN_S)
    except asyncio.CancelledError:
        _kill(process)
        raise
    finally:
        for task in (feeding, *readers):
            task.cancel()
        await asyncio.gather(feeding, *readers, return_exceptions=True)
        process._let_go()
    return None if code == TIMED_OUT else code


def _kill_begun(starting: asyncio.Future[ContainerProcess[bytes]]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        _kill(starting.result())
        starting.result()._let_go()


def _kill(process: ContainerProcess[bytes]) -> None:
    """Have a command killed by a task of its own: who is cancelled cannot wait any more."""
    task = asyncio.create_task(process._kill.aio(), name="kill-command")
    _KILLING.add(task)
    task.add_done_callback(_KILLING.discard)
    task.add_done_callback(lambda _: task.cancelled() or task.exception())  # its sandbox has ended


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
