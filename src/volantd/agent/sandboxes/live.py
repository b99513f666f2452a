"""One sandbox while it lives: its process, its program, what that prints, and its clocks.

    pause ─► its control group is frozen, its clocks stand ─► resume

It ends while it is paused as at any other time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

from volant.errors import ExecutionError
from volantd import patience
from volantd.agent.containers import ends
from volantd.agent.sandboxes.clocks import Clock
from volantd.agent.sandboxes.commands import code_of
from volantd.hub.sandboxes.checked import Wish
from volantd.hub.sandboxes.record import TIMED_OUT_CODE, Ending, Result, State, terminated

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.containers.running import Running
    from volantd.agent.sandboxes.bases import Base
    from volantd.agent.sandboxes.commands import Executions
    from volantd.agent.sandboxes.output import Output
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.runtime.containers.forked import ForkedContainer
    from volantd.runtime.copies.restored import RestoredProgram
    from volantd.runtime.sandboxes.holder import HeldCommand, Holder
    from volantd.runtime.seat import Place

_AHEAD_OF_START = (State.CREATED, State.SCHEDULED)

#: Of what gVisor says.
COMPLAINT_BYTES_MAX = 2000


class Live:
    """A sandbox that has not finished."""

    def __init__(self, sandbox: Sandbox, host: Live | None = None) -> None:
        """`host`: the sandbox of which this is a sidecar."""
        self.sandbox = sandbox
        self.host = host
        #: Those that have not finished.
        self.sidecars: list[Live] = []
        if host is not None:
            host.sidecars.append(self)
            sandbox.finished.add_done_callback(lambda _: host.sidecars.remove(self))
        self.base: Base
        self.running: Running | None = None
        self.executions: Executions | None = None
        self.holder: Holder | None = None
        self.main: HeldCommand | RestoredProgram | None = None
        #: Its process, where that is known: of a copy.
        self.main_pid = 0
        #: What the kernel calls the pipes of its program, and which of its streams each is.
        self.pipes: dict[str, int] = {}
        #: By stream; those of a sandbox without a program are missing.
        self.outputs: dict[str, Output] = {}
        #: Where its program reads from; -1 when that has ended.
        self.stdin = -1
        #: Tunnels of its ports, once somebody has asked: port -> host and port.
        self.tunnels: asyncio.Future[dict[int, tuple[str, int, bool]]] | None = None
        #: What it waits for before it can be forked; done also when it is told to end.
        self.grant: asyncio.Future[None] | None = None
        #: Called when it is told to end, instead of killing it, and then has that done.
        self.on_ending: Callable[[], None] | None = None
        #: Ports of it that somebody is connected to, by tunnels and by the gateway.
        self._connected_count = 0
        #: Where gVisor says why it does not go on; nothing else is written there.
        self.complaint_fd = -1
        #: How it ends, once that is decided.
        self.ending: Result | None = None
        #: Held by who has it stand still, or go on.
        self.turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._clock: Clock | None = None
        self._idle_clock: Clock | None = None

    # -- the end

    def end(self, result: Result) -> None:
        """Have it end; the first reason counts."""
        is_first = self.ending is None
        if self.ending is None:
            self.ending = result
        if self.grant is not None and not self.grant.done():
            self.grant.set_result(None)
        if self.on_ending is None:
            self.kill()
        elif is_first:
            self.on_ending()

    def kill(self) -> None:
        """Kill what there is of it, and its sidecars."""
        self.end_sidecars()
        running = self.running
        if running is not None and running.child is not None:
            running.child.forked.kill()
            if self.sandbox.is_paused:  # the first freezer lets nobody die
                self._loop.run_in_executor(None, self._thaw)

    def end_sidecars(self) -> list[asyncio.Future[Result]]:
        """Have its sidecars end; done when those that run have."""
        for one in self.sidecars:
            one.end(terminated("its sandbox has ended"))
        return [one.sandbox.finished for one in self.sidecars if one.running is not None]

    def result_of(self, running: Running, status: int) -> Result:
        """How it has ended: as was decided, or by what the kernel says."""
        if self.ending is not None:
            return self.ending
        assert running.child is not None
        text = ends.cause_of(running, running.child, status)[1]
        complaint = self._complaint()
        return terminated(f"{text}: {complaint}" if complaint else text)

    def _complaint(self) -> str:
        """What was said last, as one line."""
        try:
            said = os.read(self.complaint_fd, COMPLAINT_BYTES_MAX)
        except BlockingIOError:
            return ""
        return " ".join(said.decode("utf-8", "replace").split())

    def close(self) -> None:
        """Let go of everything but what its program has printed."""
        self._stop_clocks()
        for output in self.outputs.values():
            output.drain()
            output.close()
        self.close_stdin()
        if self.complaint_fd >= 0:
            os.close(self.complaint_fd)
            self.complaint_fd = -1

    # -- its program

    def wish(self) -> Wish:
        """Its program, as a command."""
        sandbox = self.sandbox
        return Wish(
            argv=(*self.base.entrypoint, *sandbox.argv), env={}, stored=[], workdir=None,
            timeout_s=None, terminal=sandbox.terminal,
        )  # fmt: skip

    def take_main(
        self, command: HeldCommand | RestoredProgram, make_output: Callable[[int, str], Output]
    ) -> None:
        """Take its program over, which has begun."""
        self.main = command
        fds, command.fds = command.fds, []
        names = [f"pipe:[{os.fstat(fd).st_ino}]" for fd in fds]
        self.pipes = {name: number for number, name in enumerate(names)}
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
        elif self.main_pid:
            self.end(terminated("its program has ended, and this kernel does not tell how"))
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
        if self.host is not None:
            self.host.note_activity()
            return
        text = f"its timeout of {sandbox.timeout_s:g} s is over"
        over = Result(ending=Ending.TIMED_OUT, code=TIMED_OUT_CODE, reason=text)
        self._clock = Clock(sandbox.timeout_s, partial(self.end, over))
        self._clock.go()
        self.note_activity()

    def note_activity(self) -> None:
        """Begin to count anew how long nobody has wanted anything of it, or of its sidecars."""
        if self.host is not None:
            self.host.note_activity()
            return
        sandbox = self.sandbox
        idle_s = sandbox.idle_timeout_s
        if idle_s is None or sandbox.is_finished or sandbox.state in _AHEAD_OF_START:
            return
        if self._idle_clock is not None:
            self._idle_clock.stop()
            self._idle_clock = None
        runs = any(one.runs_command for one in (self, *self.sidecars))
        if not runs and not self._connected_count:
            text = f"it was idle for {idle_s:g} s"
            self._idle_clock = Clock(idle_s, partial(self.end, terminated(text)))
            if not sandbox.is_paused:
                self._idle_clock.go()

    @property
    def runs_command(self) -> bool:
        """Whether anything runs in it that somebody has started besides its program."""
        return self.executions is not None and self.executions.count > (self.main is not None)

    def note_connections(self, is_used: bool) -> None:
        """Note that somebody is connected to a port of it, or nobody any more."""
        self._connected_count += 1 if is_used else -1
        self.note_activity()

    def _stop_clocks(self) -> None:
        for clock in (self._clock, self._idle_clock):
            if clock is not None:
                clock.stop()
        if self.executions is not None:
            self.executions.stop_clocks()

    def _go_on_with_clocks(self) -> None:
        for clock in (self._clock, self._idle_clock):
            if clock is not None:
                clock.go()
        if self.executions is not None:
            self.executions.go_on_with_clocks()

    # -- standing still

    async def pause(self) -> None:
        """Have nothing in it run until `resume`, and its clocks stand; it may be paused already.

        Raises:
            ExecutionError: it does not stop, or this machine cannot stop it.
        """
        sandbox = self.sandbox
        async with self.turn:
            if sandbox.is_paused:
                return
            place = self.place
            if place is None or not place.cgroup.can_freeze:
                raise ExecutionError(
                    f"sandbox {sandbox.sandbox_id} cannot be paused: this daemon has no control "
                    "groups that can be frozen",
                    hint="`volant server status` says what this machine lacks",
                )
            await asyncio.shield(place.alone)  # or its zygote would stop as well
            try:
                await patience.on_thread(place.cgroup.freeze)
            except OSError as error:
                text = f"sandbox {sandbox.sandbox_id} cannot be paused: {error}"
                raise ExecutionError(text) from error
            except BaseException:  # nobody waits for it any more
                self._thaw()
                raise
            if self.ending is not None or sandbox.is_finished:
                await patience.on_thread(self._thaw)
                return
            sandbox.is_paused = True
            self._stop_clocks()
        for one in [*self.sidecars]:
            if one.executions is not None:
                await one.pause()

    async def resume(self) -> None:
        """Let what `pause` has stopped go on."""
        async with self.turn:
            if self.sandbox.is_paused:
                await patience.on_thread(self._thaw)
                self.sandbox.is_paused = False
                if self.ending is None:
                    self._go_on_with_clocks()
        for one in [*self.sidecars]:
            if one.executions is not None:
                await one.resume()

    @property
    def place(self) -> Place | None:
        """Its control group; None where there are none."""
        return self.forked.place

    @property
    def forked(self) -> ForkedContainer:
        """Its container, once there is one."""
        assert self.running is not None and self.running.child is not None
        return self.running.child.forked

    def _thaw(self) -> None:
        """On a thread."""
        with contextlib.suppress(OSError):  # it is gone
            if self.place is not None:
                self.place.cgroup.thaw()
