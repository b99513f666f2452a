"""`ContainerProcess`: a command that runs in a sandbox, its streams and its end."""

from __future__ import annotations

import os
import select
import sys

from volant.errors import InvalidError
from volant.sdk.generics import Generic, T
from volant.sdk.objects.asking import ask, both
from volant.sdk.sandboxes.streams import (
    NoSource,
    PipeSource,
    StreamReader,
    StreamType,
    StreamWriter,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.sdk.objects.asking import Steps

#: What `returncode` is of a command that took longer than it was given.
TIMED_OUT = -1
_COPY_BYTES = 64 << 10


class ContainerProcess(Generic[T]):
    """A command in a sandbox. It goes on when this process ends."""

    def __init__(
        self, sandbox_id: str, reply: dict[str, Any], outputs: tuple[int, int], *, is_text: bool,
        has_terminal: bool,
    ) -> None:  # fmt: skip
        """Take the descriptors of a reply over; `outputs` are `StreamType`s."""
        self._sandbox_id = sandbox_id
        self._command_id: str = reply["command_id"]
        self._has_terminal = has_terminal
        self._code: int | None = None
        fds: list[int] = reply["fds"]
        self._stdin = StreamWriter(fds[0])
        sources: list[PipeSource | NoSource] = [NoSource(), NoSource()]
        if has_terminal:
            sources[0] = PipeSource(os.dup(fds[0]))
        for number, fd in zip(
            [n for n in (0, 1) if outputs[n] != StreamType.DEVNULL], fds[1:], strict=False
        ):
            if outputs[number] == StreamType.STDOUT:
                _copy_on(fd, number)
            else:
                sources[number] = PipeSource(fd)
        self._stdout: StreamReader[T] = StreamReader(sources[0], is_text=is_text)
        self._stderr: StreamReader[T] = StreamReader(sources[1], is_text=is_text)

    def __repr__(self) -> str:
        return f"<volant.ContainerProcess {self._command_id!r} of {self._sandbox_id!r}>"

    @property
    def stdin(self) -> StreamWriter:
        """What it reads."""
        return self._stdin

    @property
    def stdout(self) -> StreamReader[T]:
        """What it prints; with a terminal all of it."""
        return self._stdout

    @property
    def stderr(self) -> StreamReader[T]:
        """What it prints to standard error; nothing with a terminal."""
        return self._stderr

    @property
    def returncode(self) -> int:
        """Its exit code: 128 + n when signal n ended it, -1 after its timeout.

        Raises:
            InvalidError: before `wait` or `poll` has told that it has ended.
        """
        if self._code is None:
            raise InvalidError(
                "the return code is not known yet", hint="call wait() or poll() before"
            )
        return self._code

    def _ask(self, *, wait: bool) -> Steps[int | None]:
        if self._code is None:
            reply = yield ask(
                "sandbox_exec_wait", sandbox_id=self._sandbox_id, command_id=self._command_id,
                wait=wait,
            )  # fmt: skip
            self._code = TIMED_OUT if reply["timed_out"] else reply["code"]
        return self._code

    @both
    def poll(self) -> Steps[int | None]:
        """Its exit code, or None while it runs."""
        return (yield from self._ask(wait=False))

    @both
    def wait(self) -> Steps[int]:
        """Its exit code, when it has ended."""
        code = yield from self._ask(wait=True)
        assert code is not None
        return code

    @both
    def _kill(self) -> Steps[None]:
        """End it, with all of its group; what it left elsewhere goes on."""
        ids = {"sandbox_id": self._sandbox_id, "command_id": self._command_id}
        yield ask("sandbox_exec_end", **ids)

    def attach(self) -> None:
        """Join this process's terminal to that of the command, until the command ends.

        Raises:
            InvalidError: for a command without one.
        """
        from volant.sdk.terminal import local

        if not self._has_terminal:
            raise InvalidError("this command has no terminal", hint="exec(..., pty=True) gives one")
        leader = os.dup(self._stdin._fd)
        watch = select.poll()
        watch.register(leader, 0)  # the kernel says by itself that the other end is closed
        local.copy_terminal(leader, [leader], lambda: bool(watch.poll(0)))

    def _let_go(self) -> None:
        for stream in (self._stdin, self._stdout, self._stderr):
            stream._let_go()


def _copy_on(fd: int, number: int) -> None:
    """Write what comes out of a pipe to the output of this process, in a thread."""
    from threading import Thread

    target = (sys.stdout, sys.stderr)[number]

    def copy() -> None:
        while data := os.read(fd, _COPY_BYTES):
            target.write(data.decode("utf-8", "replace"))
            target.flush()
        os.close(fd)

    Thread(target=copy, name="volant-sandbox-output", daemon=True).start()
