"""Copies of sandboxes: another one with the same memory, processes and files.

    a new sandbox, as any other, without a program
    the old one: all of it stopped at one instant ─► memory to images ─► files into the new one
                 ─► goes on
    the new one: memory from the images, in its own control group and namespaces ─► goes on

Nothing of the old one is shared afterwards. Connections to it, and streams of its commands, stay
its own: in the new one they are closed, or lead nowhere; only its program has streams again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

from volant.errors import ExecutionError, InvalidError
from volantd import patience
from volantd.agent.sandboxes.copies.taking import look_at
from volantd.agent.sandboxes.snapshots import ITS_OWN
from volantd.runtime.copies import scanning
from volantd.runtime.copies.asked import CopyFailedError
from volantd.runtime.copies.entering import first_id_of
from volantd.runtime.copies.restored import RestoredProgram
from volantd.runtime.sandboxes.holder import PIPE_BYTES, RunSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from volantd.agent.bare import Machine
    from volantd.agent.sandboxes.copies.program import Criu
    from volantd.agent.sandboxes.copies.taking import Taken
    from volantd.agent.sandboxes.live import Live
    from volantd.runtime.cgroup import Cgroup
    from volantd.runtime.containers.forked import ForkedContainer

    #: Copies files, of which it is told what holds the sandbox, and where they lie.
    CopyFiles = Callable[[ForkedContainer, list[tuple[str, str]]], Awaitable[None]]

#: Where memory lies while it is copied, in the directory of the run.
DIRECTORY = "copies"
#: What is known of a program that was restored: it has pipes.
_SPEC = RunSpec(argv=(), env={}, cwd=None, makes_cwd=False, terminal=None)


class Copier:
    """Takes what is in sandboxes of this machine, and brings it into others."""

    def __init__(self, machine: Machine, criu: Criu) -> None:
        self._machine = machine
        self._criu = criu

    async def check(self, live: Live, *, has_images: bool) -> None:
        """Find out whether a sandbox can be copied.

        Args:
            live: the sandbox.
            has_images: whether images were mounted in it while it ran.

        Raises:
            InvalidError: by what it was created with, it cannot.
            ExecutionError: this machine cannot copy any.
        """
        sandbox, function = live.sandbox, live.sandbox.function
        which = f"sandbox {sandbox.sandbox_id} cannot be copied"
        if not function.version.block_network:
            raise InvalidError(
                f"{which}: its connections are this machine's",
                hint="create it with block_network=True, or with a list of whom it may reach, such "
                "as outbound_cidr_allowlist=['0.0.0.0/0'] for the whole internet",
            )
        reasons = {
            "what it wrote to its volumes is not copied": function.options["volumes"],
            "images were mounted in it": has_images,
            "it has a GPU": function.options["gpu"],
            "its program has a terminal": sandbox.terminal,
        }
        for reason, applies in reasons.items():
            if applies:
                raise InvalidError(f"{which}: {reason}")
        if os.geteuid() != 0 or live.place is None or not live.place.cgroup.can_freeze:
            raise ExecutionError(
                f"{which}: that needs a daemon of root, with control groups that can be frozen",
                hint="`volant server status` says what this machine lacks",
            )
        await self._criu.program()

    def new_place(self) -> str:
        """A directory that goes with the run."""
        place = os.path.join(self._machine.launcher.run_dir, DIRECTORY, token_hex(8))
        os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
        os.mkdir(place, 0o700)
        return place

    async def move(self, source: Live, live: Live) -> RestoredProgram | None:
        """Have what runs in a sandbox run in another one too, in which nothing has run.

        Returns:
            The program of the other one, if there is one.

        Raises:
            ExecutionError: with what went wrong; the first one goes on.
        """

        async def fill(old: ForkedContainer, parts: list[tuple[str, str]]) -> None:
            copies, first_id = self._machine.launcher.copies, first_id_of(old.pid)
            await copies.fill(container_of(live), parts, first_id, ITS_OWN)

        place = self.new_place()
        try:
            taken = await self.take(source, place, fill)
            return await self.bring(live, taken)
        finally:
            await patience.on_thread(shutil.rmtree, place, ignore_errors=True)

    async def take(self, source: Live, place: str, copy_files: CopyFiles) -> Taken:
        """Write memory and files of one instant.

        Args:
            source: the sandbox.
            place: a directory for the memory.
            copy_files: copies the files.

        Raises:
            ExecutionError: with what went wrong; the sandbox goes on.
        """
        program = await self._criu.program()
        old = container_of(source)
        cgroup = _cgroup(old)
        async with source.turn:
            was_paused = source.sandbox.is_paused
            try:
                stop = partial(scanning.stop, cgroup, old.pid, is_frozen=was_paused)
                stopped = await patience.on_thread(stop)
                try:
                    look = partial(look_at, source, old, cgroup, set(stopped), place)
                    taken = await patience.on_thread(look)
                    if taken.trees:
                        trees = [one.as_dumped() for one in taken.trees]
                        await self._machine.launcher.copies.dump(old, program, trees)
                    parts = scanning.parts_of(old.pid, old.scratch_path)
                    await copy_files(old, parts)
                finally:
                    await patience.on_thread(_let_go, cgroup, stopped, was_paused)
            except (CopyFailedError, OSError) as error:
                text = f"sandbox {source.sandbox.sandbox_id} cannot be copied: {error}"
                raise ExecutionError(text) from error
        return taken

    async def fill(self, live: Live, parts: Sequence[tuple[str, str]], first_id: int) -> None:
        """Write files into a sandbox in which nothing has run.

        Raises:
            CopyFailedError: with what went wrong.
        """
        copies = self._machine.launcher.copies
        await copies.fill(container_of(live), list(parts), first_id, ITS_OWN)

    async def bring(self, live: Live, taken: Taken) -> RestoredProgram | None:
        """Have what was taken run in a sandbox; its program, if there is one.

        Raises:
            ExecutionError: with what went wrong.
        """
        if not taken.trees:
            return None
        try:
            return await self._bring(live, taken)
        except (CopyFailedError, OSError) as error:
            text = f"sandbox {live.sandbox.sandbox_id} cannot be made of a copy: {error}"
            raise ExecutionError(text) from error

    async def _bring(self, live: Live, taken: Taken) -> RestoredProgram | None:
        new, program = container_of(live), await self._criu.program()
        cgroup = _cgroup(new)
        ours, theirs = ([], []) if taken.main is None else _pipes()
        command = None
        try:
            trees = [one.as_restored() for one in taken.trees]
            copies = self._machine.launcher.copies
            await copies.restore(new, program, trees, taken.last_pid, cgroup, theirs)
            there = await patience.on_thread(scanning.processes, cgroup)
            by_inner = {one.inner: one.pid for one in there}
            if taken.main is not None:
                live.main_pid = by_inner.get(taken.main, 0)
                if not live.main_pid or live.ending is not None:
                    raise CopyFailedError("it has just ended")
                command = RestoredProgram(live.main_pid, _SPEC, ours)
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        scanning.let_go([pid for inner, pid in by_inner.items() if inner in taken.running])
        return command


def _let_go(cgroup: Cgroup, stopped: list[int], was_paused: bool) -> None:
    """On a thread: let those that were stopped go on, or stay frozen as they were."""
    if was_paused:
        cgroup.freeze()
    scanning.let_go(stopped)


def _pipes() -> tuple[list[int], list[int]]:
    """Stdin, stdout and stderr of a program: our ends and its ends."""
    ours, theirs = [], []
    for number in range(3):
        reads, writes = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(reads, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        ours.append(reads if number else writes)
        theirs.append(writes if number else reads)
    return ours, theirs


def container_of(live: Live) -> ForkedContainer:
    """What holds a sandbox that was forked."""
    assert live.running is not None and live.running.child is not None
    return live.running.child.forked


def _cgroup(container: ForkedContainer) -> Cgroup:
    if container.place is None:
        raise CopyFailedError("it has no control group")
    return container.place.cgroup
