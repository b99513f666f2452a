"""Copies bytes between this process and descriptors of a container.

    keyboard --stdin--> leading end of a terminal, or a pipe --> the container
    screen <--stdout, stderr-- the same, or two pipes        <--

The container never gets a descriptor of the user's own terminal, only bytes that were typed on
it: what it could do to a terminal, it does to one of its own. While both are terminals the local
one is raw, so that every key, Ctrl-C too, is the command's affair; that ends with the block.
Without a terminal on both sides the first Ctrl-C is passed on, and the second ends this process.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from contextlib import nullcontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

#: What one read takes.
CHUNK_BYTES = 64 << 10
#: Rows and columns of a terminal when this process has none of its own.
SIZE_DEFAULT = (24, 80)
#: How often a thread that gets no signals looks whether the window has another size.
LOOK_MS = 250
#: What the end of what is typed looks like on a terminal: Ctrl-D; and Ctrl-C.
_END_OF_INPUT, _INTERRUPT = b"\x04", b"\x03"
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL
_WRITABLE = select.POLLOUT | select.POLLHUP | select.POLLERR | select.POLLNVAL


def is_terminal() -> bool:
    """Whether somebody types here, and sees what is written."""
    return os.isatty(_STDIN) and os.isatty(_STDOUT)


def can_draw() -> bool:
    """Whether somebody sees standard error, on a terminal that can be drawn on."""
    return os.isatty(_STDERR) and os.environ.get("TERM") != "dumb"


def size() -> tuple[int, int]:
    """Rows and columns of the local terminal."""
    try:
        found = os.get_terminal_size(_STDIN)
    except OSError:
        return SIZE_DEFAULT
    return found.lines, found.columns


def variables() -> dict[str, str]:
    """What programs need to know of the local terminal."""
    known = {name: os.environ.get(name, "") for name in ("TERM", "COLORTERM")}
    return {name: value for name, value in known.items() if value} or {"TERM": "dumb"}


class Flow:
    """Bytes on their way from one descriptor to another; `pending` are read and not written."""

    def __init__(self, source: int, target: int, at_end: bytes = b"") -> None:
        """`at_end`: written when the source has ended."""
        self.source = source
        self.target = target
        self.pending = b""
        self.ended = False
        self._at_end = at_end

    def wants(self) -> tuple[int, int]:
        """The descriptor to wait for, and what for."""
        return (self.target, _WRITABLE) if self.pending else (self.source, _READABLE)

    def move(self) -> None:
        """Do what was waited for."""
        if self.pending:
            self._write()
            return
        try:
            data = os.read(self.source, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # how Linux says that nobody has a terminal open any more
            data = b""
        self.pending, self._at_end = (data, self._at_end) if data else (self._at_end, b"")
        self.ended = not data and not self.pending

    def _write(self) -> None:
        try:
            self.pending = self.pending[os.write(self.target, self.pending) :]
        except BlockingIOError:
            return
        except OSError as error:
            if self.target in (_STDOUT, _STDERR):
                raise
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self.pending, self.ended = b"", True  # who was to read it has ended

    def finish(self) -> None:
        """Move what is there already."""
        poll = select.poll()
        poll.register(self.source, _READABLE)
        while not self.ended:
            if self.pending:
                room = select.poll()
                room.register(self.target, _WRITABLE)
                room.poll()
            elif not poll.poll(0):
                return
            self.move()


class Raw:
    """The local terminal without any treatment of keys and lines, for the body of a `with`."""

    def __init__(self, leader: int) -> None:
        """`leader`: of the terminal that follows the size of the local one."""
        self._leader = leader
        self._settings: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        #: How long to wait at most between two looks at the size, None when a signal tells.
        self.look_ms: int | None = None
        self._size = (0, 0)

    def __enter__(self) -> Raw:
        import termios
        import tty

        try:
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, _leave)
            self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._on_resize)
        except ValueError:  # not the main thread
            self.look_ms = LOOK_MS
        if os.isatty(_STDIN):
            self._settings = termios.tcgetattr(_STDIN)
            tty.setraw(_STDIN, termios.TCSANOW)
        self.follow()
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        if self._settings is not None:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._settings)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_resize(self, _number: int, _frame: FrameType | None) -> None:
        self.follow()

    def follow(self) -> None:
        """Give the container's terminal the size of the local one."""
        import fcntl
        import struct
        import termios

        now = size()
        if now != self._size:
            self._size = now
            try:
                fcntl.ioctl(self._leader, termios.TIOCSWINSZ, struct.pack("HHHH", *now, 0, 0))
            except OSError:
                pass  # it has just ended


class Interrupts:
    """In the body of a `with` the first interrupt is passed on; the next one is as before."""

    def __init__(self, pass_on: Callable[[], None], wake_end: int) -> None:
        """Take what to do.

        Args:
            pass_on: made for a handler, which may come in between anything.
            wake_end: of what the body waits for; not blocking. An interrupt just before it waits
                would not be heard until something else comes.
        """
        self._pass_on = pass_on
        self._wake_end = wake_end
        self._wake_before = -1
        self._before: Any = None

    def __enter__(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        if not callable(before):
            return  # whoever started us wants us to hear nothing of it
        try:
            signal.signal(signal.SIGINT, self._on_signal)
        except ValueError:
            return  # not the main thread: it gets no signals
        self._before = before
        self._wake_before = signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, self._before or signal.default_int_handler)
        self._pass_on()

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.set_wakeup_fd(self._wake_before)
            signal.signal(signal.SIGINT, self._before)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def copy_terminal(
    leader: int, watched: list[int], has_ended: Callable[[], bool], wake_end: int | None = None
) -> None:
    """Copy between this process and a terminal of a container.

    Args:
        leader: its leading end; closed by this.
        watched: descriptors whose events may mean that it is over.
        has_ended: asked then.
        wake_end: what to write to so that one of those is readable; without it no interrupt is
            passed on.
    """
    os.set_blocking(leader, False)
    is_typed = os.isatty(_STDIN)
    typed = Flow(_STDIN, leader, b"" if is_typed else _END_OF_INPUT)
    shown = Flow(leader, _STDOUT)

    def pass_on() -> None:
        try:
            os.write(leader, _INTERRUPT)
        except OSError:
            pass  # it has just ended, or does not read what is typed

    try:
        interrupts = (
            nullcontext() if is_typed or wake_end is None else Interrupts(pass_on, wake_end)
        )
        with Raw(leader) as raw, interrupts:
            copy([typed, shown], watched, has_ended, raw)
            shown.finish()
    finally:
        os.close(leader)


def copy_pipes(fds: list[int], watched: list[int], has_ended: Callable[[], bool]) -> None:
    """Copy between this process and the stdin, stdout and stderr of a command.

    Args:
        fds: our ends of its pipes; closed by this.
        watched: descriptors whose events may mean that it is over.
        has_ended: asked then.
    """
    for fd in fds:
        os.set_blocking(fd, False)
    typed = Flow(_STDIN, fds[0])
    shown = [Flow(fds[1], _STDOUT), Flow(fds[2], _STDERR)]

    def on_end(flow: Flow) -> None:
        if flow is typed:
            os.close(fds.pop(0))

    try:
        copy([typed, *shown], watched, has_ended, None, on_end)
        for flow in shown:
            flow.finish()
    finally:
        for fd in fds:
            os.close(fd)


def copy(
    flows: list[Flow], watched: list[int], has_ended: Callable[[], bool], raw: Raw | None,
    on_end: Callable[[Flow], None] = lambda flow: None,
) -> None:  # fmt: skip
    """Move bytes until it is over."""
    is_over = has_ended()
    while not is_over:
        masks = dict.fromkeys(watched, select.POLLIN)
        for flow in flows:
            fd, mask = flow.wants()
            masks[fd] = masks.get(fd, 0) | mask
        poll = select.poll()
        for fd, mask in masks.items():
            poll.register(fd, mask)
        found = dict(poll.poll(None if raw is None else raw.look_ms))
        for flow in list(flows):
            fd, mask = flow.wants()
            if found.get(fd, 0) & mask:
                flow.move()
            if flow.ended:
                flows.remove(flow)
                on_end(flow)
        if raw is not None and raw.look_ms is not None:
            raw.follow()
        if any(fd in found for fd in watched):
            is_over = has_ended()
