"""A command on a terminal of gVisor's kernel, which can hand none out: bytes are copied instead.

    client <--> a terminal of the machine, raw <--> copier <--> a terminal in there <--> command
                                                       '--Ctrl-C--> keeper --signal--> its group

What echoes and edits is the terminal inside. That kernel makes no signals of what is typed, so the
copier looks for these keys. Only who is in the session knows which group is in front: that is the
keeper, which leads the session, has the command for a child, and ends as it does. The copier goes
on until either terminal has nobody at its other end.
"""

from __future__ import annotations

import _signal
import errno
import os
import select
import termios
from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

#: Bytes that are on their way in one direction.
BUFFER_BYTES = 1 << 16
#: Pid of the command, and why there is none.
_REPORT = Struct("<ii")
_KEYS = ((termios.VINTR, _signal.SIGINT), (termios.VQUIT, _signal.SIGQUIT),
         (termios.VSUSP, _signal.SIGTSTP))  # fmt: skip


def start(leader: int, terminal: int, outer: int, spawn: Callable[[int], int]) -> tuple[int, int]:
    """Start a command on a terminal.

    Args:
        leader, terminal: both ends of it; the caller's to close.
        outer: an end of the terminal outside, likewise.
        spawn: starts the command with this descriptor, as leader of a group; its pid.

    Returns:
        The pids of its keeper, whose wait status is the command's, and of the command.

    Raises:
        OSError: what `spawn` raised, or there can be no process.
    """
    here, there = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        try:
            os.close(here)
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
            _keep(leader, os.ttyname(terminal), outer, spawn, there)
        finally:
            os._exit(1)
    os.close(there)
    told = os.read(here, _REPORT.size)
    os.close(here)
    pid, number = _REPORT.unpack(told) if len(told) == _REPORT.size else (0, errno.EIO)
    if number:
        os.waitpid(keeper, 0)
        raise OSError(number, os.strerror(number))
    return keeper, pid


def _keep(leader: int, name: str, outer: int, spawn: Callable[[int], int], report: int) -> NoReturn:
    os.setsid()
    terminal = os.open(name, os.O_RDWR | os.O_CLOEXEC)  # who leads a session and opens one has it
    typed, tell = os.pipe()
    if os.fork() == 0:
        try:
            for number, fd in enumerate((leader, outer, tell), 3):
                os.dup2(fd, number, inheritable=False)
            os.closerange(6, os.sysconf("SC_OPEN_MAX"))
            _copy(3, 4, 5)
        finally:
            os._exit(0)
    for fd in (leader, outer, tell):
        os.close(fd)
    try:
        pid = spawn(terminal)
    except OSError as error:
        os.write(report, _REPORT.pack(0, error.errno or errno.EIO))
        os._exit(1)
    _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)
    os.tcsetpgrp(terminal, pid)
    os.killpg(pid, _signal.SIGCONT)  # it may have read before it was in front
    os.write(report, _REPORT.pack(pid, 0))
    os.close(report)
    _end_as(_await(pid, terminal, typed))


def _await(pid: int, terminal: int, typed: int) -> int:
    """Pass signals on until a command has ended; its wait status."""
    wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
    poll = select.poll()
    for fd in (wake, typed):
        poll.register(fd, select.POLLIN)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        for fd, _ in poll.poll():
            said = os.read(fd, 4096)
            if fd == typed and not said:
                poll.unregister(typed)  # nobody has the other terminal any more
            for number in said if fd == typed else b"":
                try:
                    os.killpg(os.tcgetpgrp(terminal), number)
                except OSError:
                    continue  # that group has just ended


def _end_as(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != _signal.SIGKILL:
            _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _copy(inner: int, outer: int, tell: int) -> None:
    peers = {inner: outer, outer: inner}
    #: what was read from a descriptor and its peer has not taken yet
    pending = {inner: b"", outer: b""}
    ended: set[int] = set()
    for fd in peers:
        os.set_blocking(fd, False)
    while not any(fd in ended and not pending[fd] for fd in peers):
        poll = select.poll()
        for fd, peer in peers.items():
            events = 0 if pending[fd] or fd in ended else select.POLLIN
            poll.register(fd, events | (select.POLLOUT if pending[peer] else 0))
        for fd, event in poll.poll():
            peer = peers[fd]
            try:
                if event & select.POLLOUT:
                    pending[peer] = pending[peer][os.write(fd, pending[peer]) :]
                elif event and not pending[fd]:
                    pending[fd] = os.read(fd, BUFFER_BYTES)
                    if not pending[fd]:
                        ended.add(fd)
                    elif fd == outer:
                        pending[outer], echo = _without_keys(inner, pending[outer], tell)
                        pending[inner] += echo
            except BlockingIOError:
                continue
            except OSError:  # how Linux says that nobody has a terminal open any more
                ended.add(fd)
                pending[peer] = b""


def _without_keys(inner: int, typed: bytes, tell: int) -> tuple[bytes, bytes]:
    """What is typed but keys that mean signals, which are told; and how those look."""
    settings = termios.tcgetattr(inner)
    if not settings[3] & termios.ISIG:
        return typed, b""
    keys = {settings[6][index]: number for index, number in _KEYS}
    echo = b""
    for key, number in keys.items():
        if key != b"\0" and key in typed:
            typed = typed.replace(key, b"")
            os.write(tell, bytes([number]))
            if settings[3] & termios.ECHO:
                echo += b"^" + bytes([key[0] ^ 0x40])
    return typed, echo
