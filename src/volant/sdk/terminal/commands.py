"""A command in a container, run from here: its ends come as descriptors, its end as a reply."""

from __future__ import annotations

import os

from volant.channel.waiter import Waiter, raise_reply_error
from volant.errors import ConnectionError
from volant.sdk.terminal import local
from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from volant.channel.channel import Channel


class CommandWaiter(Waiter):
    """Waits for the descriptors of one command, and then for how it ended."""

    __slots__ = ("_is_interrupted", "_wake_end", "fds", "reply", "wake", "wanted_count")

    def __init__(self, wanted_count: int) -> None:
        super().__init__()
        self.fds: list[int] = []
        self.reply: dict[str, Any] | None = None
        self.wanted_count = wanted_count
        self._is_interrupted = False
        #: Readable when another thread may have read something for us.
        self.wake, self._wake_end = os.pipe()
        for fd in (self.wake, self._wake_end):
            os.set_blocking(fd, False)

    def listen(self) -> None:
        """From now on be woken by `wake`, not by the channel."""
        self.notify = lambda: _write(self._wake_end)

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        assert fd is not None
        self.fds.append(fd)
        self.ready = len(self.fds) == self.wanted_count

    def on_reply(self, reply: dict[str, Any]) -> None:
        self.reply = reply
        self.ready = True

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        self.fail(ConnectionError("the connection to the hub was lost, and the command with it"))
        return []

    def interrupt(self) -> None:
        """Note that Ctrl-C was pressed; made for a handler, which may come in between anything."""
        self._is_interrupted = True
        _write(self._wake_end)

    @property
    def wake_end(self) -> int:
        """What is written to wakes."""
        return self._wake_end

    def take_interrupt(self) -> bool:
        """Whether Ctrl-C was pressed since the last time."""
        taken, self._is_interrupted = self._is_interrupted, False
        return taken

    def drain(self) -> None:
        """Be woken again by what happens from now on; to be called before looking what did."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass  # nobody has woken us

    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.reply is not None or self.error is not None

    def close(self) -> None:
        """Let go of what nobody took."""
        for fd in (*self.fds, self.wake, self._wake_end):
            os.close(fd)


def _write(fd: int) -> None:
    try:
        os.write(fd, b"x")
    except BlockingIOError:
        pass  # it is readable for long enough already


class Ended:
    """How a command has ended."""

    __slots__ = ("exit_code", "reason", "with_container")

    def __init__(self, status: int, *, with_container: bool, reason: str | None) -> None:
        code = os.waitstatus_to_exitcode(status)
        #: As a shell tells it: 128 + n for signal n.
        self.exit_code = code if code >= 0 else 128 - code
        #: Whether its container has ended, and the command with it.
        self.with_container = with_container
        #: Why that has ended, where the hub says it.
        self.reason = reason


def run(
    channel: Channel, op: str, argv: Sequence[str], *, on_terminal: bool, **fields: object
) -> Ended:
    """Run a command with this process's own terminal, or its stdin, stdout and stderr.

    Args:
        channel: closing it hangs up on the command.
        op: the request.
        argv: program and arguments.
        on_terminal: give it a terminal.
        fields: of the request.

    Raises:
        Error: when it cannot be run, or the connection is lost.
    """
    number = channel.next_number()
    body = values.encode({
        "id": number, "op": op, "argv": list(argv), **fields,
        "terminal": list(local.size()) if on_terminal else None,
        "env": local.variables() if on_terminal else {},
    })  # fmt: skip
    waiter = CommandWaiter(1 if on_terminal else 3)
    channel.register(number, waiter)
    try:
        channel.send(frames.control(frames.REQUEST, body))
        channel.wait(waiter)
        if waiter.reply is not None:
            raise_reply_error(waiter.reply)
        _copy(channel, number, waiter, on_terminal=on_terminal)
    finally:
        channel.unregister(number)
        waiter.close()
    if waiter.error is not None:
        raise waiter.error
    assert waiter.reply is not None
    raise_reply_error(waiter.reply)
    reply = waiter.reply
    return Ended(
        reply["status"], with_container=reply["with_container"], reason=reply.get("reason")
    )


def _copy(channel: Channel, number: int, waiter: CommandWaiter, *, on_terminal: bool) -> None:
    def has_ended() -> bool:
        waiter.drain()
        if not waiter.has_ended():
            channel.pump()
        if waiter.take_interrupt():
            channel.tell("command_interrupt", command=number)
        return waiter.has_ended()

    fds, waiter.fds = waiter.fds, []
    waiter.listen()
    watched = [channel.fileno(), waiter.wake]
    if on_terminal:
        local.copy_terminal(fds[0], watched, has_ended, waiter.wake_end)
    else:
        with local.Interrupts(waiter.interrupt, waiter.wake_end):
            local.copy_pipes(fds, watched, has_ended)
