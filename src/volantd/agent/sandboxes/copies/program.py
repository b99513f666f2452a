"""CRIU on this machine, which copies processes: whether it is there, and new enough."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING

from volant.errors import ExecutionError
from volantd.runtime.copies import criu

if TYPE_CHECKING:
    from volantd.runtime.copies.criu import Program

#: The least version that knows how the sockets of a kernel look, the newest kernel first.
VERSIONS = (((6, 16), (4, 2)), ((0, 0), (4, 1)))
#: Until it has said its version.
ANSWER_TIMEOUT_S = 15.0
_NUMBERS = re.compile(r"(\d+)\.(\d+)")


class Criu:
    """What the setting `criu_path` names, or what is installed; looked for when first wanted."""

    def __init__(self, setting: str) -> None:
        """`setting`: a directory in which packages were unpacked; "" for this machine's own."""
        self._setting = setting
        self._program: Program | None = None

    async def program(self) -> Program:
        """Where it is.

        Raises:
            ExecutionError: it is not there, does not work, or is too old for this kernel.
        """
        if self._program is None:
            self._program = await self._looked_for()
        return self._program

    async def _looked_for(self) -> Program:
        wanted = least_version(os.uname().release)
        hint = (
            f"install CRIU {'.'.join(map(str, wanted))} or newer (`apt install criu`), or unpack "
            "it, with its libraries, in a directory that the setting `criu_path` names"
        )
        place = self._setting.rstrip("/")
        program = await asyncio.to_thread(criu.find, place)
        if program is None:
            where = f"in {place}" if place else "on this machine"
            raise ExecutionError(f"processes are copied by CRIU, which is not {where}", hint=hint)
        printed = await _printed(program)
        found = re.search(r"Version: " + _NUMBERS.pattern, printed)
        if found is None:
            said = printed.strip().splitlines()[-1:] or ["nothing"]
            raise ExecutionError(f"CRIU ({program.path}) does not work: {said[0][:200]}", hint=hint)
        version = int(found[1]), int(found[2])
        if version < wanted:
            has = ".".join(map(str, version))
            raise ExecutionError(f"CRIU {has} is too old for Linux {os.uname().release}", hint=hint)
        return program


async def _printed(program: Program) -> str:
    """What it says when it is asked for its version."""
    process = None
    try:
        process = await asyncio.create_subprocess_exec(
            *program.words("--version"), stdin=asyncio.subprocess.DEVNULL, env=criu.ENV,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            printed, _ = await process.communicate()
    except OSError as error:  # TimeoutError is one too
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        return str(error) or "it says nothing"
    return printed.decode("utf-8", "replace")


def least_version(release: str) -> tuple[int, int]:
    """The oldest CRIU that works on a kernel, by what `uname` says of that."""
    found = _NUMBERS.match(release)
    kernel = (int(found[1]), int(found[2])) if found else (0, 0)
    return next(version for since, version in VERSIONS if kernel >= since)
