"""Makes cells: namespaces with a root, a network and an init, ready for one container each.

    zygote --"s1"--> nursery --fork--> init of cell s1: namespaces, mounts, then reaps orphans
           --"s2 s1 0 0"--> another one, whose network is that of s1
       <--"ready s1" (with its pid, from the kernel) | "failed s1 REASON"--
       <--"gone s1" once everything in that cell is dead--
    child of the zygote, in a cell --"watch s1 127.20.0.1" + descriptor--> nursery: what concerns
                                                     ports there is decided here (see `ports`)

Forked from the zygote before any user code is imported, so it is small, trusted and may hold the
capabilities that mounting needs, which the zygote itself then gives up. It works while the
zygote imports, and ahead of need. A container is no child of its init, but shares its
namespaces; it is therefore an ordinary process, which signals end as anywhere.
Invariant: a cell without its zygote dies, and everything in it.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import select
import sys
from array import array

from volant.runner import isolate, linux
from volant.runner.ports.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

MESSAGE_BYTES_MAX = 4096


class Container:
    """A child of the zygote, and the cell it lives in (none on the process rung)."""

    def __init__(self, name: str, cell: Cell | None, address: str = "") -> None:
        self.name = name
        self.cell = cell
        #: where its ports are bound, if they are its own
        self.address = address
        self.status = -1


class Cell:
    """Namespaces that wait for a container; `fd` is the pidfd of their init."""

    def __init__(self, name: str, fd: int, beside: str = "") -> None:
        """`beside`: the name of a cell whose network it shares."""
        self.name = name
        self.fd = fd
        #: the cell whose ports are its own as well
        self.network = beside or name
        self.container: Container | None = None


class Nursery:
    """The zygote's end."""

    def __init__(self, plan: isolate.Plan, foreign_fds: tuple[int, ...]) -> None:
        """Fork it; `foreign_fds` are the zygote's own, which it must not hold."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                for fd in foreign_fds:
                    os.close(fd)
                linux.prctl(linux.PR_SET_PDEATHSIG, 9)
                gc.freeze()  # each init shares what is there, and collects nothing
                gc.disable()
                _Nursery(plan, theirs).run()
            finally:
                os._exit(1)
        theirs.close()
        ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        self._socket = ours

    def fileno(self) -> int:
        """The descriptor, to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def order(self, name: str, beside: tuple[str, int, int] | None = None) -> None:
        """Ask for a cell.

        Args:
            name: its own.
            beside: the name of a cell whose network it shall share, and what it shows, see
                `Plan.beside`; None for one by itself.
        """
        words = (name,) if beside is None else (name, *map(str, beside))
        self._socket.send(" ".join(words).encode())

    def show(self, layer_count: int) -> None:
        """Have the cells that are ordered from now on show an image, see `Plan.show`."""
        self._socket.send(f"show {layer_count}".encode())

    def watch(self, listener: int, name: str, address: str) -> None:
        """Have the nursery decide for who is in a cell; to be called from in there.

        Args:
            listener: tells of the calls that are held.
            name: of the cell.
            address: where ports of this cell are bound.
        """
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [listener]))]
        self._socket.sendmsg([f"watch {name} {address}".encode()], rights)

    def receive(self) -> tuple[str, str, str, int]:
        """The next answer: word, name of the cell, reason, pid of who said it.

        Raises:
            EOFError: the nursery is dead.
        """
        space = _socket.CMSG_SPACE(12)
        data, ancillary, _, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, space)
        if not data:
            raise EOFError("the nursery is dead")
        pid = 0
        for level, kind, raw in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_CREDENTIALS:
                pid = int.from_bytes(raw[:4], sys.byteorder)
        word, name, reason = (data.decode("utf-8", "replace") + "  ").split(" ", 2)
        return word, name, reason.strip(), pid


class _Nursery:
    """The nursery's own end."""

    def __init__(self, plan: isolate.Plan, sock: _socket.socket) -> None:
        self.plan = plan
        self.socket = sock
        self.names: dict[int, str] = {}
        self.pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.poll = select.poll()
        self.supervisor = Supervisor(self.poll)

    def run(self) -> None:
        _signal.signal(_signal.SIGCHLD, _on_sigchld)
        _signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        self.poll.register(self.socket.fileno(), select.POLLIN)
        self.poll.register(self.wake_read, select.POLLIN)
        while True:
            for fd, event in self.poll.poll():
                if fd == self.wake_read:
                    self._reap()
                elif fd in self.supervisor:
                    self.supervisor.on_event(fd, event)
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        """Take a message of the zygote, or of a child of it; False when both are gone."""
        data, fds = self._message()
        if not data:
            return False
        words = data.decode("utf-8", "replace").split(" ")
        if words[0] == "watch" and len(words) == 3 and len(fds) == 1 and is_cell_name(words[1]):
            try:
                self.supervisor.watch(fds[0], *words[1:])
            except ValueError:
                pass  # whoever sent this is none of ours; its calls fail from now on
            else:
                return True
        for fd in fds:
            os.close(fd)
        # It becomes a path, with capabilities that the zygote, which runs user code, has not.
        if is_cell_name(words[0]):
            self._make(words[0], words[1:])
        elif words[0] == "show" and self.plan.is_blank and words[-1].isdecimal():
            self.plan.show(int(words[-1]))  # who is blank runs no code but ours
        elif words[0] != "watch":
            self.socket.send(b"failed - no cell can have this name")
        return True

    def _message(self) -> tuple[bytes, array[int]]:
        space = _socket.CMSG_SPACE(4)
        data, ancillary, _, _ = self.socket.recvmsg(
            MESSAGE_BYTES_MAX, space, _socket.MSG_CMSG_CLOEXEC
        )
        fds = array("i")
        for level, kind, raw in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
        return data, fds

    def _make(self, name: str, beside: list[str]) -> None:
        beside_fd = -1
        try:
            plan, beside_fd = self._beside(*beside) if beside else (self.plan, -1)
            # Without the setns a second unshare fails: the namespace that the first one made
            # may have died with its first process.
            linux.setns(self.pid_namespace, linux.CLONE_NEWPID)
            linux.unshare(linux.CLONE_NEWPID)
            pid = os.fork()
        except (OSError, ValueError, TypeError) as error:
            self.socket.send(f"failed {name} {error}".encode())
        else:
            if pid == 0:
                self._become_init(name, plan, beside_fd)
            self.names[pid] = name
        if beside_fd >= 0:
            os.close(beside_fd)

    def _beside(self, of: str, first: str, count: str) -> tuple[isolate.Plan, int]:
        """What a cell beside another one shows, and a pidfd of the other one's init.

        Raises:
            ValueError: for what can be no sidecar.
            ProcessLookupError: the other one is gone.
        """
        plan = self.plan.beside(int(first), int(count))
        for pid, name in self.names.items():
            if name == of:
                return plan, linux.pidfd_open(pid)
        raise ProcessLookupError("its sandbox has ended")

    def _reap(self) -> None:
        linux.drain(self.wake_read)
        for pid, _ in linux.ended_children():
            name = self.names.pop(pid, None)
            if name is not None:
                self.supervisor.forget(name)
                self.socket.send(f"gone {name}".encode())

    def _become_init(self, name: str, plan: isolate.Plan, beside_fd: int) -> NoReturn:
        try:
            _signal.set_wakeup_fd(-1)
            _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGCHLD})
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            for fd in (self.wake_read, self.wake_write, self.pid_namespace):
                os.close(fd)
            self.supervisor.close()
            isolate.make_cell(plan, name, beside_fd)
            if beside_fd >= 0:
                os.close(beside_fd)
            self.socket.send(f"ready {name}".encode())
            self.socket.close()
            for fd in (1, 2):
                os.dup2(0, fd)  # the container may look at this process; the log is not its own
        except BaseException as exc:  # noqa: BLE001  # must be told, whatever it is
            text = f"failed {name} {type(exc).__name__}: {exc}"
            self.socket.send(text.encode("utf-8", "replace")[:MESSAGE_BYTES_MAX])
            os._exit(1)
        while True:
            for _ in linux.ended_children():
                pass
            _signal.sigwait([_signal.SIGCHLD])


def is_cell_name(name: str) -> bool:
    """True for `s` and a number of one to nine digits."""
    digits = name[1:]
    return name[:1] == "s" and digits.isascii() and digits.isdigit() and len(digits) <= 9


def _on_sigchld(_signum: int, _frame: object) -> None:
    """Only there so that the wakeup descriptor is written."""
