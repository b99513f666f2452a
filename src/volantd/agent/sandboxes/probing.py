"""Looks whether a sandbox is ready, as often as its probe says: a port, or a command."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from volantd.hub.sandboxes.checked import Wish
from volantd.runtime.client import CommandFailedError

if TYPE_CHECKING:
    from volantd.agent.sandboxes.live import Live
    from volantd.hub.sandboxes.record import Probe
    from volantd.runtime.client import ForkedContainer

#: A connection, and a command, may take so long.
LOOK_TIMEOUT_S = 30.0
#: State of a socket that listens, in the kernel's tables.
_LISTENS = "0A"


async def wait(live: Live, forked: ForkedContainer) -> bool:
    """Return when a sandbox is ready (True) or has ended."""
    probe = live.sandbox.probe
    assert probe is not None
    while live.ending is None and not live.sandbox.is_finished:
        if await (_accepts(forked, probe.port) if probe.port else _succeeds(live, probe)):
            return not live.sandbox.is_finished
        with contextlib.suppress(TimeoutError):  # its end comes in between
            async with asyncio.timeout(probe.interval_s):
                await asyncio.shield(live.sandbox.finished)
    return False


async def _accepts(forked: ForkedContainer, port: int) -> bool:
    if not forked.address:  # a network of its own
        return await asyncio.to_thread(_listens, forked.pid, port)
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(forked.address, port)
    except OSError:  # TimeoutError is one too
        return False
    writer.close()
    return True


def _listens(pid: int, port: int) -> bool:
    """Whether a socket of a process's network listens at a port."""
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{name}", encoding="ascii") as table:
                rows = [line.split() for line in table][1:]
        except OSError:
            continue
        if any(row[3] == _LISTENS and int(row[1].rpartition(":")[2], 16) == port for row in rows):
            return True
    return False


async def _succeeds(live: Live, probe: Probe) -> bool:
    executions = live.executions
    assert executions is not None
    wish = Wish(
        argv=probe.argv, env={}, stored=[], workdir=None, timeout_s=None, terminal=None,
        piped=(False, False, False),
    )  # fmt: skip
    try:
        command = await executions.run(wish, {})
    except (CommandFailedError, OSError):
        return False
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return await asyncio.shield(command.exited) == 0
    except TimeoutError:
        command.end()
        return False
