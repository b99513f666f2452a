"""`breakpoint()` and `volant.interact()` in a container: its user code talks to a person.

    join   a terminal of one's own; its leading end goes to the client, when it is this one's turn;
           the other end becomes stdin, stdout and stderr
    leave  what they were before; the next container's turn

Joined for as long as somebody debugs, or after `interact()` until the input ends. The process
cannot make the terminal its own: it leads a group, not a session. A small child does, and passes
on what Ctrl-C means. `PYTHONBREAKPOINT` leads here, so a choice of the user's wins.
"""

from __future__ import annotations

import fcntl
import os
import pdb
import signal
import sys
import termios

from volant import _context
from volant.channel import current
from volant.channel.waiter import RequestWaiter, raise_reply_error
from volant.errors import InvalidError
from volant.runner import linux
from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

#: Signals of a terminal that are passed on to the container's process.
PASSED_ON = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH)


class _JoinWaiter(RequestWaiter):
    """Waits for one's turn, and maybe for the end of a terminal that the agent has opened."""

    __slots__ = ("terminal",)

    def __init__(self, frame: bytes) -> None:
        super().__init__(frame)
        self.terminal = -1

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        assert fd is not None
        self.terminal = fd


class Joined:
    """A container that is joined to a terminal; as a `with` block it is left at its end."""

    def __init__(self) -> None:
        """Join; returns when it is this container's turn.

        Raises:
            InvalidError: when nobody offers a terminal.
        """
        self.input = _context.current_input.get()
        self.is_held = False
        terminal, reply = _request()
        os.environ.update(reply["env"])
        _flush()
        self._saved = [os.dup(fd) for fd in range(3)]
        for fd in range(3):
            os.dup2(terminal, fd)
        os.close(terminal)
        if sys.stdin is None or sys.stdin.closed:
            sys.stdin = os.fdopen(0, closefd=False)
        self._pid, self._hold = _start_session_leader()

    def leave(self) -> None:
        """Give the terminal back; may come twice."""
        if not self._saved:
            return
        _flush()
        for fd, saved in enumerate(self._saved):
            os.dup2(saved, fd)
            os.close(saved)
        self._saved = []
        os.close(self._hold)
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass  # user code has waited for everything
        current.channel().tell("terminal_left")

    def __enter__(self) -> Joined:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        leave()


_joined: Joined | None = None


def join() -> Joined:
    """Join this container to the terminal of whoever runs the program, unless it is.

    Raises:
        InvalidError: when it cannot be.
    """
    global _joined
    if _context.sdk_fd is None:
        raise InvalidError(
            "a terminal can be joined to a container only, while it runs a function",
            hint="call the function with `.remote()`, under `volant run -i`",
        )
    if _joined is None:
        _joined = Joined()
        _context.leave_terminal = _leave_at_end
    return _joined


def leave() -> None:
    """Give the terminal back, if this container is joined to one."""
    global _joined
    joined, _joined = _joined, None
    _context.leave_terminal = None
    if joined is not None:
        joined.leave()


def _leave_at_end() -> None:
    """An input has ended: nobody debugs it any more."""
    if _joined is not None and _joined.input == _context.current_input.get():
        sys.settrace(None)
        leave()


def _request() -> tuple[int, dict[str, Any]]:
    """Our end of a terminal, and the hub's answer, when it is our turn."""
    try:
        leader, terminal = os.openpty()
    except OSError:
        leader = terminal = -1  # on the rung `process`: the agent opens one
    channel = current.channel()
    number = channel.next_number()
    body = values.encode({"id": number, "op": "terminal_join"})
    waiter = _JoinWaiter(frames.control(frames.REQUEST, body, frames.HAS_FD * (leader >= 0)))
    channel.register(number, waiter)
    try:
        channel.send(waiter.frame, leader if leader >= 0 else None)
        channel.wait(waiter)
        raise_reply_error(waiter.reply)
    except BaseException:
        for fd in (terminal, waiter.terminal):
            if fd >= 0:
                os.close(fd)
        raise
    finally:
        channel.unregister(number)
        if leader >= 0:
            os.close(leader)
    return (terminal if terminal >= 0 else waiter.terminal), waiter.reply


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed or replaced by user code


def _start_session_leader() -> tuple[int, int]:
    """Start the child whose session has the terminal; its pid, and what to close to end it."""
    import warnings

    waits, hold = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fork beside threads: it runs nothing of theirs
        pid = os.fork()
    if pid == 0:
        _lead_session(waits)
    os.close(waits)
    return pid, hold


def _lead_session(waits: int) -> NoReturn:
    group = os.getpgid(os.getppid())

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.killpg(group, number)

    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, 9)
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in PASSED_ON:
            signal.signal(number, pass_on)
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in (0, waits):
                try:
                    os.close(int(name))
                except OSError:
                    pass  # the one that this list was read through
        os.read(waits, 1)
    finally:
        os._exit(0)


# -- what user code calls


class Interact:
    """`volant.interact()` and `await volant.interact.aio()`."""

    def __call__(self) -> Joined:
        """Join this container to the terminal, until the input ends or the `with` block does.

        From then on `input()`, `pdb`, `IPython.embed()` and programs that are started here have
        the terminal as their stdin, stdout and stderr.

        Raises:
            InvalidError: outside of a container, and without `volant run -i`.
        """
        joined = join()
        joined.is_held = True
        return joined

    async def aio(self) -> Joined:
        """As the plain call: there is nothing to do meanwhile."""
        return self()


interact = Interact()


class Debugger(pdb.Pdb):
    """`pdb` that has the terminal as long as somebody debugs, and stops in user code only."""

    def __init__(self) -> None:
        super().__init__(nosigint=True, skip=["volant.*"])
        self._is_over = False

    def interaction(self, *args: Any, **kwargs: Any) -> None:
        """Ask what to do next."""
        joined = join()
        self._is_over = False
        super().interaction(*args, **kwargs)
        if self._is_over and not joined.is_held:
            leave()

    def set_continue(self) -> None:
        """Go on without a person."""
        self._is_over = True
        super().set_continue()

    def set_quit(self) -> None:
        """Raise `BdbQuit` in the user's code."""
        self._is_over = True
        super().set_quit()


def on_breakpoint(*args: object, **kwargs: object) -> None:
    """What `breakpoint()` does in a container; `args` are for hooks of users, which win."""
    frame = sys._getframe(1)
    if _context.in_container():
        join()
        Debugger().set_trace(frame)
    else:  # a program that a container has started
        pdb.Pdb().set_trace(frame)
