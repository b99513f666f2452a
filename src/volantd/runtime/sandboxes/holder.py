"""The holder of a sandbox as the agent sees it: asked for commands, which it starts.

    agent --RUN + descriptors, on the channel of the container--> holder --spawn--> the command
          <--a channel of the command's own------------------------'

A command is born where it has to run, in the sandbox's control group and behind its filter; moving
one there would take longer than all the rest. The holder is as hostile as what it holds: of what it
sends only a terminal's descriptor and a wait status are taken. What it holds may stop it by a
signal; one that is stopped when a command has to end is killed, and the sandbox with it.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import tty
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volant.runner import command as inside, control
from volant.runner.sandboxes.holding import KILL
from volantd.descriptors import is_leader
from volantd.runtime.command import CommandFailedError
from volantd.runtime.messages.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.runtime.containers.forked import ForkedContainer

#: Until a terminal is there, on a machine that is far too busy.
START_TIMEOUT_S = 30.0
#: How often it is looked whether a holder is stopped that has to end a command.
LOOK_EVERY_S = 1.0
#: On a kernel of its own a holder is taken for stopped that has not ended a command within so long.
GIVE_UP_S = 15.0
#: What a pipe may hold: this much a command is ahead of who reads it.
PIPE_BYTES = 256 << 10
#: What is on its way between a client and who serves it files.
FILES_BUFFER_BYTES = 1 << 20
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What is run.

    Attributes:
        argv: the program, by path or name, and its arguments.
        env: all its variables.
        cwd: where it works; None for where the image says.
        makes_cwd: whether that is made if it is not there.
        terminal: rows and columns of its terminal; None: pipes instead.
        piped: which of stdin, stdout and stderr are pipes; the others are /dev/null.
    """

    argv: Sequence[str]
    env: dict[str, str]
    cwd: str | None
    makes_cwd: bool
    terminal: tuple[int, int] | None
    piped: tuple[bool, bool, bool] = (True, True, True)


class HeldCommand:
    """One command. Made by `Holder.run`.

    Attributes:
        command_id: of its own.
        fds: our ends: of the terminal, or of what is piped of stdin, stdout and stderr, in this
            order. The caller's to close.
        exited: its wait status; SIGKILL when nobody could tell.
        was_cut_off: whether that is so: the sandbox has ended.
    """

    def __init__(
        self, command_id: str, spec: RunSpec, forked: ForkedContainer, *, relays: bool = False
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._forked = forked
        self._relays = relays
        self._deadline = 0.0
        self.command_id = command_id
        self.spec = spec
        self.fds: list[int] = []
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self.was_cut_off = False
        self._terminal: asyncio.Future[None] | None = None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        #: The sandbox's ends; they go with the request.
        self.their_fds = [theirs.detach()]
        if spec.terminal is None:
            self._make_pipes()
        elif relays:
            self._make_terminal(*spec.terminal)
        else:
            self._terminal = self._loop.create_future()
        self._loop.add_reader(self._channel, self._on_readable)

    def _make_pipes(self) -> None:
        for number, is_piped in enumerate(self.spec.piped):
            if not is_piped:
                self.their_fds.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
                continue
            reads, writes = os.pipe2(os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # this user has as many large ones as he may
                fcntl.fcntl(reads, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self.fds.append(reads if number else writes)
            self.their_fds.append(writes if number else reads)

    def _make_terminal(self, rows: int, columns: int) -> None:
        """A terminal of this machine that changes nothing: the one in there does what they do."""
        leader, terminal = os.openpty()
        tty.setraw(terminal)
        inside.set_size(leader, rows, columns)
        self.fds.append(leader)
        self.their_fds.append(terminal)

    def request(self) -> bytes:
        """What the holder is asked."""
        spec = self.spec
        fields = {
            "argv": list(spec.argv), "env": spec.env, "cwd": spec.cwd,
            "makes_cwd": spec.makes_cwd,
            "terminal": None if spec.terminal is None else list(spec.terminal),
        }  # fmt: skip
        return control.pack(control.RUN, fields, len(self.their_fds))

    async def have_ends(self) -> None:
        """Return when `fds` are there; with pipes they are from the start.

        Raises:
            CommandFailedError: it has ended before it had a terminal.
        """
        if self._terminal is None:
            return
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._terminal
        except TimeoutError:
            self._end(signal.SIGKILL, cut_off=True)
            text = f"it had no terminal within {START_TIMEOUT_S:g} s"
            raise CommandFailedError(text) from None

    def interrupt(self) -> None:
        """Signal it, and what it runs, as Ctrl-C on a terminal of its own would."""
        self._say(inside.INTERRUPT)

    def end(self) -> None:
        """Kill it, with all of its group; `exited` tells as after any other end."""
        self._say(KILL)
        self._await_end(GIVE_UP_S)

    def hang_up(self) -> None:
        """End it: by a signal, by force when that does not help."""
        if not self.exited.done():
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)
            self._await_end(inside.HANG_UP_S + GIVE_UP_S)

    def _await_end(self, within_s: float) -> None:
        self._deadline = self._loop.time() + within_s
        self._loop.call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        """See to it that who has to end it can."""
        if self.exited.done():
            return
        is_late = self._relays and self._loop.time() > self._deadline
        if is_late or _is_stopped(self._forked.pid):
            self._forked.kill()
        self._loop.call_later(LOOK_EVERY_S, self._look)

    def cut_off(self) -> None:
        """Note that its sandbox has ended."""
        self._on_readable()  # how it ended may have been told before
        self._end(signal.SIGKILL, cut_off=True)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it has just ended
            self._channel.send(word)

    # -- what the holder says

    def _on_readable(self) -> None:
        if self.exited.done():
            return
        try:
            data, ancillary, _, _ = self._channel.recvmsg(
                inside.MESSAGE_BYTES_MAX, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        fds = array.array("i")
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
        self._on_message(data[:1], data[1:], fds)
        for fd in fds:
            os.close(fd)

    def _on_message(self, word: bytes, rest: bytes, fds: array.array[int]) -> None:
        terminal = self._terminal
        if word == inside.TERMINAL and terminal is not None and not terminal.done():
            if len(fds) == 1 and is_leader(fds[0]):
                self.fds.append(fds.pop())
                terminal.set_result(None)
        elif word == inside.STATUS and len(rest) == 4:
            status = int.from_bytes(rest, "little") & 0xFFFF
            has_ended = os.WIFEXITED(status) or os.WIFSIGNALED(status)
            self._end(status if has_ended else signal.SIGKILL, cut_off=False)
        else:  # the end of the channel, or nothing that a holder says
            self._end(signal.SIGKILL, cut_off=True)

    def _end(self, status: int, *, cut_off: bool) -> None:
        if self.exited.done():
            return
        self._loop.remove_reader(self._channel)
        self._channel.close()
        self.was_cut_off = cut_off
        if self._terminal is not None and not self._terminal.done():
            self._terminal.set_exception(CommandFailedError("it ended before it ran"))
            self._terminal.exception()  # whoever waits hears of it
        self.exited.set_result(status)


def _is_stopped(pid: int) -> bool:
    """Whether a signal has stopped a process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False


class Holder:
    """Has commands run in one sandbox."""

    def __init__(self, forked: ForkedContainer, *, relays: bool = False) -> None:
        """`relays`: it can hand nothing out, and copies bytes to terminals of ours instead."""
        self._forked = forked
        self._relays = relays
        self._socket = forked.channel
        self._loop = asyncio.get_running_loop()
        self._outgoing = Outgoing(self._socket, self._loop, self.close)
        self._commands: set[HeldCommand] = set()
        self._closed = False

    async def run(self, command_id: str, spec: RunSpec) -> HeldCommand:
        """Have a command run; returns when its ends are there.

        Raises:
            CommandFailedError: with what went wrong.
            OSError: there can be no pipes.
        """
        if self._closed or self._forked.exited.done():
            raise CommandFailedError("the sandbox has ended")
        command = HeldCommand(command_id, spec, self._forked, relays=self._relays)
        self._commands.add(command)
        command.exited.add_done_callback(lambda _: self._commands.discard(command))
        self._outgoing.send(command.request(), command.their_fds)
        await command.have_ends()
        return command

    def boot(self, memory_bytes: int | None) -> None:
        """Have gVisor booted, to hold the sandbox from then on; what is wanted of it may follow.

        Args:
            memory_bytes: the most that each of its processes may have; None for no such limit.
        """
        self._outgoing.send(control.pack(control.BOOT, {"memory_bytes": memory_bytes}), [])

    def lend_files(self) -> int:
        """Have files served on a socket; the client's end, which is the caller's to close.

        Raises:
            CommandFailedError: when the sandbox has ended.
            OSError: there can be no socket.
        """
        if self._closed or self._forked.exited.done():
            raise CommandFailedError("the sandbox has ended")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FILES_BUFFER_BYTES)
        self._outgoing.send(control.pack(control.FILES, {}, 1), [theirs.detach()])
        return ours.detach()

    def close(self) -> None:
        """Let go of it, and of all its commands."""
        if self._closed:
            return
        self._closed = True
        self._outgoing.drop()
        self._socket.close()
        for command in list(self._commands):
            command.cut_off()
