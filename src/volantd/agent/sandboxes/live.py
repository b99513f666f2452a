"""One sandbox while it lives: its process, its program, what that prints, and its clocks."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from volantd.agent.containers import ends
from volantd.agent.sandboxes.commands import code_of
from volantd.hub.sandboxes.checked import Wish
from volantd.hub.sandboxes.record import TIMED_OUT_CODE, Ending, Result, State, terminated

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.agent import Running
    from volantd.agent.sandboxes.bases import Base
    from volantd.agent.sandboxes.commands import Executions
    from volantd.agent.sandboxes.output import Output
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.runtime.sandboxes.holder import HeldCommand, Holder


class Live:
    """A sandbox that has not finished."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.base: Base
        self.running: Running | None = None
        self.executions: Executions | None = None
        self.holder: Holder | None = None
        self.main: HeldCommand | None = None
        #: By stream; those of a sandbox without a program are missing.
        self.outputs: dict[str, Output] = {}
        #: Where its program reads from; -1 when that has ended.
        self.stdin = -1
        #: Tunnels of its ports, once somebody has asked: port -> host and port.
        self.tunnels: asyncio.Future[dict[int, tuple[str, int]]] | None = None
        #: How it ends, once that is decided.
        self.ending: Result | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    # -- the end

    def end(self, result: Result) -> None:
        """Have it end; the first reason counts."""
        if self.ending is None:
            self.ending = result
        self.kill()

    def kill(self) -> None:
        """Kill what there is of it."""
        running = self.running
        if running is not None and running.child is not None:
            running.child.forked.kill()

    def result_of(self, running: Running, status: int) -> Result:
        """How it has ended: as was decided, or by what the kernel says."""
        if self.ending is not None:
            return self.ending
        assert running.child is not None
        return terminated(ends.cause_of(running, running.child, status)[1])

    def close(self) -> None:
        """Let go of everything but what its program has printed."""
        for timer in (self._timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        for output in self.outputs.values():
            output.drain()
            output.close()
        self.close_stdin()

    # -- its program

    def wish(self) -> Wish:
        """Its program, as a command."""
        sandbox = self.sandbox
        return Wish(
            argv=(*self.base.entrypoint, *sandbox.argv), env={}, stored=[], workdir=None,
            timeout_s=None, terminal=sandbox.terminal,
        )  # fmt: skip

    def take_main(self, command: HeldCommand, make_output: Callable[[int, str], Output]) -> None:
        """Take its program over, which has begun."""
        self.main = command
        fds, command.fds = command.fds, []
        if command.spec.terminal is not None:
            self.stdin = os.dup(fds[0])
            self.outputs["stdout"] = make_output(fds[0], "stdout")
        else:
            self.stdin = fds[0]
            for fd, stream in zip(fds[1:], ("stdout", "stderr"), strict=True):
                self.outputs[stream] = make_output(fd, stream)
        command.exited.add_done_callback(self._on_main_exited)

    def _on_main_exited(self, exited: asyncio.Future[int]) -> None:
        assert self.main is not None
        for output in self.outputs.values():
            output.drain()
        if not self.main.was_cut_off:
            self.end(Result(ending=Ending.EXITED, code=code_of(exited.result())))
        else:
            self.kill()

    def close_stdin(self) -> None:
        """Close the daemon's end of where its program reads from."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    # -- its clocks

    def start_clocks(self) -> None:
        """Begin to count: it has started."""
        sandbox = self.sandbox
        if sandbox.is_finished:
            return
        text = f"its timeout of {sandbox.timeout_s:g} s is over"
        over = Result(ending=Ending.TIMED_OUT, code=TIMED_OUT_CODE, reason=text)
        self._timer = self._loop.call_later(sandbox.timeout_s, self.end, over)
        self.note_activity()

    def note_activity(self) -> None:
        """Begin to count anew how long nobody has wanted anything of it."""
        idle_s = self.sandbox.idle_timeout_s
        if idle_s is None or self.sandbox.state in (State.CREATED, State.SCHEDULED):
            return
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self.executions is None or self.executions.count <= (self.main is not None):
            text = f"it was idle for {idle_s:g} s"
            self._idle_timer = self._loop.call_later(idle_s, self.end, terminated(text))
