"""A command in a container as the agent sees it: asked of the container's zygote, then watched.

    start(...) -> Command, with our ends of its terminal or pipes -> .exited
                          .interrupt(): Ctrl-C   .hang_up(): whoever wanted it is gone

No process with rights of the host enters a container: the zygote forks the command into it as it
forks containers, with the same confinement. Its keeper says everything else over a channel of its
own, and is as hostile as what it keeps: of what it sends only a terminal's descriptor is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volant.runner import command as inside, control, linux
from volantd.descriptors import is_leader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    #: Puts a process, by its pid, under the limits of its container.
    Admit = Callable[[int], Awaitable[None]]

#: Until a command has to run, on a machine that is far too busy.
START_TIMEOUT_S = 30.0
#: What is hung up on and whose keeper does not see to its end is killed after this.
KILL_AFTER_S = 2 * inside.HANG_UP_S
_ANCILLARY_BYTES = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4)


class CommandFailedError(Exception):
    """A command could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """What is run.

    Attributes:
        argv: the program, by path or name, and its arguments.
        env: variables beside the container's own.
        terminal: rows and columns of its terminal; None: pipes instead.
        limits: as for `Zygote.fork`.
    """

    argv: Sequence[str]
    env: dict[str, str]
    terminal: tuple[int, int] | None
    limits: dict[str, int]


class Command:
    """One command. Made by `Zygote.run`.

    Attributes:
        command_id: of its own.
        pid: of its keeper, on the host.
        fds: our ends: of the terminal, or of stdin, stdout and stderr. The caller's to close.
        exited: its wait status; SIGKILL when nobody could tell.
        was_cut_off: whether that is so: its container has ended, or its keeper.
    """

    def __init__(self, command_id: str, spec: CommandSpec, *, opens_terminal: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self.command_id = command_id
        self.spec = spec
        self.pid = 0
        self.fds: list[int] = []
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self.was_cut_off = False
        self._pidfd = -1
        self._hello: asyncio.Future[int] = self._loop.create_future()
        self._runs: asyncio.Future[None] = self._loop.create_future()
        self._waits_for_terminal = spec.terminal is not None and opens_terminal
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        #: The container's ends; they go with the request.
        self.their_fds = [theirs.detach()]
        if spec.terminal is None:
            self._make_pipes()
        elif not opens_terminal:
            leader, terminal = os.openpty()
            self.fds.append(leader)
            self.their_fds.append(terminal)
        self._loop.add_reader(self._channel, self._on_readable)

    def _make_pipes(self) -> None:
        for number in range(3):
            reads, writes = os.pipe2(os.O_CLOEXEC)
            self.fds.append(reads if number else writes)
            self.their_fds.append(writes if number else reads)

    def request(self, container_id: str) -> bytes:
        """What its container's zygote is asked."""
        spec = self.spec
        fields = {
            "id": self.command_id, "container": container_id, "argv": list(spec.argv),
            "env": spec.env, "limits": spec.limits,
            "terminal": None if spec.terminal is None else list(spec.terminal),
        }  # fmt: skip
        return control.pack(control.COMMAND, fields, len(self.their_fds))

    async def start(self, admit: Admit) -> None:
        """Return when it is about to run.

        Args:
            admit: called with the pid of its keeper.

        Raises:
            CommandFailedError: with what went wrong.
        """
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                self.pid = await self._hello
                with contextlib.suppress(OSError):
                    self._pidfd = linux.pidfd_open(self.pid)
                await admit(self.pid)
                self._channel.send(inside.GO)
                await self._runs
        except BaseException as error:
            self.kill()
            self.close_fds()
            self._end(signal.SIGKILL)
            if isinstance(error, TimeoutError):
                text = f"it did not run within {START_TIMEOUT_S:g} s"
                raise CommandFailedError(text) from None
            if isinstance(error, OSError):
                raise CommandFailedError(str(error)) from error
            raise

    def interrupt(self) -> None:
        """Signal it, and what it runs, as Ctrl-C on a terminal of its own would."""
        with contextlib.suppress(OSError):  # it has just ended
            self._channel.send(inside.INTERRUPT)

    def hang_up(self) -> None:
        """End it: by a signal, by force when that does not help."""
        if self.exited.done():
            return
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        self._loop.call_later(KILL_AFTER_S, self.kill)

    def kill(self) -> None:
        """Kill its keeper, and with that the command."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                linux.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close_fds(self) -> None:
        """Close our ends, unless somebody took them."""
        while self.fds:
            os.close(self.fds.pop())

    def fail(self, reason: str) -> None:
        """Note that it cannot be started."""
        for waiting in (self._hello, self._runs):
            if not waiting.done():
                waiting.set_exception(CommandFailedError(reason))
                waiting.exception()  # whoever waits hears of it

    # -- what its keeper says

    def _on_readable(self) -> None:
        flags = socket.MSG_CMSG_CLOEXEC
        try:
            data, ancillary, _, _ = self._channel.recvmsg(
                inside.MESSAGE_BYTES_MAX, _ANCILLARY_BYTES, flags
            )
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        pid, fds = 0, array("i")
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = int.from_bytes(raw[:4], sys.byteorder)
            elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
        self._on_message(data[:1], data[1:], pid, fds)
        for fd in fds:
            os.close(fd)

    def _on_message(self, word: bytes, rest: bytes, pid: int, fds: array[int]) -> None:
        if word == inside.HELLO and not self._hello.done() and pid:
            self._hello.set_result(pid)
        elif word == inside.RUNS and not self._waits_for_terminal:
            self._note_run()
        elif word == inside.TERMINAL and self._waits_for_terminal and len(fds) == 1:
            if is_leader(fds[0]):
                self._waits_for_terminal = False
                self.fds.append(fds.pop())
                self._note_run()
        elif word == inside.STATUS and len(rest) == 4:
            status = int.from_bytes(rest, "little") & 0xFFFF
            has_ended = os.WIFEXITED(status) or os.WIFSIGNALED(status)
            self._end(status if has_ended else signal.SIGKILL)
        else:  # a complaint, the end of the channel, or nothing that a keeper says
            complaint = rest.decode("utf-8", "replace") if word == inside.FAILED else ""
            self.fail(complaint or "it died before it ran")
            self.was_cut_off = True
            self._end(signal.SIGKILL)

    def _note_run(self) -> None:
        if not self._runs.done():
            self._runs.set_result(None)

    def _end(self, status: int) -> None:
        if self.exited.done():
            return
        self._loop.remove_reader(self._channel)
        self._channel.close()
        self.exited.set_result(status)
        self.kill()  # it has nothing left to do, or does what it should not
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
