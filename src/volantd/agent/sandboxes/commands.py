"""Commands that clients run in sandboxes: their ends, how they ended, what becomes of them.

    sandbox_exec ─► forked by the holder ─► descriptors of its pipes to the client ─► code kept

No byte passes through the hub. A command goes on when its client is gone: the daemon holds further
ends of its pipes and throws away what comes then, for nobody can ask for it any more.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from volant import ids
from volant.errors import NotFoundError
from volantd.agent.sandboxes.clocks import Clock
from volantd.hub.sandboxes.record import TERMINATED_CODE
from volantd.runtime.sandboxes.holder import RunSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.sandboxes.checked import Wish
    from volantd.runtime.sandboxes.holder import HeldCommand, Holder

#: Commands of one sandbox whose codes are kept when they have ended.
ENDED_MAX = 1000
#: Of what is thrown away.
READ_BYTES = 64 << 10


def code_of(status: int) -> int:
    """How a shell tells a wait status: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


class Execution:
    """One command, for as long as anybody may ask how it ended."""

    def __init__(self, command: HeldCommand, timeout_s: float | None) -> None:
        self.command = command
        self.is_timed_out = False
        #: the code, once it has ended
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        #: further ends of what it writes to
        self._spare: list[int] = []
        #: stands still while the sandbox does; None for no limit
        self.clock: Clock | None = None
        if timeout_s is not None:
            self.clock = Clock(timeout_s, self._on_timeout)
            self.clock.go()
        command.exited.add_done_callback(self._on_exited)

    def keep_ends(self) -> None:
        """Hold further ends of its output, while the client has its own."""
        spec = self.command.spec
        first = 1 if spec.terminal is None and spec.piped[0] else 0
        self._spare = [os.dup(fd) for fd in self.command.fds[first:]]

    def _on_timeout(self) -> None:
        self.is_timed_out = True
        self.command.end()

    def _on_exited(self, exited: asyncio.Future[int]) -> None:
        if self.clock is not None:
            self.clock.stop()
        while self._spare:
            os.close(self._spare.pop())
        code = TERMINATED_CODE if self.command.was_cut_off else code_of(exited.result())
        self.ended.set_result(code)

    def interrupt(self) -> None:
        """Signal it as Ctrl-C does."""
        self.command.interrupt()

    def hang_up(self) -> None:
        """Let it go on without its client: from now on what it writes is thrown away."""
        loop = asyncio.get_running_loop()
        spare, self._spare = self._spare, []
        for fd in spare:
            os.set_blocking(fd, False)
            loop.add_reader(fd, _throw_away, loop, fd)


def _throw_away(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    try:
        data = os.read(fd, READ_BYTES)
    except BlockingIOError:
        return
    except OSError:  # how Linux says that nobody has a terminal open any more
        data = b""
    if not data:
        loop.remove_reader(fd)
        os.close(fd)


class Executions:
    """The commands of one sandbox."""

    def __init__(
        self, holder: Holder, env: dict[str, str], workdir: str | None,
        on_change: Callable[[], None],
    ) -> None:  # fmt: skip
        """Take what all commands of a sandbox have.

        Args:
            holder: of the sandbox.
            env: variables.
            workdir: where they work; None for where the image says.
            on_change: hears when one more, or one less, runs.
        """
        self._holder = holder
        self._env = env
        self._workdir = workdir
        self._on_change = on_change
        self.count = 0
        self._known: OrderedDict[str, Execution] = OrderedDict()

    async def run(self, wish: Wish, env: dict[str, str]) -> HeldCommand:
        """Run a command, with variables beside the sandbox's own; raises as `Holder.run` does."""
        spec = RunSpec(
            argv=wish.argv, env={**self._env, **env}, cwd=wish.workdir or self._workdir,
            makes_cwd=wish.workdir is None, terminal=wish.terminal, piped=wish.piped,
        )  # fmt: skip
        self.count += 1
        self._on_change()
        try:
            command = await self._holder.run(ids.new_id("cm"), spec)
        except BaseException:
            self._end()
            raise
        command.exited.add_done_callback(lambda _: self._end())
        return command

    def _end(self) -> None:
        self.count -= 1
        self._on_change()

    async def begin(self, wish: Wish, env: dict[str, str]) -> Execution:
        """Run a command that clients can ask for; raises as `run`."""
        execution = Execution(await self.run(wish, env), wish.timeout_s)
        self._known[execution.command.command_id] = execution
        if len(self._known) > ENDED_MAX:
            self._forget_oldest()
        return execution

    def _forget_oldest(self) -> None:
        for command_id, one in self._known.items():
            if one.ended.done():
                del self._known[command_id]
                return

    def stop_clocks(self) -> None:
        """Have the times of commands that run stand still."""
        for clock in self._clocks():
            clock.stop()

    def go_on_with_clocks(self) -> None:
        """Let them go on."""
        for clock in self._clocks():
            clock.go()

    def _clocks(self) -> list[Clock]:
        running = [one for one in self._known.values() if not one.ended.done()]
        return [one.clock for one in running if one.clock is not None]

    def find(self, command_id: str) -> Execution:
        """The command of an id.

        Raises:
            NotFoundError: when there is none, or it ended long ago.
        """
        found = self._known.get(command_id)
        if found is None:
            raise NotFoundError(f"this sandbox knows no command {command_id[:100]!r}")
        return found
