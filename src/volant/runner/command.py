"""A command beside a container: `volant container exec` and `volant shell`, from the inside.

    zygote --fork--> keeper --fork--> the command, in a session of its own
                       ^ "H" (with its pid), then "G": its control group is the container's
                       | "I": its client has pressed Ctrl-C, where no terminal says so
                       | "R" it runs, or "T" with the terminal's other end; "S" and how it ended
                       '- the end of this channel: hang up, and kill what does not go

The keeper is isolated as the container is, before the command is there. It adopts whatever the
command leaves behind, so that nothing of it stays: not after its end, not after its client's.
A terminal is the container's own where it may open one; else the agent gives one of the host's.
"""

from __future__ import annotations

import _signal
import _socket
import fcntl
import os
import select
import termios
from _struct import pack
from array import array
from time import monotonic

from volant.runner import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

HELLO, GO, RUNS, TERMINAL, STATUS, FAILED = b"H", b"G", b"R", b"T", b"S", b"E"
INTERRUPT = b"I"
#: Largest message on the channel.
MESSAGE_BYTES_MAX = 4096
#: How long what was hung up on may take to end by itself.
HANG_UP_S = 1.0
#: Exit codes of a command that is there but cannot be run, and of one that is not there.
CANNOT_RUN, NOT_FOUND = 126, 127
#: Of a terminal whose Backspace takes away whole characters.
IUTF8 = 0x4000
_SIGNALS = range(1, 65)


def serve(
    channel_fd: int, fds: list[int], fields: dict[str, Any], confine: Callable[[], dict[str, str]]
) -> NoReturn:
    """Run a command to its end; never returns.

    Args:
        channel_fd: a socket that keeps messages apart.
        fds: stdin, stdout and stderr of the command; one terminal for all three; or none.
        fields: of the COMMAND.
        confine: isolates this process; its result is the environment of the command.
    """
    channel = _socket.socket(fileno=channel_fd)
    try:
        channel.send(HELLO)  # the kernel adds our pid, as the agent's end asks for it
        if channel.recv(1) != GO:
            os._exit(1)
        env = {**confine(), **fields["env"]}
        keeper = _Keeper(channel)
        keeper.start(fds, fields, env)
        status = keeper.stay()
        channel.send(STATUS + status.to_bytes(4, "little"))
    except BaseException as exc:  # noqa: BLE001  # must be told, whatever it is
        _complain(channel, exc)
    os._exit(0)


def _complain(channel: _socket.socket, exc: BaseException) -> None:
    text = FAILED + f"{type(exc).__name__}: {exc}".encode("utf-8", "replace")
    try:
        channel.send(text[:MESSAGE_BYTES_MAX])
    except OSError:
        pass  # nobody listens any more


class _Keeper:
    """Starts the command, and stays with it."""

    def __init__(self, channel: _socket.socket) -> None:
        self.channel = channel
        self.pid = 0
        self.status = -1
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def start(self, fds: list[int], fields: dict[str, Any], env: dict[str, str]) -> None:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        _signal.signal(_signal.SIGCHLD, _on_sigchld)
        _signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        size = fields["terminal"]
        if size is None:
            self.channel.send(RUNS)
        else:
            fds = [self._open_terminal(fds, size)] * 3
        begun, begun_end = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            _become(fields["argv"], env, fds, on_terminal=size is not None)
        for fd in {*fds, begun_end}:
            os.close(fd)
        os.read(begun, 1)  # from now on it has a group, and dies of what it does not treat
        os.close(begun)

    def _open_terminal(self, fds: list[int], size: list[int]) -> int:
        """The command's end of its terminal; the other one goes to the agent."""
        leader, terminal = (-1, fds[0]) if fds else os.openpty()
        set_size(terminal, *size)
        settings = termios.tcgetattr(terminal)
        settings[0] |= IUTF8
        termios.tcsetattr(terminal, termios.TCSANOW, settings)
        if leader < 0:
            self.channel.send(RUNS)
            return terminal
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [leader]))]
        self.channel.sendmsg([TERMINAL], rights)
        os.close(leader)
        return terminal

    def stay(self) -> int:
        """Wait until the command has ended, or is not wanted any more; its wait status."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        deadline: float | None = None
        while self.status < 0:
            left_ms = None if deadline is None else (deadline - monotonic()) * 1000
            if left_ms is not None and left_ms <= 0:
                break
            for fd, _ in poll.poll(left_ms):
                if fd == self.wake_read:
                    self._reap()
                elif self.channel.recv(MESSAGE_BYTES_MAX) == INTERRUPT:
                    self._signal(_signal.SIGINT)
                else:
                    deadline = monotonic() + HANG_UP_S
                    poll.unregister(fd)
                    self._signal(_signal.SIGHUP)
                    self._signal(_signal.SIGCONT)
        self._end_all()
        return self.status

    def _reap(self) -> None:
        linux.drain(self.wake_read)
        for pid, status in linux.ended_children():
            if pid == self.pid:
                self.status = status

    def _signal(self, number: int) -> None:
        """Signal the command, and what has stayed in its group."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _end_all(self) -> None:
        """Kill the command and all that it left, which we have adopted."""
        while True:
            for pid in linux.children() or [self.pid] * (self.status < 0):
                try:
                    os.kill(pid, _signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if pid == self.pid:
                self.status = status


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Set the size of a terminal's window."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, pack("HHHH", rows, columns, 0, 0))


def _become(argv: list[str], env: dict[str, str], fds: list[int], *, on_terminal: bool) -> NoReturn:
    """In the last fork: be the command."""
    try:
        os.setsid()
        linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # its keeper is there until it ends
        if on_terminal:
            fcntl.ioctl(fds[0], termios.TIOCSCTTY, 0)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        _let_go()
        os.umask(0o022)
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        text = "there is no such program" if missing else error.strerror
        os.write(2, f"volant: cannot run `{argv[0]}`: {text}\n".encode("utf-8", "replace"))
        os._exit(NOT_FOUND if missing else CANNOT_RUN)
    finally:
        os._exit(CANNOT_RUN)


def _let_go() -> None:
    """Keep no descriptor and no way to treat signals that a program would not expect."""
    _signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # those that nobody can treat in another way
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that this list was read through


def _on_sigchld(_signum: int, _frame: object) -> None:
    """Only there so that the wakeup descriptor is written."""
