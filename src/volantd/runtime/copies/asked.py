"""Copies of sandboxes as the agent asks the launcher for them, step by step: see `entering`."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from volant.runner import linux

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from volantd.runtime.cgroup import Cgroup
    from volantd.runtime.containers.forked import ForkedContainer
    from volantd.runtime.copies.criu import Program

#: For one step: gigabytes are written and read again.
STEP_TIMEOUT_S = 300.0


class CopyFailedError(Exception):
    """A step failed; the text says why."""


class Copies:
    """The steps that one launcher carries out."""

    def __init__(self, request: Callable[[dict[str, Any], Sequence[int]], None]) -> None:
        """`request`: sends a message with descriptors, which it closes, to the launcher."""
        self._request = request
        self._count = 0
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def dump(
        self, container: ForkedContainer, program: Program, trees: list[dict[str, Any]]
    ) -> None:
        """Write the memory of trees of processes, which stand still, to directories of images.

        Raises:
            CopyFailedError: with what failed.
        """
        await self._ask(container, "dump", {"program": program.as_fields(), "trees": trees})

    async def restore(
        self, container: ForkedContainer, program: Program, trees: list[dict[str, Any]],
        last_pid: int, cgroup: Cgroup, pipes: list[int],
    ) -> None:  # fmt: skip
        """Have what was dumped be in a sandbox, standing still; raises as `dump`.

        Args:
            container: what holds the sandbox.
            program: CRIU.
            trees: see `entering`.
            last_pid: none of what is restored has a pid beyond it.
            cgroup: the sandbox's.
            pipes: descriptors, which are closed here.
        """
        fields = {
            "program": program.as_fields(), "trees": trees, "last_pid": last_pid,
            "cgroup": {"procs_files": cgroup.procs_files},
        }  # fmt: skip
        await self._ask(container, "restore", fields, pipes)

    async def fill(
        self, container: ForkedContainer, parts: list[tuple[str, str]], first_id: int,
        leave_out: Sequence[str],
    ) -> None:  # fmt: skip
        """Write changes of files into a sandbox in which nothing runs; raises as `dump`.

        Args:
            container: what holds the sandbox.
            parts: directories of this machine, and what they are in the sandbox.
            first_id: what id 0 is in them.
            leave_out: paths in the first of them.
        """
        fields = {"parts": parts, "first_id": first_id, "leave_out": list(leave_out)}
        await self._ask(container, "fill", fields)

    async def _ask(
        self, container: ForkedContainer, step: str, fields: dict[str, Any], fds: Sequence[int] = ()
    ) -> None:
        self._count += 1
        of = f"{container.container_id}.{self._count}"
        done = self._waiting[of] = asyncio.get_running_loop().create_future()
        request = {"op": "copy", "id": of, "step": step, "pid": container.pid, **fields}
        try:
            pidfd = linux.pidfd_open(container.pid)
        except OSError as error:
            for fd in fds:
                os.close(fd)
            del self._waiting[of]
            raise CopyFailedError("it has just ended") from error
        try:
            self._request(request, [pidfd, *fds])
            async with asyncio.timeout(STEP_TIMEOUT_S):
                await asyncio.shield(done)
        except TimeoutError:
            raise CopyFailedError(f"it took longer than {STEP_TIMEOUT_S:g} s") from None
        finally:
            self._waiting.pop(of, None)

    def on_done(self, of: str, reason: str) -> None:
        """Take the launcher's word of how a step went; "" for well."""
        done = self._waiting.get(of)
        if done is None or done.done():
            return
        if reason:
            done.set_exception(CopyFailedError(reason))
            done.exception()  # whoever waits gets it; if nobody does, it is no news
        else:
            done.set_result(None)

    def lose(self) -> None:
        """Note that the launcher is gone."""
        for of in list(self._waiting):
            self.on_done(of, "the launcher is gone")
