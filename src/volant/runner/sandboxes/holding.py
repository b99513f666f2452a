"""The holder of a sandbox: a process that is isolated, and starts the commands of the sandbox.

    agent --RUN--> holder --spawn--> the command, in a session of its own
                     | "T" with the terminal's other end, if it has one; "S" and how it ended
                     | "I": its client has pressed Ctrl-C   "K": kill it
                     '- the end of that channel: hang up, and kill what does not go
    agent --FILES--> holder --fork--> serves a client the files, see `files`

It has the sandbox's control group, namespaces and filter, and so has what it starts. It ends with
its channel to the agent, and the sandbox with it. Whatever a command leaves behind stays as long
as the sandbox: the init of the cell adopts it. Nothing of the platform is in a sandbox but this
channel. Root in there has its id and its rights, so it may end or stop the holder, and the sandbox
with it; the kernel keeps its memory, descriptors and program from everybody.
Nothing is imported in here, for the image need not have a Python.
"""

from __future__ import annotations

import _signal
import _socket
import errno
import os
import select
import termios
from array import array
from time import monotonic

from volant.runner import control, linux
from volant.runner.command import (
    CANNOT_RUN,
    HANG_UP_S,
    INTERRUPT,
    IUTF8,
    MESSAGE_BYTES_MAX,
    NOT_FOUND,
    STATUS,
    TERMINAL,
    set_size,
)
from volant.runner.sandboxes import relaying
from volant.runner.sandboxes.files import serving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

KILL = b"K"
#: Of commands, when memory is short: the kernel takes them before it takes their holder.
OOM_SCORE = b"1000"
#: Processes that serve files at a time, one for each client and what it does at once.
FILE_SERVERS_MAX = 64
#: Those that may be ignored here and are not to be ignored by what starts.
_SIGNALS = [n for n in range(1, 32) if n not in (_signal.SIGKILL, _signal.SIGSTOP)]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def serve(channel_fd: int) -> NoReturn:
    """Hold the sandbox until the agent closes the channel."""
    try:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        # Or whoever has this user could write to its memory, and be it.
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        _Holder(control.Connection(channel_fd)).run()
    finally:
        os._exit(0)


class _Command:
    """A command that runs; `channel` leads to the agent."""

    def __init__(self, channel: _socket.socket) -> None:
        self.channel = channel
        #: whose wait status is told, and the group that is signalled
        self.pid = self.group = 0
        #: when it is killed, once it was hung up on
        self.deadline: float | None = None

    def signal(self, *numbers: int) -> None:
        """Signal it, and what has stayed in its group."""
        for number in numbers:
            try:
                os.killpg(self.group, number)
            except (ProcessLookupError, PermissionError):
                pass

    def tell(self, status: int) -> None:
        """Say how it ended."""
        try:
            self.channel.send(STATUS + status.to_bytes(4, "little"))
        except OSError:
            pass  # nobody listens any more


class _Holder:
    def __init__(self, connection: control.Connection) -> None:
        self.connection = connection
        self.home = os.getcwd()
        self.by_pid: dict[int, _Command] = {}
        self.by_fd: dict[int, _Command] = {}
        self.file_servers: set[int] = set()
        self.poll = select.poll()
        self.wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.signal(_signal.SIGCHLD, _on_sigchld)
        _signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the agent is gone."""
        self.poll.register(self.connection.fileno(), select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)
        while True:
            for fd, _ in self.poll.poll(self._wait_ms()):
                if fd == self.wake:
                    self._reap()
                elif fd in self.by_fd:
                    self._hear(self.by_fd[fd])
                elif fd == self.connection.fileno():
                    received = self.connection.receive()
                    if received is None:
                        return
                    if received[0] == control.FILES:
                        self._lend_files(received[2][0])
                    else:
                        self._start(*received[1:])

    def _wait_ms(self) -> float | None:
        """Until the first of those that were hung up on is killed."""
        waited = [one for one in self.by_pid.values() if one.deadline is not None]
        if not waited:
            return None
        now = monotonic()
        for one in waited:
            if one.deadline is not None and one.deadline <= now:
                one.deadline = None
                one.signal(_signal.SIGKILL)
        left = [one.deadline - now for one in waited if one.deadline is not None]
        return min(left) * 1000 + 1 if left else None

    def _hear(self, command: _Command) -> None:
        try:
            word = command.channel.recv(MESSAGE_BYTES_MAX)
        except OSError:
            word = b""
        if word == INTERRUPT:
            command.signal(_signal.SIGINT)
        elif word == KILL:
            command.signal(_signal.SIGKILL)
        else:
            self._stop_hearing(command)
            command.deadline = monotonic() + HANG_UP_S
            command.signal(_signal.SIGHUP, _signal.SIGCONT)

    def _stop_hearing(self, command: _Command) -> None:
        if self.by_fd.pop(command.channel.fileno(), None) is not None:
            self.poll.unregister(command.channel.fileno())

    def _reap(self) -> None:
        linux.drain(self.wake)
        for pid, status in linux.ended_children():
            self.file_servers.discard(pid)
            command = self.by_pid.pop(pid, None)
            if command is not None:
                self._stop_hearing(command)
                command.tell(status)
                command.channel.close()

    def _lend_files(self, fd: int) -> None:
        """Have a process of its own serve files; too many of them, and the client is cut off."""
        if len(self.file_servers) < FILE_SERVERS_MAX:
            try:
                pid = os.fork()
            except OSError:  # there are as many processes as may be
                pid = -1
            if pid == 0:
                serving.serve(fd)
            if pid > 0:
                self.file_servers.add(pid)
        os.close(fd)

    # -- the start

    def _start(self, fields: dict[str, Any], fds: list[int]) -> None:
        command = _Command(_socket.socket(fileno=fds.pop(0)))
        outer = fds[:1] if fields["terminal"] is not None else []
        leader = terminal = -1
        try:
            if fields["terminal"] is not None:
                leader, terminal = _open_terminal(fields["terminal"])
                fds += [leader, terminal]
                if not outer:
                    _hand_out(leader, command.channel)
            self._enter(fields)
            argv, env = fields["argv"], fields["env"]
            if outer:
                command.pid, command.group = relaying.start(
                    leader, terminal, outer[0],
                    lambda fd: _spawn(argv, env, [fd] * 3, setpgroup=0),
                )  # fmt: skip
            elif terminal >= 0:
                command.pid = command.group = _spawn_on_terminal(argv, env, terminal)
            else:
                command.pid = command.group = _spawn(argv, env, fds, setsid=True)
        except (OSError, ValueError) as error:  # the latter for what cannot be encoded
            _complain(fds[-1] if fds else -1, fields, error)
            missing = getattr(error, "errno", None) in (errno.ENOENT, errno.ENOTDIR)
            command.tell((NOT_FOUND if missing else CANNOT_RUN) << 8)
            command.channel.close()
        else:
            _be_first_to_go(command.pid)
            self.by_pid[command.pid] = self.by_fd[command.channel.fileno()] = command
            self.poll.register(command.channel.fileno(), select.POLLIN)
        for fd in fds:
            os.close(fd)

    def _enter(self, fields: dict[str, Any]) -> None:
        """Be where the command has to work; it inherits that."""
        cwd = fields["cwd"]
        if cwd is not None and fields["makes_cwd"]:
            os.makedirs(cwd, 0o755, exist_ok=True)
        try:
            os.chdir(cwd or self.home)
        except OSError as error:  # not ENOENT, which is for programs
            raise OSError(errno.EINVAL, f"it cannot work in `{cwd}`: {error.strerror}") from None


def _open_terminal(size: list[int]) -> tuple[int, int]:
    """The leader of a new terminal, and the command's end of it."""
    leader, terminal = os.openpty()
    set_size(terminal, *size)
    settings = termios.tcgetattr(terminal)
    settings[0] |= IUTF8
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    return leader, terminal


def _hand_out(leader: int, channel: _socket.socket) -> None:
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [leader]))]
    channel.sendmsg([TERMINAL], rights)


def _spawn_on_terminal(argv: list[str], env: dict[str, str], terminal: int) -> int:
    """Start a program as the leader of a session that has a terminal; its pid."""
    # Who leads a session and opens one has it.
    actions: list[Any] = [(os.POSIX_SPAWN_OPEN, 0, os.ttyname(terminal), os.O_RDWR, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, 0, number) for number in (1, 2)]
    return _spawn_with(argv, env, actions, setsid=True)


def _spawn(argv: list[str], env: dict[str, str], fds: list[int], **leads: Any) -> int:
    """Start a program with three descriptors; `leads` as `_spawn_with` has it; its pid."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
    return _spawn_with(argv, env, actions, **leads)


def _spawn_with(argv: list[str], env: dict[str, str], actions: list[Any], **leads: Any) -> int:
    """Start a program; its pid.

    Without a fork of this interpreter, which would take longer than the rest.

    Args:
        argv, env: program, by name or path, and arguments; all its variables.
        actions: what becomes of descriptors.
        leads: a session (`setsid`) or a group (`setpgroup`).
    """
    failed: OSError = FileNotFoundError(errno.ENOENT, "there is no such program")
    for path in _candidates(argv[0], env):
        try:
            return os.posix_spawn(
                path, argv, env, file_actions=actions, setsigmask=(), setsigdef=_SIGNALS,
                **leads,
            )  # fmt: skip
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failed = error
    raise failed


def _be_first_to_go(pid: int) -> None:
    """Have the kernel end a command and what it starts rather than the holder, with all else."""
    try:
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # it has ended, or this kernel has no such file
    try:
        os.write(fd, OOM_SCORE)
    except OSError:
        pass  # as above
    finally:
        os.close(fd)


def _candidates(program: str, env: dict[str, str]) -> list[str]:
    if "/" in program:
        return [program]
    directories = env.get("PATH", _PATH).split(":")
    return [f"{directory or '.'}/{program}" for directory in directories]


def _complain(fd: int, fields: dict[str, Any], error: OSError | ValueError) -> None:
    """Say on standard error of a command why it does not run."""
    why = error.strerror if isinstance(error, OSError) else error
    text = f"volant: cannot run `{fields['argv'][0]}`: {why}\n"
    try:
        os.write(fd, text.encode("utf-8", "replace"))
    except OSError:
        pass  # it has none, or nobody listens


def _on_sigchld(_signum: int, _frame: object) -> None:
    """Only there so that the wakeup descriptor is written."""
